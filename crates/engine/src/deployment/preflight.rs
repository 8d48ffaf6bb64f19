//! What can be known before anything is made: types, api-versions, bodies, rights.

use std::sync::Arc;

use domain::{Error, ErrorKind, ResourceId, Result};
use futures::future::BoxFuture;
use serde_json::Value;
use template::{Bound, Expanded, Fault, Known, Mode, NestedFault, Planned, Request};

use super::lookup::{Door, check_body};
use super::prepare::{
    Prepared, blocking, check_group, check_place, group_value, planned_group, wanted,
};
use crate::error::catalog as db;
use crate::resources::action;
use crate::{Ctx, Engine};

/// Reasons that one refusal names.
const REASONS_MAX: usize = 20;
/// Resources of a deployment with all that is nested in it.
const RESOURCES_MAX: usize = 4_000;

/// A template with its resources.
pub(super) type Bounds = (Arc<Bound>, Arc<Expanded>);

/// What was found in a template and those inside it.
#[derive(Default)]
struct Found {
    faults: Vec<Error>,
    resources: usize,
    levels: Vec<Bounds>,
}

/// What a look at one body found.
enum Looked {
    Body(Value),
    Nested(Box<(Bound, Expanded, Request)>),
    /// Only known while deploying.
    Later,
}

impl Engine {
    /// Refuses a deployment that cannot succeed; every reason is named. Returns its templates, outermost
    /// first, without those that can only be read while deploying.
    pub(super) async fn preflight(&self, ctx: &Ctx, prepared: &Prepared) -> Result<Vec<Bounds>> {
        let mut found = Found::default();
        self.preflight_level(
            ctx,
            prepared,
            (&prepared.bound, &prepared.expanded),
            &mut found,
        )
        .await?;
        let Found {
            mut faults, levels, ..
        } = found;
        if prepared.request.mode == Mode::Complete {
            let named = ids_of(&levels);
            for row in self.unnamed_rows(&prepared.id, &named).await? {
                let scope = row.id.to_string();
                let right = action(&row.id, "delete");
                faults.extend(self.authorize(ctx, &right, &scope).await.err());
            }
        }
        faults.truncate(REASONS_MAX);
        let Some(first) = faults.first() else {
            return Ok(levels);
        };
        let kind = match faults
            .iter()
            .all(|fault| fault.kind == ErrorKind::Forbidden)
        {
            true => ErrorKind::Forbidden,
            false => ErrorKind::Invalid,
        };
        let message = match kind {
            ErrorKind::Forbidden => format!(
                "The template deployment failed with error: '{}'.",
                first.message
            ),
            _ => format!(
                "The template deployment '{}' is not valid according to the validation procedure. The tracking id is '{}'. See \
                 inner errors for details.",
                prepared.id.name(),
                ctx.correlation_id
            ),
        };
        Err(Error::new(kind, "InvalidTemplateDeployment", message).because(faults))
    }

