//! Images of others: who sees a shared or public gallery, and the ids by which consumers name them.
//!
//! Source: `API.md` 7, 9.

use std::fmt;

use serde_json::Value;

use crate::{Error, Kind, Resource, ResourceId, Result};

/// By which door a consumer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `/SharedGalleries/{uniqueName}`: the owner named the consumer.
    Shared,
    /// `/CommunityGalleries/{publicName}`: the owner let everybody in.
    Community,
}

/// A consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer<'a> {
    /// The subscription that asks.
    pub subscription: &'a str,
    /// Its tenant.
    pub tenant: &'a str,
}

/// Which invitations to a gallery that is shared directly were rejected by those who got them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// The one to the subscription; it closes the door even where the tenant was invited too.
    pub by_subscription: bool,
    /// The one to the tenant; it leaves what was shared with a subscription.
    pub by_tenant: bool,
}

/// Who was invited to a gallery that is shared directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invitee<'a> {
    /// A subscription.
    Subscription(&'a str),
    /// A tenant.
    Tenant(&'a str),
}

impl Invitee<'_> {
    /// Returns the text by which its answer is kept.
    pub fn key(self) -> String {
        match self {
            Self::Subscription(id) => format!("subscriptions/{}", id.to_ascii_lowercase()),
            Self::Tenant(id) => format!("tenants/{}", id.to_ascii_lowercase()),
        }
    }

    /// Whether the gallery is shared with it.
    pub fn is_invited(self, gallery: &Resource) -> bool {
        match self {
            Self::Subscription(id) => is_shared_with(gallery, "Subscriptions", id),
            Self::Tenant(id) => is_shared_with(gallery, "AADTenants", id),
        }
    }
}

/// The id of an image of others: a definition, a version, or `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedImageId {
    /// By which door.
    pub door: Door,
    /// The unique or public name of the gallery.
    pub gallery: String,
    /// The definition.
    pub image: String,
    /// The version; none and `latest` mean the newest.
    pub version: Option<String>,
}

impl Door {
    /// Returns the first segment of ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "SharedGalleries",
            Self::Community => "CommunityGalleries",
        }
    }
}

impl SharedImageId {
    /// Reads `/SharedGalleries/{name}/Images/{image}[/Versions/{version}]`, or the same of `CommunityGalleries`.
    pub fn parse(text: &str) -> Result<Self> {
        let segments: Vec<&str> = text.split('/').filter(|s| !s.is_empty()).collect();
        let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
        let (first, gallery, images, image, rest) = match segments.as_slice() {
            [first, gallery, images, image, rest @ ..] => (first, gallery, images, image, rest),
            _ => return Err(invalid()),
        };
        let door = [Door::Shared, Door::Community]
            .into_iter()
            .find(|door| is(first, door.as_str()))
            .ok_or_else(invalid)?;
        let version = match rest {
            [] => None,
            [versions, version] if is(versions, "Versions") => Some((*version).to_owned()),
            _ => return Err(invalid()),
        };
        if !is(images, "Images") || !text.starts_with('/') {
            return Err(invalid());
        }
        Ok(Self {
            door,
            gallery: (*gallery).to_owned(),
            image: (*image).to_owned(),
            version,
        })
    }

    /// Returns the id of one version of the same image.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Self {
        Self {
            version: Some(version.to_owned()),
            ..self.clone()
        }
    }

    /// Returns what the id means in a gallery: a version, or a definition for `latest`.
    pub fn within(&self, gallery: &ResourceId) -> ResourceId {
        let definition = gallery.child(Kind::Image, &self.image);
        match &self.version {
            Some(version) if !version.eq_ignore_ascii_case("latest") => {
                definition.child(Kind::ImageVersion, version)
            }
            _ => definition,
        }
    }
}

impl fmt::Display for SharedImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/{}/{}/Images/{}",
            self.door.as_str(),
            self.gallery,
            self.image
        )?;
        match &self.version {
            Some(version) => write!(f, "/Versions/{version}"),
            None => Ok(()),
        }
    }
}

/// Returns the name by which a gallery is known behind a door; none when that door is closed.
pub fn name_behind(door: Door, gallery: &Resource) -> Option<&str> {
    match door {
        Door::Shared => gallery
            .properties
            .get("identifier")?
            .get("uniqueName")?
            .as_str(),
        Door::Community => {
            let info = profile(gallery)?.get("communityGalleryInfo")?;
            if profile(gallery)?.get("permissions")? != "Community"
                || info.get("communityGalleryEnabled")? != true
            {
                return None;
            }
            info.get("publicNames")?.get(0)?.as_str()
        }
    }
}

/// Whether a consumer may come in by a door.
pub fn is_open(door: Door, gallery: &Resource, consumer: Consumer<'_>, rejected: Rejected) -> bool {
    match door {
        Door::Community => name_behind(door, gallery).is_some(),
        Door::Shared => {
            let invited = |invitee: Invitee<'_>| invitee.is_invited(gallery);
            !rejected.by_subscription
                && (invited(Invitee::Subscription(consumer.subscription))
                    || (!rejected.by_tenant && invited(Invitee::Tenant(consumer.tenant))))
        }
    }
}

