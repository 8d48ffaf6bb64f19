//! Which image a set may take, and which it may change to. Source: `API.md` 7, 10.

use serde_json::Value;

use super::PROFILE;
use crate::platform_image::PlatformImage;
use crate::shared_image::SharedImageId;
use crate::virtual_machine::BootFacts;
use crate::{Error, Kind, Resource, ResourceId, Result};

/// Returns the image that the model names.
fn reference(set: &Resource) -> Option<&Value> {
    let profile = set.properties.get(PROFILE)?;
    profile.pointer("/storageProfile/imageReference")
}

/// Whether the model means the newest version of a definition.
pub fn uses_latest(set: &Resource) -> bool {
    let Some(reference) = reference(set) else {
        return false;
    };
    if let Some(image) = PlatformImage::of_reference(reference) {
        return image.version.eq_ignore_ascii_case("latest");
    }
    let says = |name: &str| reference.get(name).and_then(Value::as_str);
    let shared = says("sharedGalleryImageId").or_else(|| says("communityGalleryImageId"));
    if let Some(text) = shared {
        let id = SharedImageId::parse(text);
        return id.is_ok_and(|id| id.version.is_none_or(|v| v.eq_ignore_ascii_case("latest")));
    }
    let id = says("id").and_then(|id| ResourceId::parse(id).ok());
    id.is_some_and(|id| match id.kind() {
        Some(Kind::Image) => true,
        Some(Kind::ImageVersion) => id.name().eq_ignore_ascii_case("latest"),
        _ => false,
    })
}

/// Automatic upgrades of the system need an image that has a newest version.
pub(super) fn check_automatic_upgrade(set: &Resource) -> Result<()> {
    if !super::automatic_os_upgrade(set) || uses_latest(set) {
        return Ok(());
    }
    Err(Error::bad_request(
        "virtualMachineScaleSets with Automatic OS Upgrade enabled must use Platform or Gallery Image with version set to \
         'latest'.",
    ))
}

fn is_managed(reference: Option<&Value>) -> bool {
    let id = reference.and_then(|r| r.get("id")).and_then(Value::as_str);
    let id = id.and_then(|id| ResourceId::parse(id).ok());
    id.is_some_and(|id| id.kind() == Some(Kind::ManagedImage))
}

/// Refuses an image whose machines could not follow those that are there.
///
/// Generalized and specialized do not mix and the system stays what it is; from a managed image to one of a
/// gallery, generation and data disks stay the same as well.
pub fn check_image_change(set: &Resource, stored: &Resource, facts: &BootFacts) -> Result<()> {
    let known = |name: &str| stored.internal.get(name).filter(|value| !value.is_null());
    let Some(was_specialized) = known("isSpecialized").and_then(Value::as_bool) else {
        return Ok(());
    };
    let name = set.id.name();
    let refused = |what: &str, was: &str, is: &str| {
        Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "Cannot update Virtual Machine Scale Set {name} as the current {what} of the VM Scale Set is {was} which is \
                 different from the updated gallery image {what} which is {is}."
            ),
        )
        .at("imageReference"))
    };
    let state = |is_specialized: bool| match is_specialized {
        true => "Specialized",
        false => "Generalized",
    };
    if was_specialized != facts.is_specialized {
        return refused(
            "OS state",
            state(was_specialized),
            state(facts.is_specialized),
        );
    }
    let os = known("osType").and_then(Value::as_str);
    if let (Some(was), Some(is)) = (os, facts.os_type.as_deref())
        && was != is
    {
        return refused("OS type", was, is);
    }
    if !is_managed(reference(stored)) || is_managed(reference(set)) {
        return Ok(());
    }
    let was = known("generation").and_then(Value::as_str).unwrap_or("V1");
    let is = facts.generation.as_deref().unwrap_or("V1");
    if was != is {
        return refused("Hyper-V generation", was, is);
    }
    let was = known("imageLuns").cloned().unwrap_or_default();
    let is: Vec<i64> = facts.data.iter().map(|(lun, _)| *lun).collect();
    if was != Value::from(is.clone()) {
        return refused(
            "data disk layout (LUNs)",
            &was.to_string(),
            &format!("{is:?}"),
        );
    }
    Ok(())
}
