//! The kinds of resources, with their ARM type names.

use serde::{Deserialize, Serialize};

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
}

impl Kind {
    /// Every kind, parents before children.
    pub const ALL: [Self; 9] = [
        Self::ResourceGroup,
        Self::Gallery,
        Self::Image,
        Self::ImageVersion,
        Self::DiskEncryptionSet,
        Self::Disk,
        Self::Snapshot,
        Self::ManagedImage,
        Self::StorageAccount,
    ];

    /// Returns the ARM type in its canonical case, as responses show it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::ResourceGroup => "Microsoft.Resources/resourceGroups",
            Self::Gallery => "Microsoft.Compute/galleries",
            Self::Image => "Microsoft.Compute/galleries/images",
            Self::ImageVersion => "Microsoft.Compute/galleries/images/versions",
            Self::Disk => "Microsoft.Compute/disks",
            Self::Snapshot => "Microsoft.Compute/snapshots",
            Self::ManagedImage => "Microsoft.Compute/images",
            Self::DiskEncryptionSet => "Microsoft.Compute/diskEncryptionSets",
            Self::StorageAccount => "Microsoft.Storage/storageAccounts",
        }
    }

    /// Returns the kind of an ARM type, whatever its case.
    pub fn from_type(type_name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_name().eq_ignore_ascii_case(type_name))
    }

    /// Returns the kind that resources of this kind live in.
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::ResourceGroup => None,
            Self::Gallery
            | Self::Disk
            | Self::Snapshot
            | Self::ManagedImage
            | Self::DiskEncryptionSet
            | Self::StorageAccount => Some(Self::ResourceGroup),
            Self::Image => Some(Self::Gallery),
            Self::ImageVersion => Some(Self::Image),
        }
    }

    /// Returns the name that the service gives the type in error targets, e.g. `galleryImage`.
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::ResourceGroup => "resourceGroup",
            Self::Gallery => "gallery",
            Self::Image => "galleryImage",
            Self::ImageVersion => "galleryImageVersion",
            Self::Disk => "disk",
            Self::Snapshot => "snapshot",
            Self::ManagedImage => "image",
            Self::DiskEncryptionSet => "diskEncryptionSet",
            Self::StorageAccount => "storageAccount",
        }
    }
}
