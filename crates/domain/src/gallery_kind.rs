//! What a gallery may hold, by who sees it: private, shared directly, public. Source: `API.md` 3.3, 4.
//!
//! The same rules hold when something is put into a gallery and when a gallery that holds something is
//! opened to others: [`check_content`] asks them again for everything that is there.

use serde_json::Value;

use crate::plan::is_nothing;
use crate::resource::Document;
use crate::{Error, Kind, Resource, Result, features, gallery};

const PRIVATE: &[&str] = &["Private"];
const PRIVATE_AND_SHARED: &[&str] = &["Private", "Groups"];

/// What not every gallery holds, and the sharing permissions of galleries that do.
const LIMITED: [(What, &[&str]); 6] = [
    (
        What::Type("Microsoft.Compute/galleries/applications"),
        PRIVATE,
    ),
    (What::SecurityType("TrustedLaunch"), PRIVATE),
    (What::SecurityType("ConfidentialVM"), PRIVATE),
    (What::Encryption, PRIVATE),
    (What::OtherRegion, PRIVATE),
    (What::PurchasePlan, PRIVATE_AND_SHARED),
];

/// Something that a gallery is asked to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A resource of a type below galleries.
    Type(&'a str),
    /// A definition of a security type.
    SecurityType(&'a str),
    /// A version whose copies are encrypted with keys of the customer.
    Encryption,
    /// A version at another location than its gallery.
    OtherRegion,
    /// A definition with a plan of a marketplace.
    PurchasePlan,
}

/// Whether a gallery of a sharing permission holds something.
pub fn holds(permissions: &str, what: What<'_>) -> bool {
    let is_same = |known: &What<'_>| match (known, what) {
        // Versions of applications are where applications are.
        (What::Type(known), What::Type(asked)) => asked
            .get(..known.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(known)),
        (known, asked) => *known == asked,
    };
    LIMITED
        .iter()
        .find(|(known, _)| is_same(known))
        .is_none_or(|(_, holders)| holders.contains(&permissions))
}

/// Refuses a resource of a type that the gallery does not hold.
pub fn check_type(gallery: &Resource, type_name: &str) -> Result<()> {
    let permissions = gallery::permissions(gallery);
    if holds(permissions, What::Type(type_name)) {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "Resources of type '{type_name}' are only supported in private galleries; this gallery's sharing permission is \
             '{permissions}'."
        ),
    ))
}

/// Refuses a security type that the gallery does not hold.
pub fn check_security(permissions: &str, security: &str) -> Result<()> {
    if holds(permissions, What::SecurityType(security)) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "galleryImage.properties.features",
        format!(
            "The security type '{security}' is only supported in private galleries; this gallery's sharing permission is '{permissions}'."
        ),
    ))
}

/// Refuses a plan that the gallery does not hold.
pub fn check_plan(permissions: &str, properties: &Document) -> Result<()> {
    if !properties.contains_key("purchasePlan") || holds(permissions, What::PurchasePlan) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "galleryImage.properties.purchasePlan",
        "A purchase plan is not supported for images in a community gallery.",
    ))
}

/// Refuses a version at a location that the gallery does not hold.
pub fn check_location(gallery: &Resource, version: &Resource) -> Result<()> {
    let permissions = gallery::permissions(gallery);
    if version.location == gallery.location || holds(permissions, What::OtherRegion) {
        return Ok(());
    }
    Err(Error::invalid_parameter(
        "galleryImageVersion.location",
        format!(
            "The location '{}' of the image version must be the location '{}' of its gallery, because the gallery's \
             sharing permission is '{permissions}'.",
            version.location, gallery.location
        ),
    ))
}

