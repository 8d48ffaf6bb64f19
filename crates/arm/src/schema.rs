//! What a request may hold and what a response may show, per api-version.
//!
//! The service is strict: a member that it does not know, that is newer than the api-version or no
//! longer there is refused by name and place; a member that an older client does not know is not
//! shown to it. Names are read whatever their case and come out canonical, nulls mean absent.
//! Whether values make sense (enums, ranges, required members) is for `domain` to say.

mod check;
mod legacy;
mod project;
mod reader;
mod table;
mod tags;

use domain::{Kind, Result};
use serde_json::Value;

pub use project::project;
pub use reader::DEPTH_MAX;
pub use tags::check_tags;

/// A resource or body that has a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A gallery.
    Gallery,
    /// An image definition.
    Image,
    /// An image version.
    ImageVersion,
    /// A managed disk.
    Disk,
    /// A snapshot.
    Snapshot,
    /// A managed image.
    ManagedImage,
    /// A disk encryption set.
    DiskEncryptionSet,
    /// A storage account; members are not checked.
    StorageAccount,
    /// A machine.
    VirtualMachine,
    /// A scale set.
    ScaleSet,
    /// A machine of a scale set.
    ScaleSetMachine,
    /// A resource group; members are not checked.
    ResourceGroup,
    /// A network resource or a part of one; members are not checked.
    Network,
    /// A VM application.
    GalleryApplication,
    /// A version of a VM application.
    GalleryApplicationVersion,
    /// A gallery script.
    GalleryScript,
    /// A version of a gallery script.
    GalleryScriptVersion,
    /// An in-VM access control profile.
    AccessProfile,
    /// A version of an in-VM access control profile.
    AccessProfileVersion,
    /// The body of `POST …/share`.
    SharingUpdate,
    /// The body of `POST …/beginGetAccess`.
    GrantAccess,
    /// The body of `POST …/attachDetachDataDisks`.
    AttachDetach,
    /// The body of `POST …/reimage`.
    Reimage,
    /// The body of `POST …/runCommand`.
    RunCommand,
    /// The result of `beginGetAccess`.
    AccessUri,
    /// The body of `PATCH …/tags/default`.
    TagsPatch,
    /// A gallery as those see it with whom it is shared.
    SharedGallery,
    /// A definition as those see it with whom it is shared.
    SharedImage,
    /// A version as those see it with whom it is shared.
    SharedImageVersion,
    /// A community gallery as everyone sees it.
    CommunityGallery,
    /// A definition of a community gallery.
    CommunityImage,
    /// A version of a community gallery.
    CommunityImageVersion,
    /// An item of the list of soft-deleted versions.
    SoftDeleted,
}

impl Shape {
    /// Every shape.
    pub const ALL: &[Self] = &[
        Self::Gallery,
        Self::Image,
        Self::ImageVersion,
        Self::Disk,
        Self::Snapshot,
        Self::ManagedImage,
        Self::DiskEncryptionSet,
        Self::StorageAccount,
        Self::VirtualMachine,
        Self::ScaleSet,
        Self::ScaleSetMachine,
        Self::ResourceGroup,
        Self::Network,
        Self::GalleryApplication,
        Self::GalleryApplicationVersion,
        Self::GalleryScript,
        Self::GalleryScriptVersion,
        Self::AccessProfile,
        Self::AccessProfileVersion,
        Self::SharingUpdate,
        Self::GrantAccess,
        Self::AttachDetach,
        Self::Reimage,
        Self::RunCommand,
        Self::AccessUri,
        Self::TagsPatch,
        Self::SharedGallery,
        Self::SharedImage,
        Self::SharedImageVersion,
        Self::CommunityGallery,
        Self::CommunityImage,
        Self::CommunityImageVersion,
        Self::SoftDeleted,
    ];

