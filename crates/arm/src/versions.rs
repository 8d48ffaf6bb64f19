//! Which api-versions a resource type takes.
//!
//! Clients are ahead of every list (`2025-04-01` was seen for galleries, which never had it), so a
//! well-formed date that is not older than the first version is accepted; [`crate::schema`] then
//! works by the newest version it knows up to that date. Older or malformed ones are refused with
//! the list, as ARM does.

use domain::{Error, ErrorKind, Kind, Result};

use crate::schema::Shape;

/// Versions of role assignments, role definitions and locks.
const AUTHORIZATION: [&str; 9] = [
    "2015-01-01",
    "2015-07-01",
    "2016-09-01",
    "2018-01-01-preview",
    "2020-04-01-preview",
    "2020-05-01",
    "2022-04-01",
    "2022-05-01-preview",
    "2025-05-01-preview",
];
const RESOURCE_GRAPH: [&str; 4] = [
    "2018-09-01-preview",
    "2019-04-01",
    "2021-03-01",
    "2022-10-01",
];

/// Versions of the activity log.
const INSIGHTS: [&str; 2] = ["2015-04-01", "2017-03-01-preview"];

/// Versions of answers to the invitations of shared galleries.
const INVITES: [&str; 2] = ["2025-12-03", "2026-03-03"];

/// Versions of what only this product has.
const VITRINE: [&str; 1] = ["2026-11-01"];

/// An api-version that was asked for and is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiVersion(String);

impl ApiVersion {
    /// Returns the version as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the versions of a kind, ascending.
pub fn supported(kind: Kind) -> &'static [&'static str] {
    Shape::from(kind).api_versions()
}

/// Returns the versions of an ARM type, ascending; children have those of their parent, types of
/// ARM itself those of resource groups. Empty for a namespace that is not served.
pub fn supported_type(type_name: &str) -> &'static [&'static str] {
    let name = type_name.to_ascii_lowercase();
    let Some((namespace, local)) = name.split_once('/') else {
        return &[];
    };
    let first = local.split('/').next().unwrap_or_default();
    let second = local.split('/').nth(1).unwrap_or_default();
    let shape = match (namespace, first) {
        ("microsoft.compute", "galleries") if second == "applications" => Shape::GalleryApplication,
        ("microsoft.compute", "galleries") if second == "scripts" => Shape::GalleryScript,
        ("microsoft.compute", "galleries") if second == "invmaccesscontrolprofiles" => {
            Shape::AccessProfile
        }
        ("microsoft.compute", "galleries") => Shape::Gallery,
        ("microsoft.compute", "snapshots") => Shape::Snapshot,
        ("microsoft.compute", "images") => Shape::ManagedImage,
        ("microsoft.compute", "virtualmachines") => Shape::VirtualMachine,
        // Interfaces and addresses of a set's machines are asked for with api-versions of networks.
        ("microsoft.compute", "virtualmachinescalesets")
            if local.ends_with("networkinterfaces") || local.ends_with("publicipaddresses") =>
        {
            Shape::Network
        }
        ("microsoft.compute", "virtualmachinescalesets") => Shape::ScaleSet,
        ("microsoft.compute", "diskencryptionsets") => Shape::DiskEncryptionSet,
        ("microsoft.compute", "locations") if local.ends_with("sharedgallerysubscriptions") => {
            return &INVITES;
        }
        ("microsoft.compute", "locations") if second == "publishers" => Shape::VirtualMachine,
        ("microsoft.compute", _) if is_gallery_path(local) => Shape::Gallery,
        // Disks go back furthest: polls and lists of locations carry versions of every family.
        ("microsoft.compute", _) => Shape::Disk,
        ("microsoft.storage", _) => Shape::StorageAccount,
        ("microsoft.network", _) => Shape::Network,
        ("microsoft.resources", _) => Shape::ResourceGroup,
        ("microsoft.authorization", _) => return &AUTHORIZATION,
        ("microsoft.resourcegraph", _) => return &RESOURCE_GRAPH,
        ("microsoft.insights", _) => return &INSIGHTS,
        ("vitrine.gallery", _) => return &VITRINE,
        _ => return &[],
    };
    shape.api_versions()
}

fn is_gallery_path(local: &str) -> bool {
    local.starts_with("locations/sharedgalleries")
        || local.starts_with("locations/communitygalleries")
}

/// Checks the `api-version` parameter of a request to a type such as `Microsoft.Compute/galleries`.
pub fn check(type_name: &str, asked: Option<&str>) -> Result<ApiVersion> {
    check_in(type_name, asked, None)
}

