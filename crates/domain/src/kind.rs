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
    /// `Microsoft.Compute/galleries/applications`.
    GalleryApplication,
    /// `Microsoft.Compute/galleries/applications/versions`.
    GalleryApplicationVersion,
    /// `Microsoft.Compute/galleries/scripts`.
    GalleryScript,
    /// `Microsoft.Compute/galleries/scripts/versions`.
    GalleryScriptVersion,
    /// `Microsoft.Compute/galleries/inVMAccessControlProfiles`.
    AccessProfile,
    /// `Microsoft.Compute/galleries/inVMAccessControlProfiles/versions`.
    AccessProfileVersion,
    /// `Microsoft.Compute/virtualMachines`.
    VirtualMachine,
    /// `Microsoft.Compute/virtualMachineScaleSets`.
    ScaleSet,
    /// `Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces/ipConfigurations/publicIPAddresses`.
    ScaleSetAddress,
    /// `Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces`.
    ScaleSetInterface,
    /// `Microsoft.Compute/virtualMachineScaleSets/virtualMachines`: a machine that only its set makes.
    ScaleSetMachine,
}

impl Kind {
    /// Every kind, parents before children, what is used before its users: groups are emptied from the end.
    ///
    /// Interfaces of a set's machine and their addresses are its children and what it uses: they go with it, so they
    /// stand before it.
    pub const ALL: [Self; 25] = [
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
        Self::GalleryApplication,
        Self::GalleryApplicationVersion,
        Self::GalleryScript,
        Self::GalleryScriptVersion,
        Self::AccessProfile,
        Self::AccessProfileVersion,
        Self::VirtualMachine,
        Self::ScaleSet,
        Self::ScaleSetAddress,
        Self::ScaleSetInterface,
        Self::ScaleSetMachine,
    ];

    const fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    /// Whether the kind belongs to `Microsoft.Network`, whose bodies are open and whose parts are one row.
    pub const fn is_network(self) -> bool {
        matches!(self.family(), Family::Network)
    }

    /// Whether the kind is a machine, alone or of a scale set.
    pub const fn is_machine(self) -> bool {
        matches!(self, Self::VirtualMachine | Self::ScaleSetMachine)
    }

    /// Whether the kind is a network interface, of its own or of a scale set's machine.
    pub const fn is_interface(self) -> bool {
        matches!(self, Self::NetworkInterface | Self::ScaleSetInterface)
    }

    /// Whether the kind is a public address, of its own or of a scale set's machine.
    pub const fn is_address(self) -> bool {
        matches!(self, Self::PublicIpAddress | Self::ScaleSetAddress)
    }

    /// Whether only a scale set makes rows of the kind: lists of resources do not show them, templates do not name them.
    pub const fn is_of_scale_set(self) -> bool {
        matches!(
            self,
            Self::ScaleSetMachine | Self::ScaleSetInterface | Self::ScaleSetAddress
        )
    }

