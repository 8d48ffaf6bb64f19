//! Networks: uses held on both sides, addresses given once, parts written by their own paths.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use catalog::{Read, Tx};
use domain::network::address::Prefix;
use domain::network::links::{self, Link};
use domain::network::nested::{self, Part};
use domain::network::ports::{self, Forward, Guard};
use domain::network::{
    id_of, ids_of, invalid_reference, items, network_interface, public_ip_address, virtual_network,
};
use domain::operation::Work;
use domain::plan::PutContext;
use domain::resource::Document;
use domain::{Error, ProvisioningState, Resource, ResourceId, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::resources::{Accepted, check_parents, marked_for_deletion, new_operation, not_found};
use crate::{Ctx, Engine, lock};

/// The setting that holds the range of public addresses.
const RANGE_SETTING: &str = "public-addresses";
/// The scope in which public addresses are unique.
const ADDRESS_SCOPE: &str = "public-address";
/// The most addresses that are tried for a new one.
const TRIES_MAX: u128 = 4096;

impl Engine {
    /// Sets the range that new public addresses come from, for all nodes: loopback addresses of IPv4.
    pub async fn set_public_addresses(&self, range: &str) -> Result<()> {
        let loopback = Prefix::read("127.0.0.0/8").ok_or_else(Error::internal)?;
        let sent = Prefix::read(range).filter(|p| p.to_string() == range && loopback.covers(p));
        let usable = sent.filter(|p| p.inner_count() > 0);
        if usable.is_none() {
            return Err(Error::bad_request(format!(
                "The range of public addresses '{range}' is not a prefix of loopback addresses such as '{}'.",
                public_ip_address::RANGE_DEFAULT
            )));
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting(RANGE_SETTING, range).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Returns a part of a network resource: its row and which part.
    pub async fn get_part(&self, ctx: &Ctx, part: &Part) -> Result<Resource> {
        self.authorize(ctx, &format!("{}/read", part.type_name()), &part.id())
            .await?;
        self.load_parent(part).await
    }

    /// Returns the row whose parts of one list are asked for.
    pub async fn list_parts(&self, ctx: &Ctx, part: &Part) -> Result<Resource> {
        let scope = part.parent.to_string();
        self.authorize(ctx, &format!("{}/read", part.type_name()), &scope)
            .await?;
        self.load_parent(part).await
    }

    async fn load_parent(&self, part: &Part) -> Result<Resource> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let row = read.load(&part.parent).await.map_err(db)?;
        row.ok_or_else(|| not_found(&part.parent))
    }

    /// Creates or replaces a part.
    pub async fn put_part(&self, ctx: &Ctx, part: &Part, body: &Value) -> Result<Accepted> {
        let id = ResourceId::parse(&part.id())?;
        let action = format!("{}/write", part.type_name());
        self.authorize(ctx, &action, &part.id()).await?;
        self.authorize_links(ctx, &id, body).await?;
        let change = Change {
            part,
            action: &action,
            body: Some(body),
        };
        let accepted = self.change_part(ctx, &change).await?;
        accepted.ok_or_else(Error::internal)
    }

    /// Deletes a part; `None` when there is nothing to delete.
    pub async fn delete_part(&self, ctx: &Ctx, part: &Part) -> Result<Option<Accepted>> {
        let action = format!("{}/delete", part.type_name());
        self.authorize(ctx, &action, &part.id()).await?;
        let change = Change {
            part,
            action: &action,
            body: None,
        };
        self.change_part(ctx, &change).await
    }

    async fn change_part(&self, ctx: &Ctx, change: &Change<'_>) -> Result<Option<Accepted>> {
        let part = change.part;
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let deed = match change.body {
            Some(_) => domain::lock::Deed::Write,
            None => domain::lock::Deed::Delete,
        };
        lock::check(&mut tx, deed, &part.id()).await?;
        if change.body.is_some() {
            check_parents(&mut tx, &part.parent).await?;
        }
        let stored = tx.load(&part.parent).await.map_err(db)?;
        let stored = match (stored, change.body) {
            (Some(stored), _) => stored,
            (None, Some(_)) => return Err(not_found(&part.parent)),
            (None, None) => return Ok(None),
        };
        if stored.state == ProvisioningState::Deleting {
            let name = part.parent.name();
            return Err(marked_for_deletion(stored.kind, name, "Update"));
        }
        let is_created = !part.is_in(&stored);
        if is_created && change.body.is_none() {
            return Ok(None);
        }
        let mut row = self.plan_change(ctx, change, &stored, now_ms)?;
        hold_links(&mut tx, &mut row, Some(&stored)).await?;
        row.changed_ms = now_ms;
        let deed = Deed {
            action: change.action,
            scope: &part.id(),
            before: audit::of_row(&stored),
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut row).await.map_err(db)?;
        let step = json!({ "part": part.id(), "action": change.action });
        let operation = new_operation(row.kind, Work::Put, &row, now_ms, step);
        tx.insert_operation(&operation).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        self.ring();
        Ok(Some(Accepted {
            resource: row,
            operation: Some(operation),
            is_created,
        }))
    }

    fn plan_change(
        &self,
        ctx: &Ctx,
        change: &Change<'_>,
        stored: &Resource,
        now_ms: i64,
    ) -> Result<Resource> {
        let mut fresh = Uuid::new_v4;
        let mut context = PutContext {
            regions: self.regions(),
            now_ms,
            api_version: &ctx.api_version,
            fresh: &mut fresh,
            parent: None,
            gallery: None,
        };
        match change.body {
            Some(body) => nested::plan_part(&mut context, change.part, body, stored),
            None => nested::plan_removal(&mut context, change.part, stored),
        }
    }

    /// Returns what a machine's host forwards to an interface: which port of which loopback address leads
    /// to which port of the guest.
    ///
    /// Follows the interface's public addresses and the inbound NAT rules of load balancers, both through
    /// the security groups of subnet and interface ([`ports`] says how rules are read). Load-balancing rules
    /// spread over many guests and are not followed. Asked again whenever the machine starts or a row of
    /// these changes; sorted, without repetitions. Private addresses of the interface stand in its row.
    pub async fn forwards(&self, interface: &ResourceId) -> Result<Vec<Forward>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let row = read.load(interface).await.map_err(db)?;
        let row = row.ok_or_else(|| not_found(interface))?;
        let own = load(&mut read, id_of(&row.properties, "networkSecurityGroup")).await?;
        let mut all = Vec::new();
        for (name, config) in items(&row.properties, "ipConfigurations") {
            let guarding = subnet_group(&mut read, id_of(config, "subnet")).await?;
            let address = config.get("privateIPAddress").and_then(Value::as_str);
            let mut guard = Guard {
                groups: guarding.iter().chain(&own).collect(),
                address: address.and_then(|a| a.parse::<IpAddr>().ok()),
                is_open_without_group: false,
            };
            if let Some(public) = load(&mut read, id_of(config, "publicIPAddress")).await?
                && let Some(address) = public_ip_address::address(&public)
            {
                guard.is_open_without_group = is_basic(&public);
                all.extend(ports::direct(&guard, address));
            }
            for id in ids_of(config, "loadBalancerInboundNatRules") {
                all.extend(translated(&mut read, &mut guard, id).await?);
            }
            let user = format!("{}/ipConfigurations/{name}", row.id);
            for list in [
                "loadBalancerBackendAddressPools",
                "loadBalancerInboundNatPools",
            ] {
                for id in ids_of(config, list) {
                    all.extend(translated_pool(&mut read, &mut guard, id, &user).await?);
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        all.truncate(ports::PORTS_MAX);
        Ok(all)
    }
}

/// A write or, without a body, the deletion of a part.
struct Change<'a> {
    part: &'a Part,
    action: &'a str,
    body: Option<&'a Value>,
}

fn is_basic(row: &Resource) -> bool {
    let name = row.top.get("sku").and_then(|sku| sku.get("name"));
    name.is_none_or(|name| name == "Basic")
}

async fn load(read: &mut Read, id: Option<&str>) -> Result<Option<Resource>> {
    match id.and_then(|id| ResourceId::parse(id).ok()) {
        Some(id) => read.load(&id).await.map_err(db),
        None => Ok(None),
    }
}

async fn subnet_group(read: &mut Read, subnet: Option<&str>) -> Result<Option<Resource>> {
    let Some((network, _, name)) = subnet.and_then(links::split) else {
        return Ok(None);
    };
    let Some(network) = read.load(&network).await.map_err(db)? else {
        return Ok(None);
    };
    load(read, virtual_network::subnet_group(&network, &name)).await
}

async fn translated(read: &mut Read, guard: &mut Guard<'_>, id: &str) -> Result<Option<Forward>> {
    let Some((balancer, _, name)) = links::split(id) else {
        return Ok(None);
    };
    let Some(balancer) = read.load(&balancer).await.map_err(db)? else {
        return Ok(None);
    };
    let Some(rule) = item(&balancer, "inboundNatRules", &name) else {
        return Ok(None);
    };
    let address = front_address(read, guard, &balancer, &rule).await?;
    Ok(address.and_then(|address| ports::translated(guard, &rule, None, address)))
}

/// Returns the forwards of the rules for a whole pool that an interface is in, and of a pool of NAT ports.
async fn translated_pool(
    read: &mut Read,
    guard: &mut Guard<'_>,
    id: &str,
    user: &str,
) -> Result<Vec<Forward>> {
    let Some((balancer, list, name)) = links::split(id) else {
        return Ok(Vec::new());
    };
    let Some(balancer) = read.load(&balancer).await.map_err(db)? else {
        return Ok(Vec::new());
    };
    let Some(place) = links::place_in(&balancer, &list, &name, user) else {
        return Ok(Vec::new());
    };
    let rules: Vec<Document> = match list.eq_ignore_ascii_case("inboundNatPools") {
        true => item(&balancer, "inboundNatPools", &name)
            .into_iter()
            .collect(),
        false => items(&balancer.properties, "inboundNatRules")
            .filter(|(_, rule)| {
                id_of(rule, "backendAddressPool").is_some_and(|pool| pool.eq_ignore_ascii_case(id))
            })
            .map(|(_, rule)| rule.clone())
            .collect(),
    };
    let mut all = Vec::new();
    for rule in rules {
        let address = front_address(read, guard, &balancer, &rule).await?;
        let forward = address.and_then(|a| ports::translated(guard, &rule, Some(place), a));
        all.extend(forward);
    }
    Ok(all)
}

fn item(balancer: &Resource, list: &str, name: &str) -> Option<Document> {
    let mut all = items(&balancer.properties, list);
    all.find(|(held, _)| held.eq_ignore_ascii_case(name))
        .map(|(_, members)| members.clone())
}

/// Returns the public address of a rule's front end, and says in `guard` whether it is open without a group.
async fn front_address(
    read: &mut Read,
    guard: &mut Guard<'_>,
    balancer: &Resource,
    rule: &Document,
) -> Result<Option<Ipv4Addr>> {
    let front = id_of(rule, "frontendIPConfiguration").and_then(links::split);
    let front = front.and_then(|(_, _, name)| item(balancer, "frontendIPConfigurations", &name));
    let public = front.as_ref().and_then(|f| id_of(f, "publicIPAddress"));
    let Some(public) = load(read, public).await? else {
        return Ok(None);
    };
    guard.is_open_without_group = is_basic(&public);
    Ok(public_ip_address::address(&public))
}

/// Gives a new public address its place in the range; the lowest free one after a start that follows from its id.
pub(crate) async fn give_address(tx: &mut Tx, row: &mut Resource) -> Result<()> {
    if !public_ip_address::needs_address(row) {
        return Ok(());
    }
    let set = tx.setting(RANGE_SETTING).await.map_err(db)?;
    let text = set.as_deref().unwrap_or(public_ip_address::RANGE_DEFAULT);
    let range = Prefix::read(text).ok_or_else(Error::internal)?;
    let count = range.inner_count();
    let start = Uuid::new_v5(&Uuid::NAMESPACE_OID, row.id.key().as_bytes()).as_u128();
    for step in 0..count.min(TRIES_MAX) {
        let index = 1 + (start % count + step) % count;
        let IpAddr::V4(address) = range.at(index) else {
            return Err(Error::internal());
        };
        if take_address(tx, row, address).await? {
            return Ok(());
        }
    }
    Err(public_ip_address::none_left(text))
}

async fn take_address(tx: &mut Tx, row: &mut Resource, address: Ipv4Addr) -> Result<bool> {
    let key = address.to_string();
    let held = tx.claimed(ADDRESS_SCOPE, &key).await.map_err(db)?;
    if held.is_some() {
        return Ok(false);
    }
    tx.claim(ADDRESS_SCOPE, &key, &row.id).await.map_err(db)?;
    public_ip_address::set_address(row, address);
    Ok(true)
}

/// Makes both sides of every use of a row agree: what it uses anew, what no more, which addresses it has.
pub(crate) async fn hold_links(
    tx: &mut Tx,
    row: &mut Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    let now = links::links(row);
    let before = stored.map(links::links).unwrap_or_default();
    let is_kept = |link: &Link| {
        now.iter().any(|other| {
            other.target == link.target
                && other.place == link.place
                && other.user.eq_ignore_ascii_case(&link.user)
        })
    };
    let mut targets = Targets::default();
    for gone in before.iter().filter(|link| !is_kept(link)) {
        if let Some(target) = targets.load(tx, &gone.target).await? {
            links::detach(target, gone);
        }
    }
    for link in &now {
        let target = targets.load(tx, &link.target).await?;
        let target = target.ok_or_else(|| invalid_reference(&shown(link), &row.id))?;
        if let Some(address) = links::attach(target, link, row)? {
            network_interface::set_address(row, &link.user, address);
        }
    }
    targets.save(tx).await
}

/// Lets go of everything that a row uses, before it goes.
pub(crate) async fn release_links(tx: &mut Tx, row: &Resource) -> Result<()> {
    if !row.kind.is_network() {
        return Ok(());
    }
    let mut targets = Targets::default();
    for link in links::links(row) {
        if let Some(target) = targets.load(tx, &link.target).await? {
            links::detach(target, &link);
        }
    }
    let users: BTreeSet<String> = links::users(row).into_iter().map(|u| u.user).collect();
    for user in users {
        // A balancer goes with its members in place: they forget it.
        if let Some((owner, _, _)) = links::split(&user)
            && let Some(owner) = targets.load(tx, &owner).await?
        {
            network_interface::forget(owner, &row.id);
        }
    }
    targets.save(tx).await
}

fn shown(link: &Link) -> String {
    match link.place.is_empty() || !link.place.contains('/') {
        true => link.target.to_string(),
        false => format!("{}/{}", link.target, link.place),
    }
}

/// Rows that are changed beside the one that is written, each loaded once.
#[derive(Default)]
struct Targets(BTreeMap<String, (Resource, Resource)>);

impl Targets {
    async fn load(&mut self, tx: &mut Tx, id: &ResourceId) -> Result<Option<&mut Resource>> {
        let key = id.key();
        if !self.0.contains_key(&key) {
            let Some(row) = tx.load(id).await.map_err(db)? else {
                return Ok(None);
            };
            self.0.insert(key.clone(), (row.clone(), row));
        }
        Ok(self.0.get_mut(&key).map(|(_, row)| row))
    }

    async fn save(self, tx: &mut Tx) -> Result<()> {
        for (before, mut row) in self.0.into_values() {
            if before != row {
                tx.update(&mut row).await.map_err(db)?;
            }
        }
        Ok(())
    }
}