/// Checks as [`check`] and names the location in the refusal.
pub fn check_in(
    type_name: &str,
    asked: Option<&str>,
    location: Option<&str>,
) -> Result<ApiVersion> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Err(missing());
    };
    let versions = supported_type(type_name);
    let Some(first) = versions.first() else {
        return Err(unknown_type(type_name, asked));
    };
    if is_well_formed(asked) && asked.get(..10) >= first.get(..10) {
        return Ok(ApiVersion(asked.to_owned()));
    }
    let place = location.map_or_else(String::new, |location| {
        format!("location '{location}' and ")
    });
    let shown: String = asked.chars().take(40).collect();
    Err(Error::new(
        ErrorKind::Invalid,
        "NoRegisteredProviderFound",
        format!(
            "No registered resource provider found for {place}API version '{shown}' for type '{}'. \
             The supported api-versions are '{}'.",
            local_name(type_name),
            versions.join(", ")
        ),
    ))
}

/// Returns whether a text is `YYYY-MM-DD` with an optional `-preview` or the like.
fn is_well_formed(text: &str) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(10..)) else {
        return false;
    };
    let is_suffix = |s: &str| {
        !s.is_empty() && s.len() <= 20 && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
    };
    date.parse::<jiff::civil::Date>().is_ok()
        && date.chars().all(|c| c.is_ascii_digit() || c == '-')
        && (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_suffix))
}

fn missing() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "MissingApiVersionParameter",
        "The api-version query parameter (?api-version=) is required for all requests.",
    )
}

fn unknown_type(type_name: &str, asked: &str) -> Error {
    let (namespace, local) = type_name.split_once('/').unwrap_or((type_name, ""));
    Error::new(
        ErrorKind::Invalid,
        "InvalidResourceType",
        format!(
            "The resource type '{local}' could not be found in the namespace '{namespace}' for api version '{asked}'."
        ),
    )
}

fn local_name(type_name: &str) -> &str {
    type_name
        .split_once('/')
        .map_or(type_name, |(_, local)| local)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GALLERY: &str = "Microsoft.Compute/galleries/images";

    #[test]
    fn known_and_newer_versions_are_accepted_as_written() {
        for version in [
            "2018-06-01",
            "2023-07-03",
            "2025-04-01",
            "2026-03-03",
            "2031-01-01",
            "2024-01-01-preview",
        ] {
            assert_eq!(check(GALLERY, Some(version)).unwrap().as_str(), version);
        }
        assert!(check("microsoft.compute/DISKS", Some("2016-04-30-preview")).is_ok());
        assert!(
            check(
                "Microsoft.Compute/locations/DiskOperations",
                Some("2017-03-30")
            )
            .is_ok()
        );
    }

    #[test]
    fn a_missing_version_has_its_own_code() {
        for asked in [None, Some("")] {
            assert_eq!(
                check(GALLERY, asked).unwrap_err().code,
                "MissingApiVersionParameter"
            );
        }
    }

    #[test]
    fn older_and_malformed_versions_are_refused_with_the_list() {
        for version in [
            "2018-05-31",
            "2015-01-01",
            "latest",
            "2023-7-3",
            "2023-13-01",
            "2023-07-03x",
            "2023-07-03-",
            "2023-07-0é",
        ] {
            let error = check_in(GALLERY, Some(version), Some("eastus")).unwrap_err();
            assert_eq!(error.code, "NoRegisteredProviderFound", "{version}");
            assert!(error.message.starts_with(&format!(
                "No registered resource provider found for location 'eastus' and API version '{version}' for type 'galleries/images'. The supported api-versions are '2018-06-01, 2019-03-01,"
            )));
        }
        assert_eq!(
            check("Microsoft.Sql/servers", Some("2023-07-03"))
                .unwrap_err()
                .code,
            "InvalidResourceType"
        );
    }

    #[test]
    fn every_version_of_the_reference_is_supported() {
        let galleries = [
            "2018-06-01",
            "2019-03-01",
            "2019-07-01",
            "2019-12-01",
            "2020-09-30",
            "2021-07-01",
            "2021-10-01",
            "2022-01-03",
            "2022-03-03",
            "2022-08-03",
            "2023-07-03",
            "2024-03-03",
            "2025-03-03",
            "2025-12-03",
            "2026-03-03",
        ];
        for kind in [Kind::Gallery, Kind::Image, Kind::ImageVersion] {
            assert_eq!(supported(kind), galleries);
        }
    }
}
