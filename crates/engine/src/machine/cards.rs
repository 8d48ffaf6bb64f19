//! The network interfaces of a machine: held by one machine, released with it.

use std::net::Ipv4Addr;

use catalog::Tx;
use domain::network::network_interface::{attach_machine, detach_machine, machine, own_addresses};
use domain::network::ports::Protocol;
use domain::network::{invalid_reference, items};
use domain::operation::Operation;
use domain::virtual_machine::cards;
use domain::{Error, Resource, ResourceId, Result};
use serde_json::Value;

use super::spec::{CardSpec, Forward};
use crate::deletion::check_lease;
use crate::error::catalog as db;
use crate::{Ctx, Engine};

const WRITE: &str = "Microsoft.Network/networkInterfaces/write";

/// Gives a machine the interfaces that it names and takes back those that it names no more.
pub(crate) async fn hold_cards(
    engine: &Engine,
    tx: &mut Tx,
    ctx: &Ctx,
    row: &Resource,
    stored: Option<&Resource>,
) -> Result<()> {
    let now = cards(row);
    for card in &now {
        let found = tx.load(&card.id).await.map_err(db)?;
        let found = found.filter(|found| found.location == row.location);
        let before = found.ok_or_else(|| invalid_reference(&card.id.to_string(), &row.id))?;
        let mut held = before.clone();
        attach_machine(&mut held, &row.id, card.is_primary || now.len() == 1)?;
        if held.properties != before.properties {
            engine
                .audit_row(tx, ctx, WRITE, Some(&before), &held)
                .await?;
            tx.update(&mut held).await.map_err(db)?;
        }
    }
    for before in stored.map(cards).unwrap_or_default() {
        if !now.iter().any(|card| card.id.key() == before.id.key()) {
            release(tx, &row.id, &before.id).await?;
        }
    }
    Ok(())
}

/// Takes an interface from a machine.
async fn release(tx: &mut Tx, owner: &ResourceId, card: &ResourceId) -> Result<()> {
    let Some(mut held) = tx.load(card).await.map_err(db)? else {
        return Ok(());
    };
    let is_its = machine(&held).is_some_and(|m| m.eq_ignore_ascii_case(&owner.to_string()));
    if is_its {
        detach_machine(&mut held);
        tx.update(&mut held).await.map_err(db)?;
    }
    Ok(())
}

impl Engine {
    /// Lets the interfaces of a machine that goes go with it, or stay without it.
    pub(super) async fn release_cards(
        &self,
        row: &Resource,
        operation: Option<&Operation>,
    ) -> Result<()> {
        for card in cards(row) {
            let mut tx = self.catalog().write().await.map_err(db)?;
            check_lease(&mut tx, operation).await?;
            release(&mut tx, &row.id, &card.id).await?;
            let left = tx.load(&card.id).await.map_err(db)?;
            tx.commit().await.map_err(db)?;
            if let Some(left) =
                left.filter(|left| card.is_deleted_with_machine && machine(left).is_none())
            {
                self.remove_card(&left, operation).await?;
            }
        }
        Ok(())
    }

    /// Removes an interface with the addresses that go with it: they first, since only it names them.
    async fn remove_card(&self, card: &Resource, operation: Option<&Operation>) -> Result<()> {
        for id in own_addresses(card) {
            if let Some(address) = self.load_row(&id).await? {
                Box::pin(self.remove(&address, operation)).await?;
            }
        }
        match self.load_row(&card.id).await? {
            Some(card) => Box::pin(self.remove(&card, operation)).await,
            None => Ok(()),
        }
    }

    /// Returns what a driver is told of a machine's interfaces, the primary one first.
    pub(super) async fn card_specs(&self, row: &Resource) -> Result<Vec<CardSpec>> {
        let mut named = cards(row);
        named.sort_by_key(|card| !card.is_primary);
        let mut specs = Vec::new();
        for card in named {
            let held = self.load_row(&card.id).await?;
            let held = held.ok_or_else(|| invalid_reference(&card.id.to_string(), &row.id))?;
            let forwards = self.forwards(&card.id).await?;
            specs.push(CardSpec {
                mac: mac_of(&held)?,
                private_address: address_of(&held),
                forwards: forwards
                    .into_iter()
                    .map(|forward| Forward {
                        address: forward.address.into(),
                        port: forward.port,
                        guest_port: forward.guest_port,
                        is_udp: forward.protocol == Protocol::Udp,
                    })
                    .collect(),
            });
        }
        Ok(specs)
    }
}

fn mac_of(card: &Resource) -> Result<[u8; 6]> {
    let text = card.properties.get("macAddress").and_then(Value::as_str);
    let parts = text.unwrap_or_default().split(['-', ':']);
    let bytes: Vec<u8> = parts
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::internal())?;
    bytes.try_into().map_err(|_| Error::internal())
}

fn address_of(card: &Resource) -> Option<Ipv4Addr> {
    let (_, first) = items(&card.properties, "ipConfigurations").next()?;
    first.get("privateIPAddress")?.as_str()?.parse().ok()
}
