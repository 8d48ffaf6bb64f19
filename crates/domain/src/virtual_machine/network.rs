//! `networkProfile`: which network cards a machine has.

use serde_json::{Value, json};

use super::power::Power;
use super::size::Size;
use crate::plan::is_nothing;
use crate::resource::Document;
use crate::{Error, ErrorKind, Kind, Resource, ResourceId, Result};

const PROFILE: &str = "networkProfile";

/// One network card that a machine names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCard {
    /// The network interface.
    pub id: ResourceId,
    /// Whether it is the machine's first.
    pub is_primary: bool,
    /// Whether it goes with the machine.
    pub is_deleted_with_machine: bool,
}

/// Plans `networkProfile`.
pub(super) fn plan(row: &mut Resource, sent: &Document, is_new: bool) -> Result<()> {
    let Some(profile) = sent.get(PROFILE).filter(|p| !is_nothing(p)) else {
        return Ok(());
    };
    if profile
        .get("networkInterfaceConfigurations")
        .is_some_and(|c| !is_nothing(c))
    {
        return Err(Error::invalid_parameter(
            "networkProfile.networkInterfaceConfigurations",
            "Network interfaces are not made with the machine by this service. Make them first and name them in \
             networkProfile.networkInterfaces.",
        ));
    }
    let listed = profile.get("networkInterfaces").and_then(Value::as_array);
    let mut shown = Vec::new();
    for card in listed.into_iter().flatten() {
        shown.push(shape(card, &row.id)?);
    }
    let before = cards(row);
    row.properties
        .insert(PROFILE.to_owned(), json!({ "networkInterfaces": shown }));
    let now = cards(row);
    check_cards(row, &now)?;
    let ids = |cards: &[MachineCard]| {
        let mut ids: Vec<String> = cards.iter().map(|card| card.id.key()).collect();
        ids.sort();
        ids
    };
    if !is_new && ids(&before) != ids(&now) && Power::of(row) == Power::Running {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "Network interfaces of VM '{}' can only be added or removed while it is stopped (deallocated).",
                row.id.name()
            ),
        )
        .at(PROFILE));
    }
    Ok(())
}

fn shape(card: &Value, machine: &ResourceId) -> Result<Value> {
    let id = card.get("id").and_then(Value::as_str).unwrap_or_default();
    let parsed = ResourceId::parse(id).ok();
    // Machines of a uniform set have interfaces of their own, which nobody else names.
    let is_own = |id: &ResourceId| id.parent().as_ref() == Some(machine);
    let is_card = parsed.is_some_and(|id| match id.kind() {
        Some(Kind::ScaleSetInterface) => is_own(&id),
        kind => kind == Some(Kind::NetworkInterface),
    });
    if !is_card {
        return Err(Error::new(
            ErrorKind::Invalid,
            "LinkedInvalidPropertyId",
            format!(
                "Property id '{id}' at path 'properties.networkProfile.networkInterfaces.id' is invalid. Expect fully qualified \
                 resource Id that start with '/subscriptions/{{subscriptionId}}' or '/providers/{{resourceProviderNamespace}}/'."
            ),
        ));
    }
    let mut out = Document::new();
    out.insert("id".to_owned(), json!(id));
    let properties = card.get("properties").and_then(Value::as_object);
    let mut properties = properties.cloned().unwrap_or_default();
    properties.retain(|_, value| !is_nothing(value));
    crate::plan::canonical(
        &mut properties,
        "deleteOption",
        &["Delete", "Detach"],
        "networkProfile.networkInterfaces.deleteOption",
    )?;
    if !properties.is_empty() {
        out.insert("properties".to_owned(), Value::Object(properties));
    }
    Ok(Value::Object(out))
}

fn check_cards(row: &Resource, cards: &[MachineCard]) -> Result<()> {
    let most = Size::of(row).map_or(1, |size| size.cards_max);
    if cards.len() > most {
        return Err(Error::conflict(
            "NetworkInterfaceCountExceeded",
            format!(
                "The number of network interfaces for virtual machine {} exceeds the maximum allowed for the virtual machine size: \
                 {most}.",
                row.id.name()
            ),
        ));
    }
    let primaries = cards.iter().filter(|card| card.is_primary).count();
    if cards.len() > 1 && primaries != 1 {
        return Err(Error::new(
            ErrorKind::Invalid,
            "VirtualMachineMustHaveOneNetworkInterfaceAsPrimary",
            format!(
                "Virtual machine {} must have one network interface set as the primary.",
                row.id.name()
            ),
        ));
    }
    Ok(())
}

/// Returns the network cards that a machine names, in its order.
pub fn cards(row: &Resource) -> Vec<MachineCard> {
    let listed = row.properties.get(PROFILE);
    let listed = listed.and_then(|p| p.get("networkInterfaces"));
    let listed = listed.and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(|card| {
            let id = ResourceId::parse(card.get("id")?.as_str()?).ok()?;
            let says = |name: &str| card.pointer(&format!("/properties/{name}"));
            Some(MachineCard {
                id,
                is_primary: says("primary") == Some(&Value::Bool(true)),
                is_deleted_with_machine: says("deleteOption") == Some(&json!("Delete")),
            })
        })
        .collect()
}
