//! The kinds of resources, with their ARM type names.

use serde::{Deserialize, Serialize};

use crate::operation::Family;

/// Every kind of resource that has a row in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `Microsoft.Resources/resourceGroups`.
    ResourceGroup,
    /// `Microsoft.Compute/galleries`.
    Gallery,
    /// `Microsoft.Compute/galleries/images`: an image definition.
    Image,
    /// `Microsoft.Compute/galleries/images/versions`.
    ImageVersion,
    /// `Microsoft.Compute/disks`.
    Disk,
    /// `Microsoft.Compute/snapshots`.
    Snapshot,
    /// `Microsoft.Compute/images`.
    ManagedImage,
    /// `Microsoft.Compute/diskEncryptionSets`.
    DiskEncryptionSet,
    /// `Microsoft.Storage/storageAccounts`.
    StorageAccount,
    /// `Microsoft.Network/networkSecurityGroups`.
    NetworkSecurityGroup,
    /// `Microsoft.Network/virtualNetworks`; subnets are part of it.
    VirtualNetwork,
    /// `Microsoft.Network/publicIPAddresses`.
    PublicIpAddress,
    /// `Microsoft.Network/loadBalancers`.
    LoadBalancer,
    /// `Microsoft.Network/networkInterfaces`.
    NetworkInterface,
}

impl Kind {
    /// Every kind, parents before children, what is used before its users: groups are emptied from the end.
    pub const ALL: [Self; 14] = [
        Self::ResourceGroup,
        Self::Gallery,
        Self::Image,
        Self::ImageVersion,
        Self::DiskEncryptionSet,
        Self::Disk,
        Self::Snapshot,
        Self::ManagedImage,
        Self::StorageAccount,
        Self::NetworkSecurityGroup,
        Self::VirtualNetwork,
        Self::PublicIpAddress,
        Self::LoadBalancer,
        Self::NetworkInterface,
    ];

    /// Returns what is fixed about the kind: the one place to extend for a new one.
    const fn facts(self) -> Facts {
        const GROUP: Option<Kind> = Some(Kind::ResourceGroup);
        let (type_name, parent, wire_name, shown_name, family) = match self {
            Self::ResourceGroup => (
                "Microsoft.Resources/resourceGroups",
                None,
                "resourceGroup",
                "Resource Group",
                Family::Group,
            ),
            Self::Gallery => (
                "Microsoft.Compute/galleries",
                GROUP,
                "gallery",
                "Gallery",
                Family::Caps,
            ),
            Self::Image => (
                "Microsoft.Compute/galleries/images",
                Some(Self::Gallery),
                "galleryImage",
                "Gallery Image",
                Family::Caps,
            ),
            Self::ImageVersion => (
                "Microsoft.Compute/galleries/images/versions",
                Some(Self::Image),
                "galleryImageVersion",
                "Gallery Image Version",
                Family::Caps,
            ),
            Self::Disk => (
                "Microsoft.Compute/disks",
                GROUP,
                "disk",
                "Disk",
                Family::Disk,
            ),
            Self::Snapshot => (
                "Microsoft.Compute/snapshots",
                GROUP,
                "snapshot",
                "Snapshot",
                Family::Disk,
            ),
            Self::ManagedImage => (
                "Microsoft.Compute/images",
                GROUP,
                "image",
                "Image",
                Family::Compute,
            ),
            Self::DiskEncryptionSet => (
                "Microsoft.Compute/diskEncryptionSets",
                GROUP,
                "diskEncryptionSet",
                "Disk Encryption Set",
                Family::Disk,
            ),
            Self::StorageAccount => (
                "Microsoft.Storage/storageAccounts",
                GROUP,
                "storageAccount",
                "Storage Account",
                Family::Compute,
            ),
            Self::NetworkSecurityGroup
            | Self::VirtualNetwork
            | Self::PublicIpAddress
            | Self::LoadBalancer
            | Self::NetworkInterface => return self.network_facts(),
        };
        Facts {
            type_name,
            parent,
            wire_name,
            shown_name,
            family,
        }
    }

    const fn network_facts(self) -> Facts {
        let (type_name, wire_name, shown_name) = match self {
            Self::NetworkSecurityGroup => (
                "Microsoft.Network/networkSecurityGroups",
                "networkSecurityGroup",
                "Network Security Group",
            ),
            Self::VirtualNetwork => (
                "Microsoft.Network/virtualNetworks",
                "virtualNetwork",
                "Virtual Network",
            ),
            Self::PublicIpAddress => (
                "Microsoft.Network/publicIPAddresses",
                "publicIPAddress",
                "Public IP Address",
            ),
            Self::LoadBalancer => (
                "Microsoft.Network/loadBalancers",
                "loadBalancer",
                "Load Balancer",
            ),
            _ => (
                "Microsoft.Network/networkInterfaces",
                "networkInterface",
                "Network Interface",
            ),
        };
        Facts {
            type_name,
            parent: Some(Self::ResourceGroup),
            wire_name,
            shown_name,
            family: Family::Network,
        }
    }

    /// Whether the kind belongs to `Microsoft.Network`, whose bodies are open and whose parts are one row.
    pub const fn is_network(self) -> bool {
        matches!(self.family(), Family::Network)
    }

    /// Returns the ARM type in its canonical case, as responses show it.
    pub const fn type_name(self) -> &'static str {
        self.facts().type_name
    }

    /// Returns the kind of an ARM type, whatever its case.
    pub fn from_type(type_name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_name().eq_ignore_ascii_case(type_name))
    }

    /// Returns the kind that resources of this kind live in.
    pub const fn parent(self) -> Option<Self> {
        self.facts().parent
    }

    /// Returns the name that the service gives the type in error targets, e.g. `galleryImage`.
    pub const fn wire_name(self) -> &'static str {
        self.facts().wire_name
    }

    /// Returns the name that the service's sentences use, e.g. `Gallery Image`.
    pub const fn shown_name(self) -> &'static str {
        self.facts().shown_name
    }

    /// Returns the URL family that polls operations of the kind. Source: `API.md` 1.
    pub const fn family(self) -> Family {
        self.facts().family
    }
}

struct Facts {
    type_name: &'static str,
    parent: Option<Kind>,
    wire_name: &'static str,
    shown_name: &'static str,
    family: Family,
}
