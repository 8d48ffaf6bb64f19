//! What a subscription lets its disks, machines and image versions be made from.
//!
//! An allow-list of galleries, of the subscriptions that own them, and of publishers: verified ones, and
//! those that the operator offers images under. Images of
//! the subscription's own galleries are always allowed. Names that anybody can write – publisher, offer
//! and SKU of a definition – are no way to be allowed: they are what an attacker copies.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::plan::word;
use crate::shared_image::{Door, SharedImageId};
use crate::{Error, ErrorKind, Kind, ResourceId, Result};

const MODES: [&str; 3] = ["Disabled", "Audit", "Enforce"];
const TARGET: &str = "allowedImages.properties";
/// Entries of each list.
const ENTRIES_MAX: usize = 200;
/// Bytes of the name of a publisher.
const NAME_BYTES_MAX: usize = 128;

/// What happens to a use of an image that is not on the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The list is kept and not asked.
    #[default]
    Disabled,
    /// It goes on, and the activity log tells of it.
    Audit,
    /// It is refused.
    Enforce,
}

/// The list of one subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedImages {
    /// What the list does.
    pub mode: Mode,
    /// Galleries: ids, `/SharedGalleries/{name}` or `/CommunityGalleries/{name}`.
    pub galleries: Vec<String>,
    /// Subscriptions whose galleries are allowed.
    pub subscriptions: Vec<String>,
    /// Publishers that the operator of the installation has verified, or offers images of, by name.
    pub publishers: Vec<String>,
}

/// Where an image comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The gallery that holds it.
    pub gallery: &'a ResourceId,
    /// How the gallery is named by its consumer, when it is one of others.
    pub door: Option<(Door, &'a str)>,
    /// The verified publisher that the gallery is of, or the publisher that the operator offers the image under.
    pub publisher: Option<&'a str>,
}

impl AllowedImages {
    /// Reads the body of a PUT.
    pub fn read(body: &Value) -> Result<Self> {
        let properties = body.get("properties").unwrap_or(&Value::Null);
        if let Some(unknown) = unknown_member(properties) {
            return Err(Error::bad_request(format!(
                "Could not find member '{unknown}' on object of type 'AllowedImages'. Its members are mode, galleries, \
                 subscriptions and publishers."
            )));
        }
        let mode = properties.get("mode").and_then(Value::as_str);
        let mode = mode.ok_or_else(|| Error::required(format!("{TARGET}.mode")))?;
        Ok(Self {
            mode: match word(mode, &MODES, &format!("{TARGET}.mode"))? {
                "Enforce" => Mode::Enforce,
                "Audit" => Mode::Audit,
                _ => Mode::Disabled,
            },
            galleries: entries(properties, "galleries", gallery_name)?,
            subscriptions: entries(properties, "subscriptions", |text| {
                Uuid::parse_str(text).ok().map(|id| id.to_string())
            })?,
            publishers: entries(properties, "publishers", |text| {
                let is_name = !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX;
                is_name.then(|| text.trim().to_owned())
            })?,
        })
    }

    /// Returns the list as its owner reads it.
    pub fn shown(&self, subscription: &str) -> Value {
        json!({
            "id": format!("/subscriptions/{subscription}/providers/Vitrine.Gallery/allowedImages/default"),
            "name": "default",
            "type": "Vitrine.Gallery/allowedImages",
            "properties": self,
        })
    }

    /// Whether `consumer`, the subscription of the list, may use an image.
    pub fn allows(&self, consumer: &str, origin: Origin<'_>) -> bool {
        let owner = origin.gallery.subscription();
        let has = |list: &[String], wanted: &str| {
            list.iter().any(|held| held.eq_ignore_ascii_case(wanted))
        };
        self.mode == Mode::Disabled
            || owner.eq_ignore_ascii_case(consumer)
            || has(&self.subscriptions, owner)
            || has(&self.galleries, &origin.gallery.to_string())
            || origin.door.is_some_and(|(door, name)| {
                has(&self.galleries, &format!("/{}/{name}", door.as_str()))
            })
            || origin
                .publisher
                .is_some_and(|name| has(&self.publishers, name))
    }
}

/// 403 for an image that is not on the list; `shown` is how the caller names it.
pub fn refusal(shown: &str, subscription: &str) -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "RequestDisallowedByPolicy",
        format!(
            "The image '{shown}' is not among the images that subscription '{subscription}' allows. Use an image of an allowed \
             gallery, or ask an owner of the subscription to add its gallery or publisher to \
             '/subscriptions/{subscription}/providers/Vitrine.Gallery/allowedImages/default'."
        ),
    )
    .at("imageReference")
}

fn unknown_member(properties: &Value) -> Option<&str> {
    const MEMBERS: [&str; 4] = ["mode", "galleries", "subscriptions", "publishers"];
    let members = properties.as_object()?;
    let is_unknown = |name: &&String| !MEMBERS.contains(&name.as_str());
    members.keys().find(is_unknown).map(String::as_str)
}

