//! Images of the marketplace: what the operator offers under a publisher, an offer and a SKU.
//!
//! Consumers know the names of the offer and nothing of the gallery behind it. Source: `API.md` 10, the
//! specification of virtual machine images.

use std::fmt;

use serde_json::{Value, json};

use crate::plan::moment;
use crate::{Error, ErrorKind, Resource, Result};

/// The words that an id and its names are made of; names stand where there is nothing.
const PATH: [&str; 15] = [
    "Subscriptions",
    "",
    "Providers",
    "Microsoft.Compute",
    "Locations",
    "",
    "Publishers",
    "",
    "ArtifactTypes",
    "VMImage",
    "Offers",
    "",
    "Skus",
    "",
    "Versions",
];
const PARTS: [(&str, usize); 3] = [("publisher", 128), ("offer", 64), ("sku", 64)];
/// The longest alias in bytes.
const ALIAS_BYTES_MAX: usize = 64;
/// The most characters of a name that an error repeats.
const SHOWN_CHARS_MAX: usize = 128;

/// Publisher, offer and SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformSku {
    /// Who stands for the image.
    pub publisher: String,
    /// What it is.
    pub offer: String,
    /// Which form of it.
    pub sku: String,
}

/// How a consumer names an image of the marketplace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformImage {
    /// Publisher, offer and SKU.
    pub sku: PlatformSku,
    /// The version, or `latest`.
    pub version: String,
}

impl PlatformSku {
    /// Reads `publisher:offer:sku`, as the operator writes it.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [publisher, offer, sku] = parts.as_slice() else {
            return Err(Error::bad_request(format!(
                "'{}' is not of the form publisher:offer:sku.",
                cut(text)
            )));
        };
        for ((name, most), value) in PARTS.into_iter().zip([publisher, offer, sku]) {
            if !is_name(value, most) {
                return Err(Error::bad_request(format!(
                    "The {name} '{}' must have 1 to {most} letters, digits, hyphens, periods or underscores and must not end \
                     with a period.",
                    cut(value)
                )));
            }
        }
        Ok(Self {
            publisher: (*publisher).to_owned(),
            offer: (*offer).to_owned(),
            sku: (*sku).to_owned(),
        })
    }

    /// Returns the form by which names compare.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// Returns the names from the outside in.
    pub fn names(&self) -> [&str; 3] {
        [&self.publisher, &self.offer, &self.sku]
    }
}

impl fmt::Display for PlatformSku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.publisher, self.offer, self.sku)
    }
}

impl PlatformImage {
    /// Reads `{publisher, offer, sku, version}`; none when a reference has none of them but the version.
    pub fn of_reference(reference: &Value) -> Option<Self> {
        let says = |name: &str| {
            let text = reference.get(name).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        Some(Self {
            sku: PlatformSku {
                publisher: says("publisher")?,
                offer: says("offer")?,
                sku: says("sku")?,
            },
            version: says("version")?,
        })
    }

    /// Reads the id by which a disk names its image, and returns the location in it too.
    pub fn parse_id(text: &str) -> Option<(Self, &str)> {
        let segments: Vec<&str> = text.split('/').filter(|s| !s.is_empty()).collect();
        let (version, path) = segments.split_last()?;
        let is_path = path.len() == PATH.len()
            && path
                .iter()
                .zip(PATH)
                .all(|(segment, word)| word.is_empty() || segment.eq_ignore_ascii_case(word));
        if !is_path || !text.starts_with('/') {
            return None;
        }
        let image = Self {
            sku: PlatformSku {
                publisher: path[7].to_owned(),
                offer: path[11].to_owned(),
                sku: path[13].to_owned(),
            },
            version: (*version).to_owned(),
        };
        Some((image, path[5]))
    }

    /// Whether the newest version is meant.
    pub fn is_latest(&self) -> bool {
        self.version.eq_ignore_ascii_case("latest")
    }

    /// Returns the name of one version of the same image.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..self.clone()
        }
    }

    /// Returns the id of the image for a subscription, in a region.
    pub fn id(&self, subscription: &str, region: &str) -> String {
        let sku = path(subscription, region, &self.sku.names());
        format!("{sku}/Versions/{}", self.version)
    }

    /// 404 for a machine or disk of what is not offered. Source: seen in answers of the service.
    pub fn not_available(&self) -> Error {
        Error::not_found(
            "PlatformImageNotFound",
            format!(
                "The platform image '{self}' is not available. Verify that all fields in the storage profile are correct. For more \
                 details about storage profile information, please refer to https://aka.ms/storageprofile"
            ),
        )
        .at("imageReference")
    }
}

impl fmt::Display for PlatformImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [publisher, offer, sku] = self.sku.names().map(cut);
        write!(f, "{publisher}:{offer}:{sku}:{}", cut(&self.version))
    }
}

