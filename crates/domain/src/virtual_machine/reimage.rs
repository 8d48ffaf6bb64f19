//! Reimaging: a machine gets a new system disk from its image, in place of the one that it has.

use serde_json::{Value, json};
use uuid::Uuid;

use super::os_profile::take_secrets;
use super::power::{check, is_specialized};
use super::storage::PROFILE;
use crate::operation::Work;
use crate::plan::{is_nothing, text};
use crate::platform_image::PlatformImage;
use crate::shared_image::SharedImageId;
use crate::{Error, Kind, Resource, ResourceId, Result};

/// Plans a reimage: the row names a new system disk. Returns the image with the version that is meant, to be looked
/// up as that of a new machine is.
pub fn reimage(row: &mut Resource, request: &Value, fresh: Uuid) -> Result<Value> {
    check(row, Work::Reimage)?;
    let sent = request.as_object().cloned().unwrap_or_default();
    if sent.get("tempDisk") == Some(&Value::Bool(true)) {
        return Err(Error::invalid_parameter(
            "tempDisk",
            "Parameter 'tempDisk' is only supported for a VM with an ephemeral system disk.",
        ));
    }
    let reference = reference(row, text(&sent, "exactVersion").filter(|v| !v.is_empty()))?;
    if let Some(profile) = sent.get("osProfile").filter(|p| !is_nothing(p)) {
        if is_specialized(row) {
            return Err(Error::invalid_parameter(
                "osProfile",
                "Parameter 'osProfile' is not allowed.",
            ));
        }
        take_secrets(row, profile.as_object().cloned().unwrap_or_default())?;
    }
    let name = format!("{}_OsDisk_1_{}", row.id.name(), fresh.simple());
    let id = row.id.group_id().child(Kind::Disk, &name);
    let profile = row.properties.get_mut(PROFILE);
    let profile = profile.and_then(Value::as_object_mut);
    let profile = profile.ok_or_else(Error::internal)?;
    // Who said a version by its number sees the new one; who said `latest` sees what he said.
    if let Some(held) = profile.get_mut("imageReference").filter(|r| is_fixed(r)) {
        held.clone_from(&reference);
    }
    let os = profile.get_mut("osDisk").ok_or_else(Error::internal)?;
    os["name"] = json!(name);
    os["createOption"] = json!("FromImage");
    os["managedDisk"]["id"] = json!(id.to_string());
    Ok(reference)
}

/// Whether a reference names one version.
fn is_fixed(reference: &Value) -> bool {
    let says = |form: &str| reference.get(form).and_then(Value::as_str);
    if PlatformImage::of_reference(reference).is_some() {
        return says("version").is_some_and(|version| !version.eq_ignore_ascii_case("latest"));
    }
    let others = says("sharedGalleryImageId").or(says("communityGalleryImageId"));
    let version = match others {
        Some(id) => SharedImageId::parse(id).ok().and_then(|id| id.version),
        None => ResourceId::parse(says("id").unwrap_or_default())
            .ok()
            .filter(|id| id.kind() == Some(Kind::ImageVersion))
            .map(|id| id.name().to_owned()),
    };
    version.is_some_and(|version| !version.eq_ignore_ascii_case("latest"))
}

/// Returns the reference to the version that is meant: the one named, or the one that the machine was made of.
fn reference(row: &Resource, wanted: Option<&str>) -> Result<Value> {
    let held = row.properties.get(PROFILE);
    let held = held.and_then(|p| p.get("imageReference"));
    let held = held.filter(|r| !is_nothing(r)).and_then(Value::as_object);
    let mut reference = held.cloned().ok_or_else(|| {
        Error::conflict(
            "OperationNotAllowed",
            format!(
                "Operation 'reimage' is not allowed on VM '{}' since the VM was not created from an image.",
                row.id.name()
            ),
        )
    })?;
    let made_of = reference.shift_remove("exactVersion");
    let version = wanted.or(made_of.as_ref().and_then(Value::as_str));
    if reference.contains_key("publisher") {
        if let Some(version) = version {
            reference.insert("version".to_owned(), json!(version));
        }
        return Ok(Value::Object(reference));
    }
    for form in ["sharedGalleryImageId", "communityGalleryImageId"] {
        if let (Some(id), Some(version)) = (text(&reference, form), version) {
            let id = SharedImageId::parse(id)?.with_version(version);
            reference.insert(form.to_owned(), json!(id.to_string()));
            return Ok(Value::Object(reference));
        }
    }
    let id = ResourceId::parse(text(&reference, "id").unwrap_or_default())?;
    let definition = match id.kind() {
        Some(Kind::Image) => Some(id.clone()),
        Some(Kind::ImageVersion) => id.parent(),
        _ => None,
    };
    match (definition, version) {
        (Some(definition), Some(version)) => {
            let id = definition.child(Kind::ImageVersion, version);
            reference.insert("id".to_owned(), json!(id.to_string()));
        }
        (None, Some(_)) if wanted.is_some() => {
            return Err(Error::invalid_parameter(
                "exactVersion",
                "Parameter 'exactVersion' is not allowed: the image of this VM has no versions.",
            ));
        }
        _ => {}
    }
    Ok(Value::Object(reference))
}
