//! What readers see of a set's machines, interfaces and upgrades.

use domain::network::items;
use domain::scale_set::{self as rules, Progress, Seen};
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde_json::{Value, json};

use super::members;
use crate::error::catalog as db;
use crate::resources::{Accepted, Body, Verb, Write, action, not_found};
use crate::{Ctx, Engine};

const MACHINES: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines";

impl Engine {
    /// Returns the machines of a set as it lists them, with their instance views where they are asked for.
    pub async fn list_instances(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        with_views: bool,
    ) -> Result<Vec<Value>> {
        self.authorize(ctx, &format!("{MACHINES}/read"), &id.to_string())
            .await?;
        let (set, machines) = self.members_of(id).await?;
        let mut shown = Vec::new();
        for machine in machines {
            let view = match with_views {
                true => Some(self.instance_view(&machine).await?),
                false => None,
            };
            shown.push(rules::instance(&set, &machine, view));
        }
        Ok(shown)
    }

    async fn members_of(&self, id: &ResourceId) -> Result<(Resource, Vec<Resource>)> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let set = read.load(id).await.map_err(db)?;
        let set = set.ok_or_else(|| not_found(id))?;
        let machines = members::members(&mut read, id).await?;
        Ok((set, machines))
    }

    /// Returns a machine of a set as the set shows it.
    pub async fn get_instance(
        &self,
        ctx: &Ctx,
        instance: &ResourceId,
        with_view: bool,
    ) -> Result<Value> {
        let (set, machine) = self.find_instance(ctx, instance, "read").await?;
        let view = match with_view {
            true => Some(self.instance_view(&machine).await?),
            false => None,
        };
        Ok(rules::instance(&set, &machine, view))
    }

    /// Returns the instance view of a machine of a set.
    pub async fn get_instance_view_of(&self, ctx: &Ctx, instance: &ResourceId) -> Result<Value> {
        let (_, machine) = self
            .find_instance(ctx, instance, "instanceView/read")
            .await?;
        self.instance_view(&machine).await
    }

    /// Returns the machine that an instance id means: a child of the set, or an ordinary machine that names it.
    pub async fn find_instance(
        &self,
        ctx: &Ctx,
        instance: &ResourceId,
        verb: &str,
    ) -> Result<(Resource, Resource)> {
        self.authorize(ctx, &format!("{MACHINES}/{verb}"), &instance.to_string())
            .await?;
        let set = instance.parent().ok_or_else(Error::internal)?;
        let (set, machines) = self.members_of(&set).await?;
        let found = machines
            .into_iter()
            .find(|machine| machine.id.name().eq_ignore_ascii_case(instance.name()));
        match found {
            Some(machine) => Ok((set, machine)),
            None => Err(Error::not_found(
                "NotFound",
                format!(
                    "The VM scale set instance '{}' of the scale set '{}' was not found.",
                    instance.name(),
                    set.id.name()
                ),
            )),
        }
    }

    /// Accepts a change of one machine of a set by itself; returns it as the set shows it.
    pub async fn put_instance(
        &self,
        ctx: &Ctx,
        instance: &ResourceId,
        body: &Value,
    ) -> Result<(Value, Accepted)> {
        let (set, machine) = self.find_instance(ctx, instance, "write").await?;
        let change = rules::instance_change(&set, &machine, body)?;
        self.authorize_links(ctx, &machine.id, &change).await?;
        let make = |row: &Resource| rules::instance_change(&set, row, body);
        let write = Write {
            body: Body::Made(&make),
            verb: Verb::Patch,
            action: format!("{MACHINES}/write"),
            step: Value::Null,
        };
        let accepted = self.write(ctx, &machine.id, write).await?;
        let shown = rules::instance(&set, &accepted.resource, None);
        Ok((shown, accepted))
    }

    /// Returns how many machines of a set are in which state.
    pub async fn scale_set_view(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        let right = action(id, "instanceView/read");
        self.authorize(ctx, &right, &id.to_string()).await?;
        let (set, machines) = self.members_of(id).await?;
        let mut seen = Vec::new();
        for machine in machines {
            let view = self.instance_view(&machine).await?;
            let statuses = view.get("statuses").and_then(Value::as_array);
            let codes = statuses.into_iter().flatten().filter_map(|status| {
                let code = status.get("code")?.as_str()?;
                Some(code.to_owned()).filter(|code| !code.starts_with("OSState/"))
            });
            seen.push(Seen {
                codes: codes.collect(),
            });
        }
        Ok(rules::instance_view(&set, &seen))
    }

    /// Returns a set for one of its verbs.
    pub(super) async fn find_set(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        verb: &str,
    ) -> Result<Resource> {
        self.authorize(ctx, &action(id, verb), &id.to_string())
            .await?;
        self.load_row(id).await?.ok_or_else(|| not_found(id))
    }

    /// Returns the upgrades of a set to newer versions of its image, the newest first.
    pub async fn os_upgrades(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<Value>> {
        Progress::history(&self.find_set(ctx, id, "osUpgradeHistory/read").await?)
    }

    /// Returns the last rolling upgrade of a set.
    pub async fn latest_upgrade(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        let set = self.find_set(ctx, id, "rollingUpgrades/read").await?;
        let Some(progress) = Progress::of(&set) else {
            return Err(Error::not_found(
                "NotFound",
                format!(
                    "There is no rolling upgrade of the scale set '{}'.",
                    id.name()
                ),
            ));
        };
        progress.shown(&set)
    }

    /// Returns the network interfaces of a uniform set, or of one of its machines.
    pub async fn list_set_interfaces(
        &self,
        ctx: &Ctx,
        below: &ResourceId,
    ) -> Result<Vec<Resource>> {
        let right = match below.kind() {
            Some(Kind::ScaleSetMachine) => format!("{MACHINES}/networkInterfaces/read"),
            _ => action(below, "networkInterfaces/read"),
        };
        self.authorize(ctx, &right, &below.to_string()).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        if read.load(below).await.map_err(db)?.is_none() {
            return Err(not_found(below));
        }
        drop(read);
        self.children_of_kind(below, Kind::ScaleSetInterface).await
    }

    /// Returns the public addresses of a uniform set's machines, of all or of one IP configuration.
    pub async fn list_set_addresses(&self, ctx: &Ctx, below: &ResourceId) -> Result<Vec<Resource>> {
        let right = match below.kind() {
            Some(Kind::ScaleSet) => action(below, "publicIPAddresses/read"),
            _ => format!("{}/read", Kind::ScaleSetAddress.type_name()),
        };
        self.authorize(ctx, &right, &below.to_string()).await?;
        let holder = match below.kind() {
            Some(_) => Some(below.clone()),
            None => below.parent(),
        };
        let holder = holder.ok_or_else(Error::internal)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.load(&holder).await.map_err(db)?;
        let found = found.ok_or_else(|| not_found(&holder))?;
        let mut configurations = items(&found.properties, "ipConfigurations");
        let is_there = below.kind().is_some()
            || configurations.any(|(name, _)| name.eq_ignore_ascii_case(below.name()));
        if !is_there {
            return Err(not_found(below));
        }
        self.children_of_kind(below, Kind::ScaleSetAddress).await
    }

    async fn children_of_kind(&self, below: &ResourceId, kind: Kind) -> Result<Vec<Resource>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut found = Vec::new();
        for id in read.children(below, usize::MAX, false).await.map_err(db)? {
            if id.kind() == Some(kind) {
                found.extend(read.load(&id).await.map_err(db)?);
            }
        }
        Ok(found)
    }

    /// Returns the sizes that machines of a set can have, as `skus` of the set lists them.
    pub async fn list_set_sizes(&self, ctx: &Ctx, id: &ResourceId) -> Result<Vec<Value>> {
        self.find_set(ctx, id, "skus/read").await?;
        let cap = self.machine_cap();
        let sizes = domain::virtual_machine::SIZES.iter();
        Ok(sizes
            .filter(|size| size.fits(cap))
            .map(|size| {
                json!({
                    "resourceType": "Microsoft.Compute/virtualMachineScaleSets",
                    "sku": { "name": size.name, "tier": "Standard" },
                    "capacity": {
                        "minimum": 0,
                        "maximum": rules::CAPACITY_MAX,
                        "defaultCapacity": 1,
                        "scaleType": "Automatic",
                    },
                })
            })
            .collect())
    }
}
