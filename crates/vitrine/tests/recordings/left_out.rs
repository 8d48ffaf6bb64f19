//! What is not sent: kinds that this server does not build yet, each by name.

use std::collections::HashSet;

use crate::exchange::Exchange;

/// A kind that is not replayed: its name in the document and its types.
pub struct LeftOut {
    /// The name that the document gives it.
    pub name: &'static str,
    /// The types, as [`Exchange::type_name`] returns them.
    types: &'static [&'static str],
}

/// Every kind that is not replayed.
pub const LEFT_OUT: [LeftOut; 5] = [
    LeftOut {
        name: "machines",
        types: &[
            "virtualMachines",
            "virtualMachines/runCommand",
            "virtualMachines/deallocate",
            "virtualMachines/generalize",
        ],
    },
    LeftOut {
        name: "disks of machines",
        types: &[],
    },
    LeftOut {
        name: "deployments",
        types: &["Microsoft.Resources/deployments"],
    },
    LeftOut {
        name: "marketplace images",
        types: &["locations/publishers/artifacttypes/offers/skus/versions"],
    },
    LeftOut {
        name: "images of machines",
        types: &["images"],
    },
];

/// Types that are replayed.
const REPLAYED: [&str; 12] = [
    "galleries",
    "galleries/applications",
    "galleries/applications/versions",
    "galleries/share",
    "galleries/images",
    "galleries/images/versions",
    "disks",
    "snapshots",
    "diskEncryptionSets",
    "locations/sharedGalleries",
    "locations/sharedGalleries/images",
    "locations/sharedGalleries/images/versions",
];

/// What has happened in a recording so far, as far as it decides what is left out.
#[derive(Default)]
pub struct Story {
    put: HashSet<String>,
}

impl Story {
    /// Returns the kind by which the next exchange is left out, if it is; panics at a type without a decision.
    pub fn left_out(&mut self, exchange: &Exchange) -> Option<&'static str> {
        let type_name = exchange.type_name();
        let found = LEFT_OUT
            .iter()
            .find(|kind| kind.types.contains(&type_name.as_str()));
        if let Some(kind) = found {
            return Some(kind.name);
        }
        assert!(
            REPLAYED.contains(&type_name.as_str()),
            "line {}: nobody decided whether {type_name} is replayed",
            exchange.line
        );
        let path = exchange.path.to_ascii_lowercase();
        if exchange.method == "PUT" {
            self.put.insert(path);
        } else if type_name == "disks" && !self.put.contains(&path) {
            return Some("disks of machines");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange;

    #[test]
    fn every_kind_that_is_left_out_is_in_the_recordings() {
        let mut unseen: HashSet<&str> = LEFT_OUT
            .iter()
            .flat_map(|kind| kind.types)
            .copied()
            .collect();
        for recording in exchange::load_all() {
            for exchange in &recording.exchanges {
                unseen.remove(exchange.type_name().as_str());
            }
        }
        assert!(unseen.is_empty(), "{unseen:?}");
    }
}
