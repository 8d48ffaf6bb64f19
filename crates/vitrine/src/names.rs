//! `GALLERY/IMAGE/VERSION` on the command line, and the paths it means.

use std::str::FromStr;

use reqwest::Method;
use serde_json::json;

use crate::client::{API_VERSION, Client, GROUP_API_VERSION};
use crate::output::NotFound;

/// A version named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionName {
    /// The gallery.
    pub gallery: String,
    /// The image definition.
    pub image: String,
    /// The version.
    pub version: String,
}

impl FromStr for VersionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [gallery, image, version]
                if [gallery, image, version].iter().all(|p| !p.is_empty()) =>
            {
                Ok(Self {
                    gallery: (*gallery).to_owned(),
                    image: (*image).to_owned(),
                    version: (*version).to_owned(),
                })
            }
            _ => Err("expected GALLERY/IMAGE/VERSION, for example web/debian/1.0.0".to_owned()),
        }
    }
}

/// A gallery that was found.
pub struct FoundGallery {
    /// Its ARM id.
    pub id: String,
    /// Its region's short name.
    pub location: String,
    /// The id of its resource group.
    pub group_id: String,
}

/// Returns the gallery of this name; names are unique in a subscription.
pub async fn find_gallery(client: &Client, name: &str) -> anyhow::Result<Option<FoundGallery>> {
    let mut path = format!(
        "/subscriptions/{}/providers/Microsoft.Compute/galleries",
        client.subscription()
    );
    loop {
        let page = client.get(&path, API_VERSION).await?;
        let items = page["value"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|g| {
            g["name"]
                .as_str()
                .is_some_and(|n| n.eq_ignore_ascii_case(name))
        });
        if let Some(found) = found {
            let id = found["id"].as_str().unwrap_or_default().to_owned();
            let group_id = id
                .split("/providers/")
                .next()
                .unwrap_or_default()
                .to_owned();
            let location = found["location"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(FoundGallery {
                id,
                location,
                group_id,
            }));
        }
        let Some(next) = page["nextLink"].as_str() else {
            return Ok(None);
        };
        let rest = next.strip_prefix(client.endpoint()).unwrap_or(next);
        path = rest
            .split("api-version=")
            .next()
            .unwrap_or(rest)
            .trim_end_matches(['?', '&'])
            .to_owned();
        if let Some((_, token)) = rest.split_once("skiptoken=") {
            path = format!(
                "/subscriptions/{}/providers/Microsoft.Compute/galleries?%24skiptoken={token}",
                client.subscription()
            );
        }
    }
}

/// Returns the gallery, or the error of exit code 3.
pub async fn require_gallery(client: &Client, name: &str) -> anyhow::Result<FoundGallery> {
    let found = find_gallery(client, name).await?;
    Ok(found.ok_or_else(|| NotFound(format!("the gallery '{name}' was not found")))?)
}

/// Returns the gallery, made in `group` and `location` if it is not there.
pub async fn ensure_gallery(
    client: &Client,
    name: &str,
    group: &str,
    location: &str,
) -> anyhow::Result<FoundGallery> {
    if let Some(found) = find_gallery(client, name).await? {
        return Ok(found);
    }
    let group_id = format!(
        "/subscriptions/{}/resourceGroups/{group}",
        client.subscription()
    );
    if client
        .arm(Method::GET, &group_id, GROUP_API_VERSION, None)
        .await?
        .is_none()
    {
        client
            .put(
                &group_id,
                GROUP_API_VERSION,
                &json!({ "location": location }),
            )
            .await?;
    }
    let id = format!("{group_id}/providers/Microsoft.Compute/galleries/{name}");
    client
        .put(&id, API_VERSION, &json!({ "location": location }))
        .await?;
    eprintln!("Created gallery {name} in {location}");
    Ok(FoundGallery {
        id,
        location: location.to_owned(),
        group_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_parts() {
        let name: VersionName = "web/debian/1.0.0".parse().unwrap();
        assert_eq!(
            (
                name.gallery.as_str(),
                name.image.as_str(),
                name.version.as_str()
            ),
            ("web", "debian", "1.0.0")
        );
        for bad in ["web", "web/debian", "web//1.0.0", "a/b/c/d", ""] {
            assert!(bad.parse::<VersionName>().is_err(), "{bad}");
        }
    }
}
