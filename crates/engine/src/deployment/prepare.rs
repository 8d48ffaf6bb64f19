//! From a body to a bound template, and from the row back to it.

use domain::{Error, ErrorKind, Kind, ProvisioningState, Regions, Resource, ResourceId, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use template::{Bound, Expanded, Mode, Place, Planned, Request, Template};
use uuid::Uuid;

use super::view;
use crate::error::catalog as db;
use crate::identity::no_subscription;
use crate::resources::group_not_found;
use crate::{Ctx, Engine};

const DEPLOYMENT: &str = "InvalidDeployment";

/// A deployment that is ready to run.
#[derive(Clone)]
pub(super) struct Prepared {
    /// Which deployment.
    pub id: ResourceId,
    /// The region of its group, or that in which a deployment of a subscription is kept.
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
    /// Reads a body and binds its template; a deployment of a subscription stays where its name was used first.
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
        let prepared = self.bind(ctx, id, packed).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let stored = read.load_deployment(id).await.map_err(db)?;
        check_place(stored.as_ref(), id, &prepared.location)?;
        Ok(prepared)
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
            location: view::location(held),
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
        let kept = self.location_of(id, &packed.request)?;
        let location = match (kept, &group) {
            (Some(kept), _) => kept,
            (None, Some(group)) => group.location.clone(),
            (None, None) => return Err(Error::internal()),
        };
        let place = self
            .place_of(ctx, id, group.as_ref(), &packed.request)
            .await?;
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

    /// Returns the region in which a deployment of a subscription is kept; those of groups have none of their own.
    pub(super) fn location_of(&self, id: &ResourceId, request: &Request) -> Result<Option<String>> {
        const USAGE: &str =
            "Please see https://aka.ms/arm-deployment-subscription for usage details.";
        let refused = |sentence: String| Err(Error::new(ErrorKind::Invalid, DEPLOYMENT, sentence));
        let name = id.name();
        let Some(said) = &request.location else {
            return match id.is_at_subscription() {
                true => refused(format!(
                    "The 'location' property must be specified for '{name}'. {USAGE}"
                )),
                false => Ok(None),
            };
        };
        if !id.is_at_subscription() {
            return refused(format!(
                "The 'location' property is not allowed for '{name}' at resource group scope. {USAGE}"
            ));
        }
        if request.mode == Mode::Complete {
            return refused(
                "Specified deployment mode 'Complete' is not supported for deployment at the current scope. Please see \
                 https://aka.ms/deployment-modes for usage details."
                    .to_owned(),
            );
        }
        match self.regions().find(said) {
            Some(region) => Ok(Some(region.name.clone())),
            None => {
                let known: Vec<&str> = self.regions().iter().map(|r| r.name.as_str()).collect();
                let said: String = said.chars().take(100).collect();
                Err(Error::new(
                    ErrorKind::Invalid,
                    "LocationNotAvailableForDeployment",
                    format!(
                        "The provided location '{said}' is not available for deployment. List of available regions is '{}'.",
                        known.join(",")
                    ),
                ))
            }
        }
    }

    /// Returns what functions such as `resourceGroup()` answer.
    async fn place_of(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        group: Option<&Resource>,
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
            group: group.map(group_value).unwrap_or_default(),
            deployment: request.shown(id.name()),
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

/// Returns what `resourceGroup()` will answer of a group that a template makes of `body`.
pub(super) fn planned_group(group: &Planned, body: &Value, regions: &Regions) -> Value {
    let location = body
        .get("location")
        .and_then(Value::as_str)
        .unwrap_or_default();
    json!({
        "id": group.id,
        "name": group.name,
        "type": Kind::ResourceGroup.type_name(),
        "location": regions.short(location),
        "tags": body.get("tags").cloned().unwrap_or_else(|| json!({})),
        "properties": { "provisioningState": "Succeeded" },
    })
}

/// Refuses a deployment of a subscription in another region than that of its name.
pub(super) fn check_place(
    stored: Option<&catalog::Deployment>,
    id: &ResourceId,
    location: &str,
) -> Result<()> {
    let held = stored.and_then(view::location);
    let Some(held) = held.filter(|held| held != location) else {
        return Ok(());
    };
    Err(Error::conflict(
        "InvalidDeploymentLocation",
        format!(
            "Invalid deployment location '{location}'. The deployment '{}' already exists in location '{held}'.",
            id.name()
        ),
    ))
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
        None if id.is_at_subscription() => Ok(()),
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