/// Refuses encryption of a version's copies, at regions and edge zones, where the gallery does not hold it.
pub fn check_encryption(permissions: &str, properties: &Document) -> Result<()> {
    if holds(permissions, What::Encryption) {
        return Ok(());
    }
    let profile = properties.get("publishingProfile");
    for list in ["targetRegions", "targetExtendedLocations"] {
        let places = profile.and_then(|p| p.get(list)).and_then(Value::as_array);
        let is_encrypted = |place: &Value| place.get("encryption").is_some_and(|e| !is_nothing(e));
        if places.into_iter().flatten().any(is_encrypted) {
            return Err(Error::invalid_parameter(
                format!("galleryImageVersion.properties.publishingProfile.{list}.encryption"),
                format!(
                    "Encryption is not supported in a gallery whose sharing permission is '{permissions}'."
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses to open a gallery to others that holds something which must stay private.
///
/// `gallery` is the row as it is to be; `child` lies below it. What is wrong is said of the gallery:
/// that is what was asked to change.
pub fn check_content(gallery: &Resource, child: &Resource) -> Result<()> {
    let permissions = gallery::permissions(gallery);
    let checked = match child.kind {
        Kind::Image => {
            let security = features::security_type(child.properties.get("features"));
            check_security(permissions, security)
                .and_then(|()| check_plan(permissions, &child.properties))
        }
        Kind::ImageVersion => check_location(gallery, child)
            .and_then(|()| check_encryption(permissions, &child.properties)),
        kind => check_type(gallery, kind.type_name()),
    };
    checked.map_err(|reason| {
        Error::conflict(
            "OperationNotAllowed",
            format!(
                "The sharing permission of the gallery '{}' cannot become '{permissions}' because of '{}': {} Delete it, or share \
                 it from another gallery.",
                gallery.id.name(),
                child.id,
                reason.message
            ),
        )
        .at("gallery.properties.sharingProfile.permissions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceId;
    use serde_json::json;

    const KINDS: [&str; 3] = ["Private", "Groups", "Community"];

    #[test]
    fn what_a_gallery_holds_depends_on_who_sees_it() {
        const ALL: [bool; 3] = [true; 3];
        const OWN: [bool; 3] = [true, false, false];
        for (what, held) in [
            (What::Type("Microsoft.Compute/galleries/images"), ALL),
            (
                What::Type("Microsoft.Compute/galleries/images/versions"),
                ALL,
            ),
            (What::Type("Microsoft.Compute/galleries/scripts"), ALL),
            (What::Type("Microsoft.Compute/galleries/applications"), OWN),
            (
                What::Type("microsoft.compute/GALLERIES/applications/versions"),
                OWN,
            ),
            (What::SecurityType("Standard"), ALL),
            (What::SecurityType("TrustedLaunchSupported"), ALL),
            (What::SecurityType("ConfidentialVMSupported"), ALL),
            (
                What::SecurityType("TrustedLaunchAndConfidentialVmSupported"),
                ALL,
            ),
            (What::SecurityType("TrustedLaunch"), OWN),
            (What::SecurityType("ConfidentialVM"), OWN),
            (What::Encryption, OWN),
            (What::OtherRegion, OWN),
            (What::PurchasePlan, [true, true, false]),
        ] {
            assert_eq!(KINDS.map(|kind| holds(kind, what)), held, "{what:?}");
        }
    }

    fn row(tail: &str, kind: Kind, location: &str, properties: Value) -> Resource {
        const GALLERY: &str =
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G";
        let id = ResourceId::parse(&format!("{GALLERY}{tail}")).unwrap();
        let mut row = Resource::new(id, kind, location, 0);
        row.properties = properties.as_object().unwrap().clone();
        row
    }

    #[test]
    fn a_gallery_is_opened_only_when_all_that_it_holds_may_be_seen() {
        let image = |properties| row("/images/d", Kind::Image, "eastus", properties);
        let version = |location: &str, properties| {
            row(
                "/images/d/versions/1.0.0",
                Kind::ImageVersion,
                location,
                properties,
            )
        };
        let security =
            |value: &str| json!({ "features": [{ "name": "SecurityType", "value": value }] });
        let targets = |list: &str| json!({ "publishingProfile": { list: [{ "name": "eastus", "encryption": { "osDiskImage": { "diskEncryptionSetId": "x" } } }] } });
        let children = [
            (image(json!({})), [true; 3]),
            (image(security("TrustedLaunchSupported")), [true; 3]),
            (image(security("TrustedLaunch")), [true, false, false]),
            (image(security("ConfidentialVM")), [true, false, false]),
            (
                image(json!({ "purchasePlan": { "name": "p" } })),
                [true, true, false],
            ),
            (version("eastus", json!({})), [true; 3]),
            (version("westus2", json!({})), [true, false, false]),
            (
                version("eastus", targets("targetRegions")),
                [true, false, false],
            ),
            (
                version("eastus", targets("targetExtendedLocations")),
                [true, false, false],
            ),
        ];
        for (child, held) in children {
            for (permissions, is_held) in KINDS.into_iter().zip(held) {
                let gallery = row(
                    "",
                    Kind::Gallery,
                    "eastus",
                    json!({ "sharingProfile": { "permissions": permissions } }),
                );
                let checked = check_content(&gallery, &child);
                assert_eq!(checked.is_ok(), is_held, "{permissions} {child:?}");
                if let Err(error) = checked {
                    assert_eq!(error.code, "OperationNotAllowed");
                    assert!(error.message.contains(&child.id.to_string()), "{error}");
                }
            }
        }
    }
}
