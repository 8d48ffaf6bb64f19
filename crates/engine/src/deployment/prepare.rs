//! From a body to a bound template, and from the row back to it.

use domain::{Error, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use template::{Bound, Expanded, Mode, Place, Planned, Request, Template};
use uuid::Uuid;

use crate::identity::no_subscription;
use crate::resources::group_not_found;
use crate::{Ctx, Engine};

/// A deployment that is ready to run.
#[derive(Clone)]
pub(super) struct Prepared {
    /// Which deployment.
    pub id: ResourceId,
    /// The region of its group.
    pub location: String,
    /// What was asked.
    pub request: Request,
    /// The template with all that its expressions see.
    pub bound: Arc<Bound>,
    /// Its resources.
    pub expanded: Arc<Expanded>,
    /// When it was accepted.
    pub now_ms: i64,
    /// What fresh ids of nested deployments follow from.
    pub seed: Uuid,
}

impl Prepared {
    /// Returns the resources whose conditions hold.
    pub fn wanted(&self) -> impl Iterator<Item = &Planned> {
        wanted(&self.expanded)
    }
}

/// Returns the resources that are to be made.
pub(super) fn wanted(expanded: &Expanded) -> impl Iterator<Item = &Planned> {
    expanded
        .resources
        .iter()
        .filter(|p| p.is_wanted && !p.is_existing)
}

/// What a worker needs beside the row.
struct Packed {
    request: Request,
    values: Option<Map<String, Value>>,
    now_ms: i64,
    seed: Uuid,
}

impl Engine {
    /// Reads a body and binds its template.
    pub(super) async fn prepare(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &[u8],
    ) -> Result<Prepared> {
        let text = std::str::from_utf8(body).map_err(|_| {
            Error::bad_request(
                "The request content was invalid and could not be deserialized: it is not UTF-8.",
            )
        })?;
        let text = text.to_owned();
        let request = blocking(move || Request::read(&text)).await?;
        let packed = Packed {
            request,
            values: None,
            now_ms: self.now_ms(),
            seed: Uuid::new_v4(),
        };
        self.bind(ctx, id, packed).await
    }

    /// Binds the template of a deployment under way again, with the parameters that were accepted.
    pub(super) async fn restore(&self, ctx: &Ctx, held: &catalog::Deployment) -> Result<Prepared> {
        let content = &held.content;
        let mut values = content
            .get("values")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        if let Some(sealed) = &held.secrets {
            values.append(&mut self.unseal(&held.id, sealed)?);
        }
        let mode = content
            .get("mode")
            .and_then(Value::as_str)
            .and_then(Mode::parse);
        let seed = content
            .get("seed")
            .and_then(Value::as_str)
            .and_then(|s| s.parse().ok());
        let (Some(mode), Some(seed)) = (mode, seed) else {
            return Err(Error::internal());
        };
        let request = Request {
            template: content.get("template").cloned().unwrap_or_default(),
            parameters: Map::new(),
            mode,
            tags: held.tags.clone(),
            wants_payloads: true,
            is_inner: true,
        };
        let packed = Packed {
            request,
            values: Some(values),
            now_ms: content
                .get("nowMs")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            seed,
        };
        self.bind(ctx, &held.id, packed).await
    }

    async fn bind(&self, ctx: &Ctx, id: &ResourceId, packed: Packed) -> Result<Prepared> {
        let group = self.load_row(&id.group_id()).await?;
        check_group(group.as_ref(), id)?;
        let group = group.ok_or_else(Error::internal)?;
        let place = self.place_of(ctx, id, &group, &packed.request).await?;
        let location = group.location.clone();
        let Packed {
            request,
            values,
            now_ms,
            seed,
        } = packed;
        let raw = request.template.clone();
        let given = request.parameters.clone();
        let (bound, expanded) = blocking(move || {
            let template = Template::read(&raw)?;
            let values = match values {
                Some(values) => values,
                None => template.bind(&place, &given, now_ms, &mut Uuid::new_v4)?,
            };
            let bound = Bound::new(template, place, values);
            let expanded = bound.expand()?;
            Ok((bound, expanded))
        })
        .await?;
        Ok(Prepared {
            id: id.clone(),
            location,
            request,
            bound: Arc::new(bound),
            expanded: Arc::new(expanded),
            now_ms,
            seed,
        })
    }

    /// Returns what functions such as `resourceGroup()` answer.
    async fn place_of(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        group: &Resource,
        request: &Request,
    ) -> Result<Place> {
        let subscription = self.known_subscription(id.subscription()).await?;
        let subscription = subscription.ok_or_else(|| no_subscription(id.subscription()))?;
        let base = &ctx.base_url;
        Ok(Place {
            subscription: json!({
                "id": format!("/subscriptions/{}", subscription.id),
                "subscriptionId": subscription.id,
                "tenantId": subscription.tenant,
                "displayName": subscription.name,
            }),
            group: group_value(group),
            deployment: json!({
                "name": id.name(),
                "properties": {
                    "template": request.template,
                    "mode": request.mode.as_str(),
                    "provisioningState": "Accepted",
                },
            }),
            environment: environment(base),
            tenant: json!({ "tenantId": subscription.tenant, "countryCode": "", "displayName": "" }),
            providers: arm::provider::all(Some(&subscription.id), self.regions()),
        })
    }

    /// Returns what the row keeps: the document, and the sealed secrets.
    pub(super) async fn pack(
        &self,
        ctx: &Ctx,
        prepared: &Prepared,
    ) -> Result<(Value, Option<String>)> {
        let (secret, plain): (Map<_, _>, Map<_, _>) = prepared
            .bound
            .parameters()
            .clone()
            .into_iter()
            .partition(|(name, _)| prepared.bound.template().is_secure(name));
        let secrets = match secret.is_empty() {
            true => None,
            false => Some(self.seal(&prepared.id, &secret)?),
        };
        let mut content = json!({
            "template": prepared.request.template,
            "mode": prepared.request.mode.as_str(),
            "values": plain,
            "nowMs": prepared.now_ms,
            "seed": prepared.seed.to_string(),
        });
        if let Some(content) = content.as_object_mut() {
            content.extend(ctx.record());
        }
        Ok((content, secrets))
    }
}

/// Returns what `resourceGroup()` answers.
pub(super) fn group_value(group: &Resource) -> Value {
    json!({
        "id": group.id.to_string(),
        "name": group.id.name(),
        "type": group.kind.type_name(),
        "location": group.location,
        "tags": group.tags.clone().unwrap_or_default(),
        "properties": { "provisioningState": "Succeeded" },
    })
}

fn environment(base: &str) -> Value {
    let authority = base.trim_start_matches("https://");
    let host = authority.split(':').next().unwrap_or(authority);
    json!({
        "name": "Vitrine",
        "portal": format!("{base}/portal"),
        "resourceManager": format!("{base}/"),
        "graph": format!("{base}/"),
        "graphAudience": format!("{base}/"),
        "gallery": format!("{base}/"),
        "authentication": {
            "loginEndpoint": format!("{base}/"), "audiences": [format!("{base}/"), base], "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": { "storage": authority, "keyvaultDns": format!("vault.{host}") },
    })
}

/// Refuses a deployment into a group that is not there or goes.
pub(super) fn check_group(group: Option<&Resource>, id: &ResourceId) -> Result<()> {
    match group {
        None => Err(group_not_found(id.resource_group())),
        Some(group) if group.state == ProvisioningState::Deleting => Err(Error::conflict(
            "ResourceGroupBeingDeleted",
            format!(
                "The resource group '{}' is in deprovisioning state and cannot perform this operation.",
                id.resource_group()
            ),
        )),
        Some(_) => Ok(()),
    }
}

/// Runs work that may take the CPU for longer than a request should wait for another.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "a template was not read to its end");
            Err(Error::internal())
        }
    }
}