    fn preflight_level<'a>(
        &'a self,
        ctx: &'a Ctx,
        prepared: &'a Prepared,
        (bound, expanded): (&'a Arc<Bound>, &'a Arc<Expanded>),
        found: &'a mut Found,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            found.resources += expanded.resources.len();
            check_total(found.resources)?;
            let level = (bound.clone(), expanded.clone());
            found.levels.push(level.clone());
            for planned in wanted(expanded) {
                let door = match Door::of(planned) {
                    Ok(door) => door,
                    Err(fault) => {
                        found.faults.push(fault);
                        continue;
                    }
                };
                if let Err(refused) = self.may_write(ctx, planned, &door).await? {
                    found.faults.push(refused);
                    continue;
                }
                match self.look(prepared, &level, &found.levels, planned).await {
                    Ok(Looked::Later) => {}
                    Ok(Looked::Body(body)) => {
                        found.faults.extend(check_body(&door, planned, &body).err());
                    }
                    Ok(Looked::Nested(inner)) => {
                        let (inner, inside, request) = *inner;
                        if let Err(refused) = self.may_be_kept(planned, request).await {
                            found.faults.push(refused);
                            continue;
                        }
                        let (inner, inside) = (Arc::new(inner), Arc::new(inside));
                        self.preflight_level(ctx, prepared, (&inner, &inside), found)
                            .await?;
                    }
                    Err(error) if error.kind == ErrorKind::Internal => return Err(error),
                    Err(error) => found.faults.push(error),
                }
            }
            Ok(())
        })
    }

    async fn may_write(
        &self,
        ctx: &Ctx,
        planned: &Planned,
        door: &Door,
    ) -> Result<std::result::Result<(), Error>> {
        let (right, scope) = door.right();
        match self.authorize(ctx, &right, &scope).await {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.kind == ErrorKind::Forbidden => Ok(Err(Error::new(
                ErrorKind::Forbidden,
                "AuthorizationFailed",
                format!(
                    "Authorization failed for template resource '{}' of type '{}'. The client '{}' with object id '{}' does not have \
                     permission to perform action '{right}' at scope '{scope}'.",
                    planned.name, planned.type_name, ctx.caller.name, ctx.caller.object_id
                ),
            ))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Refuses a nested deployment whose location is wrong for where it lies or another than that of its name.
    async fn may_be_kept(&self, planned: &Planned, request: Request) -> Result<()> {
        let id = ResourceId::parse(&planned.id)?;
        let location = self.location_of(&id, &request)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let stored = read.load_deployment(&id).await.map_err(db)?;
        check_place(stored.as_ref(), &id, &location.unwrap_or_default())
    }

    /// Looks at a resource of one of these templates.
    async fn look(
        &self,
        prepared: &Prepared,
        (bound, expanded): &Bounds,
        levels: &[Bounds],
        planned: &Planned,
    ) -> Result<Looked> {
        let group = match planned.is_deployment() {
            true => self.group_to_be(levels, planned).await?,
            false => Some(Value::Null),
        };
        let Some(group) = group else {
            return Ok(Looked::Later);
        };
        let (bound, expanded, planned) = (bound.clone(), expanded.clone(), planned.clone());
        let (now_ms, seed) = (prepared.now_ms, prepared.seed);
        blocking(move || {
            let known = Known::default();
            if !planned.is_deployment() {
                return match bound.body(&expanded, &planned, &known) {
                    Ok(body) => Ok(Looked::Body(body)),
                    Err(Fault::Needs(_)) => Ok(Looked::Later),
                    Err(fault) => Err(fault.into_expression_error(&planned.part())),
                };
            }
            match bound.nested(&expanded, &planned, &known, (group, now_ms, seed)) {
                Ok((inner, request)) => {
                    let inside = inner.expand()?;
                    Ok(Looked::Nested(Box::new((inner, inside, request))))
                }
                Err(NestedFault::Fault(Fault::Needs(_))) => Ok(Looked::Later),
                Err(NestedFault::Fault(fault)) => Err(fault.into_expression_error(&planned.part())),
                Err(NestedFault::Error(error)) => Err(error),
            }
        })
        .await
    }

    /// Returns what `resourceGroup()` will answer in a nested deployment: of a group that is there, or of one that
    /// a template makes; `None` when that is only known while deploying.
    async fn group_to_be(&self, levels: &[Bounds], planned: &Planned) -> Result<Option<Value>> {
        let id = ResourceId::parse(&planned.id)?;
        let row = self.load_row(&id.group_id()).await?;
        let made = match row {
            None => group_in(levels, &id.group_id()),
            Some(_) => None,
        };
        let Some(((bound, expanded), group)) = made else {
            check_group(row.as_ref(), &id)?;
            return Ok(Some(row.as_ref().map(group_value).unwrap_or_default()));
        };
        let regions = self.regions().clone();
        blocking(
            move || match bound.body(&expanded, &group, &Known::default()) {
                Ok(body) => Ok(Some(planned_group(&group, &body, &regions))),
                Err(Fault::Needs(_)) => Ok(None),
                Err(fault) => Err(fault.into_expression_error(&group.part())),
            },
        )
        .await
    }
}

/// Returns the group of an id among what templates make.
fn group_in(levels: &[Bounds], id: &ResourceId) -> Option<(Bounds, Planned)> {
    let id = id.to_string();
    levels.iter().find_map(|level| {
        let group = wanted(&level.1).find(|planned| planned.id.eq_ignore_ascii_case(&id))?;
        Some((level.clone(), group.clone()))
    })
}

/// Returns the ids of everything that templates make.
pub(super) fn ids_of(levels: &[Bounds]) -> Vec<String> {
    let all = levels.iter().flat_map(|(_, expanded)| wanted(expanded));
    all.map(|planned| planned.id.clone()).collect()
}

/// Refuses a deployment that makes too many resources, those of nested deployments counted in.
pub(super) fn check_total(resources: usize) -> Result<()> {
    if resources <= RESOURCES_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "InvalidTemplate",
        format!(
            "Deployment template validation failed: 'The deployment makes more than {RESOURCES_MAX} resources, those of nested \
             deployments counted in. Split it.'."
        ),
    ))
}