/// Whether a gallery is shared directly with an id of a type, `Subscriptions` or `AADTenants`.
pub fn is_shared_with(gallery: &Resource, group_type: &str, id: &str) -> bool {
    let Some(profile) = profile(gallery) else {
        return false;
    };
    if profile.get("permissions").is_none_or(|p| p != "Groups") {
        return false;
    }
    let groups = profile.get("groups").and_then(Value::as_array);
    groups.into_iter().flatten().any(|group| {
        let ids = group.get("ids").and_then(Value::as_array);
        group.get("type").is_some_and(|t| t == group_type)
            && ids
                .into_iter()
                .flatten()
                .any(|held| held.as_str().is_some_and(|h| h.eq_ignore_ascii_case(id)))
    })
}

fn profile(gallery: &Resource) -> Option<&Value> {
    gallery.properties.get("sharingProfile")
}

fn invalid() -> Error {
    Error::invalid_parameter(
        "imageReference",
        "The value of parameter imageReference is invalid.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gallery(profile: Value) -> Resource {
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/Sig";
        let mut row = Resource::new(ResourceId::parse(id).unwrap(), Kind::Gallery, "eastus", 0);
        row.properties
            .insert("identifier".into(), json!({ "uniqueName": "s-SIG" }));
        row.properties.insert("sharingProfile".into(), profile);
        row
    }

    #[test]
    fn ids_of_others_are_read_whatever_their_case_and_refused_when_in_parts() {
        let read = |door, gallery: &str, image: &str, version: Option<&str>| {
            Some(SharedImageId {
                door,
                gallery: gallery.into(),
                image: image.into(),
                version: version.map(str::to_owned),
            })
        };
        for (text, id) in [
            (
                "/SharedGalleries/s-SIG/Images/d",
                read(Door::Shared, "s-SIG", "d", None),
            ),
            (
                "/sharedgalleries/s-SIG/images/d/versions/LATEST",
                read(Door::Shared, "s-SIG", "d", Some("LATEST")),
            ),
            (
                "/CommunityGalleries/acme-1/Images/d/Versions/1.0.0",
                read(Door::Community, "acme-1", "d", Some("1.0.0")),
            ),
            ("SharedGalleries/s/Images/d", None),
            ("/SharedGalleries/s", None),
            ("/SharedGalleries/s/Disks/d", None),
            ("/SharedGalleries/s/Images/d/Versions", None),
            ("/SharedGalleries/s/Images/d/Versions/1.0.0/x", None),
            ("/subscriptions/s/resourceGroups/g/x", None),
        ] {
            assert_eq!(SharedImageId::parse(text).ok(), id, "{text}");
            if let Some(id) = id {
                assert!(id.to_string().eq_ignore_ascii_case(text), "{id} {text}");
            }
        }
    }

    #[test]
    fn a_door_is_open_for_whom_the_owner_let_in() {
        let groups = json!({ "permissions": "Groups", "groups": [
            { "type": "Subscriptions", "ids": ["a"] }, { "type": "AADTenants", "ids": ["t"] },
        ] });
        let mut reset = groups.clone();
        reset["permissions"] = json!("Private");
        let public = |is_enabled: bool| {
            let info = json!({ "communityGalleryEnabled": is_enabled, "publicNames": ["acme-1"] });
            json!({ "permissions": "Community", "communityGalleryInfo": info })
        };
        for (profile, door, subscription, tenant, is_in) in [
            (groups.clone(), Door::Shared, "A", "x", true),
            (groups.clone(), Door::Shared, "x", "T", true),
            (groups.clone(), Door::Shared, "t", "a", false),
            (groups.clone(), Door::Community, "a", "t", false),
            (reset, Door::Shared, "a", "t", false),
            (public(true), Door::Community, "x", "y", true),
            (public(false), Door::Community, "x", "y", false),
            (public(true), Door::Shared, "x", "y", false),
            (json!({}), Door::Shared, "x", "y", false),
        ] {
            let consumer = Consumer {
                subscription,
                tenant,
            };
            let row = gallery(profile);
            assert_eq!(
                is_open(door, &row, consumer, Rejected::default()),
                is_in,
                "{door:?} {subscription} {tenant} {row:?}"
            );
        }
        let both = json!({ "permissions": "Groups", "groups": [
            { "type": "Subscriptions", "ids": ["a"] }, { "type": "AADTenants", "ids": ["t"] },
        ] });
        // Subscription a of tenant t, another of t, and a of another tenant: what each rejection closes.
        let consumers = [("a", "t"), ("b", "t"), ("a", "x")];
        for (by_subscription, by_tenant, open) in [
            (false, false, [true, true, true]),
            (false, true, [true, false, true]),
            (true, false, [false, false, false]),
            (true, true, [false, false, false]),
        ] {
            let rejected = Rejected {
                by_subscription,
                by_tenant,
            };
            let row = gallery(both.clone());
            let is_in = consumers.map(|(subscription, tenant)| {
                let consumer = Consumer {
                    subscription,
                    tenant,
                };
                is_open(Door::Shared, &row, consumer, rejected)
            });
            assert_eq!(is_in, open, "{rejected:?}");
        }
        assert_eq!(
            name_behind(Door::Shared, &gallery(json!({}))),
            Some("s-SIG")
        );
        assert_eq!(
            name_behind(Door::Community, &gallery(public(true))),
            Some("acme-1")
        );
    }
}