/// Returns the id of a publisher, an offer or a SKU, as far as there are names. Source: recorded.
pub fn path(subscription: &str, region: &str, names: &[&str]) -> String {
    let mut out =
        format!("/Subscriptions/{subscription}/Providers/Microsoft.Compute/Locations/{region}");
    for (word, name) in ["Publishers", "ArtifactTypes/VMImage/Offers", "Skus"]
        .into_iter()
        .zip(names)
    {
        out.push_str(&format!("/{word}/{name}"));
    }
    out
}

/// 404 of the read API. Source: seen in answers of the service.
pub fn artifact_not_found() -> Error {
    Error::not_found("NotFound", "Artifact: VMImage was not found.")
}

/// Checks a word by which `az` knows an offer.
pub fn check_alias(alias: &str) -> Result<()> {
    if is_name(alias, ALIAS_BYTES_MAX) {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "The alias '{}' must have 1 to {ALIAS_BYTES_MAX} letters, digits, hyphens, periods or underscores and must not end with \
         a period.",
        cut(alias)
    )))
}

/// Refuses to offer what consumers of a marketplace do not expect.
pub fn check_definition(definition: &Resource) -> Result<()> {
    let state = definition.properties.get("osState").and_then(Value::as_str);
    if state == Some("Generalized") {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "BadRequest",
        format!(
            "The image definition '{}' is specialized. Offer a generalized one: consumers of a marketplace say who may sign in.",
            definition.id
        ),
    ))
}

/// Returns `imageDeprecationStatus`: the end of life of the version, or else of the definition.
///
/// An image whose life is over can still be used, as one of a gallery can.
pub fn deprecation(definition: &Resource, version: &Resource, now_ms: i64) -> Result<Value> {
    let of_version = version.properties.get("publishingProfile");
    let ends = [
        of_version.and_then(|profile| profile.get("endOfLifeDate")),
        definition.properties.get("endOfLifeDate"),
    ];
    let moments = ends.into_iter().flatten().filter_map(Value::as_str);
    let ends = moments
        .filter_map(|text| text.parse::<jiff::Timestamp>().ok())
        .map(jiff::Timestamp::as_millisecond)
        .min();
    Ok(match ends {
        None => json!({ "imageState": "Active" }),
        Some(ends) if ends <= now_ms => json!({ "imageState": "Deprecated" }),
        Some(ends) => {
            json!({ "imageState": "ScheduledForDeprecation", "scheduledDeprecationTime": moment(ends)? })
        }
    })
}

fn is_name(text: &str, most: usize) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (1..=most).contains(&text.len()) && text.chars().all(fits) && !text.ends_with('.')
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/Subscriptions/s/Providers/Microsoft.Compute/Locations/westus/Publishers/Canonical/ArtifactTypes/VMImage/\
                      Offers/ubuntu-24_04-lts/Skus/server/Versions/24.4.1";

    #[test]
    fn an_id_is_read_whatever_its_case_and_written_as_recorded() {
        let lower = ID.to_ascii_lowercase();
        let (image, location) = PlatformImage::parse_id(&lower).unwrap();
        assert_eq!(location, "westus");
        assert_eq!(
            image.to_string(),
            "canonical:ubuntu-24_04-lts:server:24.4.1"
        );
        let (image, _) = PlatformImage::parse_id(ID).unwrap();
        assert_eq!(image.id("s", "westus"), ID);
        assert!(!image.is_latest());
        assert!(image.with_version("Latest").is_latest());
        for other in [
            ID.trim_start_matches('/'),
            &ID.replace("VMImage", "VMExtension"),
            &ID.replace("/Versions/24.4.1", ""),
            &format!("{ID}/more"),
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i",
        ] {
            assert_eq!(PlatformImage::parse_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_reference_says_all_four_names() {
        let mut reference =
            json!({ "publisher": "P", "offer": "o", "sku": "k", "version": "latest" });
        let image = PlatformImage::of_reference(&reference).unwrap();
        assert_eq!(image.to_string(), "P:o:k:latest");
        assert_eq!(image.sku.key(), "p:o:k");
        reference["sku"] = Value::Null;
        assert_eq!(PlatformImage::of_reference(&reference), None);
    }

    #[test]
    fn the_operator_writes_names_that_urls_and_commands_can_carry() {
        let sku = PlatformSku::parse("Canonical:ubuntu-24_04-lts:server").unwrap();
        assert_eq!(sku.names(), ["Canonical", "ubuntu-24_04-lts", "server"]);
        for text in [
            "",
            "a:b",
            "a:b:c:1.0.0",
            "a::c",
            "a:b:c/d",
            "a:b.:c",
            "a b:c:d",
            "é:b:c",
        ] {
            assert!(PlatformSku::parse(text).is_err(), "{text}");
        }
        assert!(check_alias("Ubuntu2204").is_ok());
        assert!(check_alias("a:b").is_err() && check_alias("").is_err());
    }
}