    /// Whether the kind is a version in a gallery: named by three numbers, in several regions.
    pub const fn is_version(self) -> bool {
        matches!(
            self,
            Self::ImageVersion
                | Self::GalleryApplicationVersion
                | Self::GalleryScriptVersion
                | Self::AccessProfileVersion
        )
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
    kind: Kind,
    type_name: &'static str,
    parent: Option<Kind>,
    wire_name: &'static str,
    shown_name: &'static str,
    family: Family,
}

const fn row(
    kind: Kind,
    type_name: &'static str,
    parent: Option<Kind>,
    wire_name: &'static str,
    shown_name: &'static str,
    family: Family,
) -> Facts {
    Facts {
        kind,
        type_name,
        parent,
        wire_name,
        shown_name,
        family,
    }
}

const GROUP: Option<Kind> = Some(Kind::ResourceGroup);

/// What is fixed about each kind, in the order of [`Kind`]: the one place to extend for a new one.
const FACTS: [Facts; Kind::ALL.len()] = [
    row(
        Kind::ResourceGroup,
        "Microsoft.Resources/resourceGroups",
        None,
        "resourceGroup",
        "Resource Group",
        Family::Group,
    ),
    row(
        Kind::Gallery,
        "Microsoft.Compute/galleries",
        GROUP,
        "gallery",
        "Gallery",
        Family::Caps,
    ),
    row(
        Kind::Image,
        "Microsoft.Compute/galleries/images",
        Some(Kind::Gallery),
        "galleryImage",
        "Gallery Image",
        Family::Caps,
    ),
    row(
        Kind::ImageVersion,
        "Microsoft.Compute/galleries/images/versions",
        Some(Kind::Image),
        "galleryImageVersion",
        "Gallery Image Version",
        Family::Caps,
    ),
    row(
        Kind::Disk,
        "Microsoft.Compute/disks",
        GROUP,
        "disk",
        "Disk",
        Family::Disk,
    ),
    row(
        Kind::Snapshot,
        "Microsoft.Compute/snapshots",
        GROUP,
        "snapshot",
        "Snapshot",
        Family::Disk,
    ),
    row(
        Kind::ManagedImage,
        "Microsoft.Compute/images",
        GROUP,
        "image",
        "Image",
        Family::Compute,
    ),
    row(
        Kind::DiskEncryptionSet,
        "Microsoft.Compute/diskEncryptionSets",
        GROUP,
        "diskEncryptionSet",
        "Disk Encryption Set",
        Family::Disk,
    ),
    row(
        Kind::StorageAccount,
        "Microsoft.Storage/storageAccounts",
        GROUP,
        "storageAccount",
        "Storage Account",
        Family::Compute,
    ),
    row(
        Kind::NetworkSecurityGroup,
        "Microsoft.Network/networkSecurityGroups",
        GROUP,
        "networkSecurityGroup",
        "Network Security Group",
        Family::Network,
    ),
    row(
        Kind::VirtualNetwork,
        "Microsoft.Network/virtualNetworks",
        GROUP,
        "virtualNetwork",
        "Virtual Network",
        Family::Network,
    ),
    row(
        Kind::PublicIpAddress,
        "Microsoft.Network/publicIPAddresses",
        GROUP,
        "publicIPAddress",
        "Public IP Address",
        Family::Network,
    ),
    row(
        Kind::LoadBalancer,
        "Microsoft.Network/loadBalancers",
        GROUP,
        "loadBalancer",
        "Load Balancer",
        Family::Network,
    ),
    row(
        Kind::NetworkInterface,
        "Microsoft.Network/networkInterfaces",
        GROUP,
        "networkInterface",
        "Network Interface",
        Family::Network,
    ),
    row(
        Kind::GalleryApplication,
        "Microsoft.Compute/galleries/applications",
        Some(Kind::Gallery),
        "galleryApplication",
        "Gallery Application",
        Family::Caps,
    ),
    row(
        Kind::GalleryApplicationVersion,
        "Microsoft.Compute/galleries/applications/versions",
        Some(Kind::GalleryApplication),
        "galleryApplicationVersion",
        "Gallery Application Version",
        Family::Caps,
    ),
    row(
        Kind::GalleryScript,
        "Microsoft.Compute/galleries/scripts",
        Some(Kind::Gallery),
        "galleryScript",
        "Gallery Script",
        Family::Caps,
    ),
    row(
        Kind::GalleryScriptVersion,
        "Microsoft.Compute/galleries/scripts/versions",
        Some(Kind::GalleryScript),
        "galleryScriptVersion",
        "Gallery Script Version",
        Family::Caps,
    ),
    row(
        Kind::AccessProfile,
        "Microsoft.Compute/galleries/inVMAccessControlProfiles",
        Some(Kind::Gallery),
        "galleryInVMAccessControlProfile",
        "Gallery In VM Access Control Profile",
        Family::Caps,
    ),
    row(
        Kind::AccessProfileVersion,
        "Microsoft.Compute/galleries/inVMAccessControlProfiles/versions",
        Some(Kind::AccessProfile),
        "galleryInVMAccessControlProfileVersion",
        "Gallery In VM Access Control Profile Version",
        Family::Caps,
    ),
    row(
        Kind::VirtualMachine,
        "Microsoft.Compute/virtualMachines",
        GROUP,
        "virtualMachine",
        "Virtual Machine",
        Family::Compute,
    ),
    row(
        Kind::ScaleSet,
        "Microsoft.Compute/virtualMachineScaleSets",
        GROUP,
        "virtualMachineScaleSet",
        "Virtual Machine Scale Set",
        Family::Compute,
    ),
    row(
        Kind::ScaleSetAddress,
        "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces/ipConfigurations/publicIPAddresses",
        Some(Kind::ScaleSetInterface),
        "publicIPAddress",
        "Public IP Address",
        Family::Network,
    ),
    row(
        Kind::ScaleSetInterface,
        "Microsoft.Compute/virtualMachineScaleSets/virtualMachines/networkInterfaces",
        Some(Kind::ScaleSetMachine),
        "networkInterface",
        "Network Interface",
        Family::Network,
    ),
    row(
        Kind::ScaleSetMachine,
        "Microsoft.Compute/virtualMachineScaleSets/virtualMachines",
        Some(Kind::ScaleSet),
        "virtualMachineScaleSetVM",
        "Virtual Machine Scale Set VM",
        Family::Compute,
    ),
];

// A kind finds its facts by its place.
const _: () = {
    let mut place = 0;
    while place < FACTS.len() {
        assert!(FACTS[place].kind as usize == place);
        place += 1;
    }
};
