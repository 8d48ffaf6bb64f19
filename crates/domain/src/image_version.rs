//! Image versions. Source: `API.md` 3.3, 5.3, 8.

mod encryption;
mod profile;
mod regions;
mod security;
mod source;
mod storage;

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::plan::{PutContext, properties, start, take, text};
use crate::resource::Document;
use crate::{
    Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result, gallery, gallery_kind,
    plan::location_required,
};

pub use encryption::{encryption_sets, sets_in};
pub use regions::{is_excluded_in, target_regions};
pub use source::{
    SourceFacts, check_image_of_others, check_source, check_source_matches,
    shared_source_not_found, source_not_found,
};
pub use storage::{has_content, image_of_others, source_ids};

const WIRE: &str = "galleryImageVersion.properties";
/// What a safety profile lets a caller set.
const SAFETY: [&str; 2] = [
    "allowDeletionOfReplicatedLocations",
    "blockDeletionBeforeEndOfLife",
];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Major, minor and patch; ordered as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber {
    /// First number.
    pub major: i32,
    /// Second number.
    pub minor: i32,
    /// Third number.
    pub patch: i32,
}

impl FromStr for VersionNumber {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let part = |text: Option<&str>| {
            let text = text
                .filter(|t| (1..=10).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()))?;
            text.parse::<i32>().ok()
        };
        let mut parts = name.split('.');
        let (major, minor, patch) = (part(parts.next()), part(parts.next()), part(parts.next()));
        match (major, minor, patch, parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(Error::invalid_parameter(
                "galleryImageVersionName",
                "The image version name is invalid. The image version name should follow Major(int).Minor(int).Patch(int) \
                 format, for e.g: 1.0.0, 2018.12.1 etc.",
            )),
        }
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Decides a PUT or, with `stored`, a change.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    id.name().parse::<VersionNumber>()?;
    let mut row = start(ctx, Kind::ImageVersion, id, body, stored)?;
    let sent = properties(body);
    // A version that failed before it was captured holds nothing: a new PUT may say everything anew.
    // One that has content keeps it, whatever a later write came to.
    let is_new =
        stored.is_none_or(|s| s.state == ProvisioningState::Failed && !storage::has_content(s));
    check_gallery(ctx, &row, &sent, is_new)?;
    profile::plan(ctx, &mut row, &sent, is_new)?;
    storage::plan(ctx, &mut row, &sent, is_new)?;
    plan_safety(&mut row, &sent);
    security::plan(ctx, &mut row, &sent, is_new)?;
    if is_new {
        source::check_encryption(&row)?;
    }
    Ok(row)
}

/// Plans the publishing profile of a version of any kind; errors name an image version.
pub(crate) fn plan_publishing(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    profile::plan(ctx, row, sent, is_new)
}

/// A gallery that others see keeps its versions at home and readable. Source: `API.md` 3.3, 4.
fn check_gallery(
    ctx: &PutContext<'_>,
    row: &Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let Some(gallery) = ctx.gallery else {
        return Ok(());
    };
    if is_new {
        gallery_kind::check_location(gallery, row)?;
    }
    gallery_kind::check_encryption(gallery::permissions(gallery), sent)?;
    Ok(())
}

fn plan_safety(row: &mut Resource, sent: &Document) {
    let mut kept = row
        .properties
        .get("safetyProfile")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    kept.entry("reportedForPolicyViolation")
        .or_insert(Value::Bool(false));
    kept.entry("allowDeletionOfReplicatedLocations")
        .or_insert(Value::Bool(false));
    if let Some(profile) = sent.get("safetyProfile").and_then(Value::as_object) {
        take(&mut kept, profile, &SAFETY);
    }
    row.properties
        .insert("safetyProfile".to_owned(), Value::Object(kept));
}

/// What a PUT on a soft-deleted version asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutKind {
    /// Bring it back.
    Restore,
    /// Write a version of this name.
    Write,
}

