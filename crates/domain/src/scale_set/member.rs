//! The machines of a set: how they are named, chosen and counted.

use std::cmp::Reverse;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{is_flexible, is_kept_at_scale_in, model_of};
use crate::{Error, Kind, Resource, ResourceId, Result};

/// The name of a machine that a set makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The machine.
    pub id: ResourceId,
    /// Its number in the set, which no other machine of it ever has.
    pub number: u64,
    /// What names of its interfaces end in; empty where they are the machine's own children.
    pub suffix: String,
}

impl Member {
    /// Returns a machine of a set by the number and name that it was given.
    pub fn of(machine: &Resource) -> Self {
        let suffix = match machine.kind {
            Kind::ScaleSetMachine => "",
            _ => machine.id.name().rsplit('_').next().unwrap_or_default(),
        };
        Self {
            id: machine.id.clone(),
            number: number_of(machine),
            suffix: suffix.to_owned(),
        }
    }

    /// Returns the interface of a configuration of the model.
    pub fn card(&self, configuration: &str) -> ResourceId {
        match self.id.kind() {
            Some(Kind::ScaleSetMachine) => self.id.child(Kind::ScaleSetInterface, configuration),
            _ => {
                let name = format!("{configuration}-{}", self.suffix);
                self.id.group_id().child(Kind::NetworkInterface, &name)
            }
        }
    }

    /// Returns the public address of an IP configuration of one of its interfaces.
    pub(super) fn address(
        &self,
        (card, configuration): (&ResourceId, &str),
        name: &str,
    ) -> Option<ResourceId> {
        if self.id.kind() != Some(Kind::ScaleSetMachine) {
            let name = format!("{name}-{}", self.suffix);
            return Some(self.id.group_id().child(Kind::PublicIpAddress, &name));
        }
        let id = format!("{card}/ipConfigurations/{configuration}/publicIPAddresses/{name}");
        ResourceId::parse(&id).ok()
    }

    /// Returns the name of the guest: the prefix and six digits of base 36.
    pub fn computer_name(&self, prefix: &str) -> String {
        const DIGITS: [char; 36] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G',
            'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X',
            'Y', 'Z',
        ];
        let mut rest = self.number;
        let mut digits = ['0'; 6];
        for slot in digits.iter_mut().rev() {
            let digit = usize::try_from(rest % 36).unwrap_or(0);
            *slot = DIGITS.get(digit).copied().unwrap_or('0');
            rest /= 36;
        }
        format!("{prefix}{}", String::from_iter(digits))
    }
}

/// Gives the next machine of a set its number and name; numbers are never given twice.
pub fn next_member(set: &mut Resource, fresh: Uuid) -> Member {
    let held = set.internal.get("nextNumber").and_then(Value::as_u64);
    let number = held.unwrap_or(0);
    set.internal
        .insert("nextNumber".to_owned(), json!(number + 1));
    let mut suffix = fresh.simple().to_string();
    suffix.truncate(8);
    let (id, suffix) = if is_flexible(set) {
        let name = format!("{}_{suffix}", set.id.name());
        let id = set.id.group_id().child(Kind::VirtualMachine, &name);
        (id, suffix)
    } else {
        let id = set.id.child(Kind::ScaleSetMachine, &number.to_string());
        (id, String::new())
    };
    Member { id, number, suffix }
}

/// Returns the number of a machine in its set; what joined by itself has none and counts as the first.
pub fn number_of(machine: &Resource) -> u64 {
    let held = machine.internal.get("number").and_then(Value::as_u64);
    held.unwrap_or(0)
}

/// Sorts machines so that those which are furthest behind come first.
pub fn oldest_model_first(machines: &mut [Resource]) {
    machines.sort_by_key(|machine| (model_of(machine), number_of(machine)));
}

/// Returns which `count` machines go when fewer are wanted, as `scaleInPolicy` says; those that are protected stay.
pub fn surplus(set: &Resource, machines: &[Resource], count: usize) -> Vec<ResourceId> {
    let rules = set.properties.get("scaleInPolicy");
    let rules = rules.and_then(|p| p.pointer("/rules/0"));
    let oldest = rules.and_then(Value::as_str) == Some("OldestVM");
    let mut sorted: Vec<&Resource> = machines
        .iter()
        .filter(|machine| !is_kept_at_scale_in(machine))
        .collect();
    sorted.sort_by_key(|machine| Reverse((machine.created_ms, number_of(machine))));
    if oldest {
        sorted.reverse();
    }
    sorted
        .into_iter()
        .take(count)
        .map(|machine| machine.id.clone())
        .collect()
}

/// Returns the machines that `instanceIds` mean: all of them for `*` and for no list at all.
///
/// The second part says whether each of them was named.
pub fn check_instances(body: &Value, machines: &[Resource]) -> Result<(Vec<ResourceId>, bool)> {
    let listed = body.get("instanceIds").and_then(Value::as_array);
    let listed: Vec<&str> = listed
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if listed.is_empty() || listed.contains(&"*") {
        return Ok((machines.iter().map(|m| m.id.clone()).collect(), false));
    }
    let mut chosen: Vec<ResourceId> = Vec::new();
    for id in listed {
        let found = machines
            .iter()
            .find(|machine| machine.id.name().eq_ignore_ascii_case(id));
        let found = found.ok_or_else(|| {
            Error::invalid_parameter(
                "instanceIds",
                format!(
                    "The provided instanceId {id} is not an active Virtual Machine Scale Set VM instanceId."
                ),
            )
        })?;
        if !chosen.contains(&found.id) {
            chosen.push(found.id.clone());
        }
    }
    Ok((chosen, true))
}
