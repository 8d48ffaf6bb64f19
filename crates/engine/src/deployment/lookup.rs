//! What a resource of a template is to this server, and what expressions read of others.

use domain::network::nested::Part;
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde_json::Value;
use template::{Need, Planned};

use super::view;
use crate::resources::{action, not_found};
use crate::{Ctx, Engine, storage_account_view};

const AUTHORIZATION: &str = "/providers/microsoft.authorization/";
const LIST_KEYS: &str = "listkeys";

/// Through which use case a resource is written.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// A resource with a row.
    Resource(ResourceId, Kind),
    /// A part of a network resource: a subnet, a rule, a pool.
    Part(Part),
    /// A role assignment at a scope.
    RoleAssignment { scope: String, name: String },
    /// A role of the tenant's own, written at a scope.
    RoleDefinition { scope: String, name: String },
    /// A lock at a scope.
    Lock { scope: String, name: String },
    /// A nested deployment.
    Deployment(ResourceId),
}

impl Door {
    /// Returns the use case that writes a planned resource.
    pub fn of(planned: &Planned) -> Result<Self> {
        if let Some(extension) = Self::extension(&planned.id) {
            return Ok(extension);
        }
        let unknown = || {
            let (namespace, local) = planned
                .type_name
                .split_once('/')
                .unwrap_or((&planned.type_name, ""));
            Error::new(
                domain::ErrorKind::Invalid,
                "InvalidResourceType",
                format!(
                    "The resource type '{local}' could not be found in the namespace '{namespace}' for api version '{}'. \
                     docs/support.md lists what this server serves.",
                    planned.api_version
                ),
            )
            .at(planned.id.clone())
        };
        let id = ResourceId::parse(&planned.id).map_err(|_| {
            match Kind::from_type(&planned.type_name) {
                Some(_) if planned.group.is_empty() => at_subscription(planned),
                _ => unknown(),
            }
        })?;
        if planned.is_deployment() {
            return Ok(Self::Deployment(id));
        }
        match id.kind() {
            Some(Kind::ResourceGroup) if planned.is_group() => {
                Ok(Self::Resource(id, Kind::ResourceGroup))
            }
            Some(kind) if kind != Kind::ResourceGroup => Ok(Self::Resource(id, kind)),
            _ => Part::parse(&id).map(Self::Part).ok_or_else(unknown),
        }
    }

    fn extension(id: &str) -> Option<Self> {
        let at = id.to_ascii_lowercase().rfind(AUTHORIZATION)?;
        let scope = id.get(..at)?.to_owned();
        let (kind, name) = id.get(at + AUTHORIZATION.len()..)?.split_once('/')?;
        let name = name.to_owned();
        if kind.eq_ignore_ascii_case("roleAssignments") {
            return Some(Self::RoleAssignment { scope, name });
        }
        if kind.eq_ignore_ascii_case("roleDefinitions") {
            return Some(Self::RoleDefinition { scope, name });
        }
        kind.eq_ignore_ascii_case("locks")
            .then_some(Self::Lock { scope, name })
    }

    /// Returns the right that writing needs, and where.
    pub fn right(&self) -> (String, String) {
        match self {
            Self::Resource(id, _) | Self::Deployment(id) => (action(id, "write"), id.to_string()),
            Self::Part(part) => (format!("{}/write", part.type_name()), part.id()),
            Self::RoleAssignment { scope, .. } => (
                "Microsoft.Authorization/roleAssignments/write".to_owned(),
                scope.clone(),
            ),
            Self::RoleDefinition { scope, .. } => (
                "Microsoft.Authorization/roleDefinitions/write".to_owned(),
                scope.clone(),
            ),
            Self::Lock { scope, .. } => (
                "Microsoft.Authorization/locks/write".to_owned(),
                scope.clone(),
            ),
        }
    }
}

/// A resource of a group in a template of a subscription.
fn at_subscription(planned: &Planned) -> Error {
    Error::new(
        domain::ErrorKind::Invalid,
        "InvalidTemplate",
        format!(
            "Deployment template validation failed: 'The resource '{}' of type '{}' does not lie at a subscription. Deploy it \
             into a group: by a nested deployment with 'resourceGroup'.'.",
            planned.name, planned.type_name
        ),
    )
    .at(planned.id.clone())
}

/// Checks a body as the provider's door would, at the api-version that the template names.
pub(super) fn check_body(door: &Door, planned: &Planned, body: &Value) -> Result<Value> {
    arm::versions::check(&planned.type_name, Some(&planned.api_version))?;
    match door {
        Door::Resource(_, kind) => arm::schema::check_request(*kind, &planned.api_version, body),
        Door::Part(part) => arm::schema::check_request(part.list.kind, &planned.api_version, body),
        _ => Ok(body.clone()),
    }
}

/// Returns a resource as a client of an api-version sees it.
pub(super) fn shown(row: &Resource, api_version: &str, base_url: &str) -> Value {
    match row.kind {
        Kind::StorageAccount => storage_account_view(row, base_url),
        Kind::VirtualMachine => {
            arm::envelope::response(&domain::virtual_machine::shown(row), api_version)
        }
        _ => arm::envelope::response(row, api_version),
    }
}

impl Engine {
    /// Looks up what an expression needs, as the caller; `api_version` counts when it names none.
    pub(super) async fn look_up_state(
        &self,
        ctx: &Ctx,
        need: &Need,
        api_version: Option<&str>,
    ) -> Result<Value> {
        let id = ResourceId::parse(&need.id)?;
        let newest = || {
            id.kind()
                .and_then(|kind| arm::versions::supported(kind).last().copied())
        };
        let version = need.api_version.as_deref().or(api_version).or_else(newest);
        let version = version.unwrap_or_default().to_owned();
        let ctx = Ctx {
            api_version: version,
            ..ctx.clone()
        };
        if need.verb.eq_ignore_ascii_case(LIST_KEYS) {
            return match id.kind() {
                Some(Kind::StorageAccount) => self.storage_keys(&ctx, &id).await,
                _ => Err(not_found(&id)),
            };
        }
        if id
            .type_name()
            .eq_ignore_ascii_case("Microsoft.Resources/deployments")
        {
            return Ok(view::deployment(
                &self.load_deployment(&ctx, &id, "read").await?,
            ));
        }
        if let Some(part) = Part::parse(&id).filter(|_| id.kind().is_none()) {
            let row = self.get_part(&ctx, &part).await?;
            return arm::network::part(&row, &part).ok_or_else(|| part.not_found());
        }
        let row = self.get(&ctx, &id).await?;
        Ok(shown(&row, &ctx.api_version, &ctx.base_url))
    }
}