fn entries(
    properties: &Value,
    name: &str,
    clean: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>> {
    let sent = match properties.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(sent)) => sent,
        Some(_) => return Err(invalid(name, "it must be a list")),
    };
    if sent.len() > ENTRIES_MAX {
        return Err(invalid(
            name,
            &format!("it holds at most {ENTRIES_MAX} entries"),
        ));
    }
    let mut out: Vec<String> = Vec::new();
    for entry in sent {
        let text = entry.as_str().unwrap_or_default();
        let cleaned = clean(text).ok_or_else(|| {
            let shown: String = text.chars().take(200).collect();
            invalid(name, &format!("'{shown}' is none of what it holds"))
        })?;
        if !out.iter().any(|held| held.eq_ignore_ascii_case(&cleaned)) {
            out.push(cleaned);
        }
    }
    Ok(out)
}

fn invalid(name: &str, why: &str) -> Error {
    let what = match name {
        "galleries" => {
            "ids of galleries, '/SharedGalleries/{uniqueName}' and '/CommunityGalleries/{publicName}'"
        }
        "subscriptions" => "GUIDs of subscriptions",
        _ => "names of verified publishers",
    };
    Error::invalid_parameter(
        format!("{TARGET}.{name}"),
        format!("The value of parameter '{name}' is invalid: {why}. It holds {what}."),
    )
}

fn gallery_name(text: &str) -> Option<String> {
    if let Ok(id) = ResourceId::parse(text) {
        return (id.kind() == Some(Kind::Gallery)).then(|| id.to_string());
    }
    // The id of any image below says whether the gallery's is well-formed.
    let image = SharedImageId::parse(&format!("{}/Images/any", text.trim_end_matches('/'))).ok()?;
    Some(format!("/{}/{}", image.door.as_str(), image.gallery))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "00000000-0000-0000-0000-000000000001";
    const THEIRS: &str = "00000000-0000-0000-0000-000000000002";

    fn gallery(subscription: &str, name: &str) -> ResourceId {
        let text = format!(
            "/subscriptions/{subscription}/resourceGroups/g/providers/Microsoft.Compute/galleries/{name}"
        );
        ResourceId::parse(&text).unwrap()
    }

    fn list(properties: Value) -> Result<AllowedImages> {
        AllowedImages::read(&json!({ "properties": properties }))
    }

    #[test]
    fn own_images_are_allowed_and_those_of_others_by_gallery_subscription_or_verified_publisher() {
        let (own, theirs) = (gallery(OWN, "mine"), gallery(THEIRS, "Sig"));
        let of = |gallery| Origin {
            gallery,
            door: None,
            publisher: None,
        };
        let shared = Origin {
            door: Some((Door::Shared, "u-SIG")),
            ..of(&theirs)
        };
        let public = Origin {
            door: Some((Door::Community, "acme-1")),
            ..of(&theirs)
        };
        let acme = Origin {
            publisher: Some("Acme"),
            ..public
        };
        // own, theirs by id, shared, public, public of a verified publisher
        for (properties, allowed) in [
            (
                json!({ "mode": "Disabled" }),
                [true, true, true, true, true],
            ),
            (
                json!({ "mode": "enforce" }),
                [true, false, false, false, false],
            ),
            (
                json!({ "mode": "Audit" }),
                [true, false, false, false, false],
            ),
            (
                json!({ "mode": "Enforce", "subscriptions": [THEIRS] }),
                [true, true, true, true, true],
            ),
            (
                json!({ "mode": "Enforce", "galleries": [theirs.to_string().to_uppercase()] }),
                [true, true, true, true, true],
            ),
            (
                json!({ "mode": "Enforce", "galleries": [gallery(THEIRS, "Sig2").to_string()] }),
                [true, false, false, false, false],
            ),
            (
                json!({ "mode": "Enforce", "galleries": ["/sharedgalleries/U-sig"] }),
                [true, false, true, false, false],
            ),
            (
                json!({ "mode": "Enforce", "galleries": ["/CommunityGalleries/acme-1"] }),
                [true, false, false, true, true],
            ),
            (
                json!({ "mode": "Enforce", "galleries": ["/CommunityGalleries/u-SIG"] }),
                [true, false, false, false, false],
            ),
            (
                json!({ "mode": "Enforce", "publishers": ["acme"] }),
                [true, false, false, false, true],
            ),
        ] {
            let list = list(properties.clone()).unwrap();
            let all = [of(&own), of(&theirs), shared, public, acme];
            assert_eq!(
                all.map(|origin| list.allows(OWN, origin)),
                allowed,
                "{properties}"
            );
        }
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_refused() {
        for properties in [
            json!({}),
            json!({ "mode": "Maybe" }),
            json!({ "mode": "Audit", "galeries": [] }),
            json!({ "mode": "Audit", "galleries": "x" }),
            json!({ "mode": "Audit", "galleries": ["acme"] }),
            json!({ "mode": "Audit", "galleries": [format!("{}/images/d", gallery(OWN, "x"))] }),
            json!({ "mode": "Audit", "galleries": ["/CommunityGalleries/"] }),
            json!({ "mode": "Audit", "subscriptions": ["mine"] }),
            json!({ "mode": "Audit", "publishers": [" "] }),
            json!({ "mode": "Audit", "publishers": [1] }),
            json!({ "mode": "Audit", "publishers": vec!["x"; 201] }),
        ] {
            let error = list(properties.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{properties} {error}");
        }
        let twice =
            list(json!({ "mode": "Audit", "publishers": ["a", "A"], "subscriptions": null }))
                .unwrap();
        assert_eq!(twice.publishers, ["a"]);
    }
}