    /// Returns the name of the table, which errors show as the object's type.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Gallery => "Gallery",
            Self::Image => "GalleryImage",
            Self::ImageVersion => "GalleryImageVersion",
            Self::Disk => "Disk",
            Self::Snapshot => "Snapshot",
            Self::ManagedImage => "Image",
            Self::DiskEncryptionSet => "DiskEncryptionSet",
            Self::StorageAccount => "StorageAccount",
            Self::VirtualMachine => "VirtualMachine",
            Self::ScaleSet => "VirtualMachineScaleSet",
            Self::ScaleSetMachine => "VirtualMachineScaleSetVM",
            Self::ResourceGroup => "ResourceGroup",
            Self::Network => "Network",
            Self::GalleryApplication => "GalleryApplication",
            Self::GalleryApplicationVersion => "GalleryApplicationVersion",
            Self::GalleryScript => "GalleryScript",
            Self::GalleryScriptVersion => "GalleryScriptVersion",
            Self::AccessProfile => "GalleryInVMAccessControlProfile",
            Self::AccessProfileVersion => "GalleryInVMAccessControlProfileVersion",
            Self::SharingUpdate => "SharingUpdate",
            Self::GrantAccess => "GrantAccessData",
            Self::AttachDetach => "AttachDetachDataDisksRequest",
            Self::Reimage => "VirtualMachineReimageParameters",
            Self::RunCommand => "RunCommandInput",
            Self::AccessUri => "AccessUri",
            Self::TagsPatch => "TagsPatchResource",
            Self::SharedGallery => "SharedGallery",
            Self::SharedImage => "SharedGalleryImage",
            Self::SharedImageVersion => "SharedGalleryImageVersion",
            Self::CommunityGallery => "CommunityGallery",
            Self::CommunityImage => "CommunityGalleryImage",
            Self::CommunityImageVersion => "CommunityGalleryImageVersion",
            Self::SoftDeleted => "GallerySoftDeletedResource",
        }
    }

    /// Returns the api-versions at which the table changed or that clients use, ascending.
    pub fn api_versions(self) -> &'static [&'static str] {
        &table::table(self.type_name()).versions
    }

    /// Returns the newest known api-version that is not newer than the one asked for.
    pub fn resolve(self, api_version: &str) -> &'static str {
        table::table(self.type_name()).resolve(api_version)
    }
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ResourceGroup => Self::ResourceGroup,
            Kind::Gallery => Self::Gallery,
            Kind::Image => Self::Image,
            Kind::ImageVersion => Self::ImageVersion,
            Kind::Disk => Self::Disk,
            Kind::Snapshot => Self::Snapshot,
            Kind::ManagedImage => Self::ManagedImage,
            Kind::DiskEncryptionSet => Self::DiskEncryptionSet,
            Kind::StorageAccount => Self::StorageAccount,
            Kind::NetworkSecurityGroup
            | Kind::VirtualNetwork
            | Kind::PublicIpAddress
            | Kind::LoadBalancer
            | Kind::NetworkInterface
            | Kind::ScaleSetAddress
            | Kind::ScaleSetInterface => Self::Network,
            Kind::GalleryApplication => Self::GalleryApplication,
            Kind::GalleryApplicationVersion => Self::GalleryApplicationVersion,
            Kind::GalleryScript => Self::GalleryScript,
            Kind::GalleryScriptVersion => Self::GalleryScriptVersion,
            Kind::AccessProfile => Self::AccessProfile,
            Kind::AccessProfileVersion => Self::AccessProfileVersion,
            Kind::VirtualMachine => Self::VirtualMachine,
            Kind::ScaleSet => Self::ScaleSet,
            Kind::ScaleSetMachine => Self::ScaleSetMachine,
        }
    }
}

/// Checks a request's body and returns it without nulls, names canonical, dates in one form.
///
/// Positions in errors are those of the body written compactly; prefer [`check_request_bytes`]
/// where the text is at hand.
pub fn check_request(shape: impl Into<Shape>, api_version: &str, body: &Value) -> Result<Value> {
    check_request_bytes(shape, api_version, body.to_string().as_bytes())
}

/// Refuses text that is not JSON, members that are there twice and nesting beyond [`DEPTH_MAX`].
pub fn check_syntax(raw: &[u8]) -> Result<()> {
    reader::read(reader::text_of(raw)?).map(drop)
}

/// Checks a request's body as it came: also refuses text that is not JSON, members that are there
/// twice and nesting beyond [`DEPTH_MAX`].
pub fn check_request_bytes(
    shape: impl Into<Shape>,
    api_version: &str,
    raw: &[u8],
) -> Result<Value> {
    let shape = shape.into();
    let table = table::table(shape.type_name());
    let version = table.resolve(api_version);
    let text = reader::text_of(raw)?;
    let read = reader::read(text)?;
    legacy::check(shape, version, text)?;
    let mut body = check::check(table, version, text, read)?;
    tags::check(shape, &body)?;
    legacy::to_newest(shape, &mut body);
    Ok(body)
}