/// Tells a restore from a write: `properties.restore`, or a body of location and tags alone. Source: `API.md` 8.
pub fn put_kind(body: &Value) -> PutKind {
    match body
        .get("properties")
        .and_then(Value::as_object)
        .filter(|p| !p.is_empty())
    {
        None => PutKind::Restore,
        Some(sent) if sent.get("restore").and_then(Value::as_bool) == Some(true) => {
            PutKind::Restore
        }
        Some(_) => PutKind::Write,
    }
}

/// Decides a restore of a soft-deleted version.
pub fn plan_restore(
    now_ms: i64,
    body: &Value,
    hidden: &Resource,
    gallery: Option<&Resource>,
) -> Result<Resource> {
    let sent = text_of(body, "location")
        .filter(|l| !l.is_empty())
        .ok_or_else(|| location_required(hidden.id.name()))?;
    if crate::region::normalise(sent) != hidden.location {
        return Err(Error::invalid_parameter(
            "galleryImageVersion.location",
            format!(
                "A soft-deleted image version can only be restored in its own location '{}'.",
                hidden.location
            ),
        ));
    }
    let policy = gallery.map(gallery::soft_delete_policy);
    let days = policy.map_or(0, |p| p.retention_days + p.grace_days);
    if hidden
        .deleted_ms
        .is_some_and(|at| at + days * DAY_MS <= now_ms)
    {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The time in which the image version '{}' can be restored is over.",
                hidden.id.name()
            ),
        ));
    }
    let mut row = hidden.clone();
    if let Some(tags) = body.get("tags").and_then(Value::as_object) {
        row.tags = Some(tags.clone());
    }
    Ok(row)
}

fn text_of<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// Refuses the deletion of a version that is protected until its end of life. Source: `API.md` 2.2.
pub fn check_delete(row: &Resource, now_ms: i64) -> Result<()> {
    let flag = |name: &str| {
        row.properties
            .get("safetyProfile")
            .and_then(|p| p.get(name))
            .and_then(Value::as_bool)
    };
    if flag("blockDeletionBeforeEndOfLife") != Some(true) {
        return Ok(());
    }
    let profile = row
        .properties
        .get("publishingProfile")
        .and_then(Value::as_object);
    let ends = profile
        .and_then(|p| text(p, "endOfLifeDate"))
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    if ends.is_none_or(|at| at.as_millisecond() <= now_ms) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "DeleteGalleryImageVersionBlockedBeforeEndOfLife",
        "Deletion of Gallery image version is not allowed because the image is enabled for blockDeletionBeforeEndOfLife and \
         its endOfLifeDate has not reached yet",
    ))
}

/// The error for a number outside its range. Source: `API.md` 5.3.
fn out_of_range(target: &str, value: i64, least: i64, most: i64) -> Error {
    let name = target.rsplit('.').next().unwrap_or(target);
    Error::invalid_parameter(
        target,
        format!(
            "The value {value} of parameter {name} is out of range. The value must be between {least} and {most}, inclusive."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_three_numbers_that_order_as_numbers() {
        for good in ["1.0.0", "0.0.0", "2018.12.1", "2147483647.0.1", "01.2.3"] {
            assert!(good.parse::<VersionNumber>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "1.0.x",
            "-1.0.0",
            "2147483648.0.0",
            "1..0",
            "latest",
            " 1.0.0",
            "1.0.0 ",
        ] {
            let error = bad.parse::<VersionNumber>().unwrap_err();
            assert!(
                error
                    .message
                    .starts_with("The image version name is invalid."),
                "{bad}"
            );
        }
        let number = |n: &str| n.parse::<VersionNumber>().unwrap();
        assert!(number("1.10.0") > number("1.9.9"));
        assert_eq!(number("1.2.3").to_string(), "1.2.3");
    }

    #[test]
    fn a_body_without_properties_restores() {
        assert_eq!(
            put_kind(&json!({ "location": "eastus", "tags": {} })),
            PutKind::Restore
        );
        assert_eq!(
            put_kind(&json!({ "location": "eastus", "properties": { "restore": true } })),
            PutKind::Restore
        );
        assert_eq!(
            put_kind(&json!({ "location": "eastus", "properties": { "storageProfile": {} } })),
            PutKind::Write
        );
    }
}
