//! Which image version a reference means: a version by its id, or `latest` of a definition.
//!
//! The one place where images are chosen, so also the one where a subscription's list of allowed images
//! is asked ([`choose`]). Source: `API.md` 7, 10. Versions are looked at from the highest number down, a page at a time, so
//! `latest` costs the same among ten versions and among a million.

use catalog::{Read, Replica, ReplicaState};
use domain::image_version::{VersionNumber, is_excluded_in, target_regions};
use domain::latest::{Candidate, choose_latest};
use domain::platform_image::PlatformImage;
use domain::shared_image::SharedImageId;
use domain::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};
use serde_json::Value;
use std::fmt;

use crate::allowed_images::{self, Way};
use crate::error::catalog as db;
use crate::{Engine, platform_image, shared};

/// Versions looked at in one go.
const PAGE_VERSIONS: usize = 16;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How a caller names an image.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    /// By its id: of a version, of a definition, or `…/versions/latest`.
    Own(ResourceId),
    /// As one of others.
    OfOthers(SharedImageId),
    /// As one that the operator offers.
    Platform(PlatformImage),
}

/// Who is to use an image, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    /// The subscription that what is made lies in.
    pub subscription: &'a str,
    /// The region's short name.
    pub region: &'a str,
}

/// A version that a region can use, and its copies there.
pub(crate) struct Chosen {
    /// The version.
    pub version: Resource,
    /// Its replicas in the region, all complete.
    pub replicas: Vec<Replica>,
    /// What the subscription's list of allowed images says against it, where the list only watches.
    pub objection: Option<Error>,
}

impl Named {
    /// Reads a reference with one of the members `id`, `sharedGalleryImageId` and `communityGalleryImageId`, or with publisher,
    /// offer, SKU and version.
    pub fn read(reference: &Value) -> Result<Self> {
        let says = |name: &str| {
            let text = reference.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let platform = PlatformImage::of_reference(reference)
            .or_else(|| PlatformImage::parse_id(says("id")?).map(|(image, _)| image));
        if let Some(image) = platform {
            return Ok(Self::Platform(image));
        }
        match says("sharedGalleryImageId").or_else(|| says("communityGalleryImageId")) {
            Some(text) => Ok(Self::OfOthers(SharedImageId::parse(text)?)),
            None => Ok(Self::Own(ResourceId::parse(
                says("id").unwrap_or_default(),
            )?)),
        }
    }

    /// Returns the same name for one version that was chosen before.
    #[must_use]
    pub fn pinned(self, version: &ResourceId) -> Self {
        match self {
            Self::Own(_) => Self::Own(version.clone()),
            Self::OfOthers(id) => Self::OfOthers(id.with_version(version.name())),
            Self::Platform(image) => Self::Platform(image.with_version(version.name())),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id) => id.fmt(f),
            Self::OfOthers(id) => id.fmt(f),
            Self::Platform(image) => image.fmt(f),
        }
    }
}

/// Returns the version that a name means for somebody.
///
/// Refuses what the subscription does not allow. Errors say no other name of an image of others than
/// the caller's.
pub(crate) async fn choose(
    engine: &Engine,
    read: &mut Read,
    named: &Named,
    who: For<'_>,
) -> Result<Chosen> {
    let (mut chosen, way) = match named {
        Named::Own(id) => (of_gallery(engine, read, id, who.region).await?, Way::Id),
        Named::OfOthers(id) => {
            let chosen = shared::choose(engine, read, id, who).await?;
            (chosen, Way::Door(id.door, &id.gallery))
        }
        Named::Platform(image) => {
            let chosen = platform_image::choose(engine, read, image, who).await?;
            (chosen, Way::Marketplace(&image.sku.publisher))
        }
    };
    let shown = named.to_string();
    chosen.objection =
        allowed_images::check(read, who.subscription, &chosen.version.id, way, &shown).await?;
    Ok(chosen)
}

/// Returns the version that `id` (of a version, a definition or `…/versions/latest`) means in a region.
pub(crate) async fn of_gallery(
    engine: &Engine,
    read: &mut Read,
    id: &ResourceId,
    region: &str,
) -> Result<Chosen> {
    match id.kind() {
        Some(Kind::Image) => latest(engine, read, id, region).await,
        Some(Kind::ImageVersion) if id.name().eq_ignore_ascii_case("latest") => {
            let definition = id.parent().ok_or_else(Error::internal)?;
            latest(engine, read, &definition, region).await
        }
        Some(Kind::ImageVersion) => named(engine, read, id, region).await,
        _ => Err(Error::invalid_parameter(
            "imageReference",
            "The value of parameter imageReference is invalid.",
        )),
    }
}

async fn named(engine: &Engine, read: &mut Read, id: &ResourceId, region: &str) -> Result<Chosen> {
    let version = match read.load(id).await.map_err(db)? {
        Some(version) => version,
        None => retained(read, id, engine.now_ms())
            .await?
            .ok_or_else(|| not_in_region(id, region))?,
    };
    let replicas = complete_in(engine, read, &version, region).await?;
    let replicas = replicas.ok_or_else(|| not_in_region(id, region))?;
    Ok(Chosen {
        version,
        replicas,
        objection: None,
    })
}

/// A soft-deleted version can be used until its retention is over. Source: `API.md` 8.
async fn retained(read: &mut Read, id: &ResourceId, now_ms: i64) -> Result<Option<Resource>> {
    let Some(version) = read.load_deleted(id).await.map_err(db)? else {
        return Ok(None);
    };
    let Some(gallery) = id.parent().and_then(|definition| definition.parent()) else {
        return Ok(None);
    };
    let Some(gallery) = read.load(&gallery).await.map_err(db)? else {
        return Ok(None);
    };
    let policy = domain::gallery::soft_delete_policy(&gallery);
    let ends_ms = version
        .deleted_ms
        .map(|at| at + policy.retention_days * DAY_MS);
    Ok(Some(version).filter(|_| policy.is_enabled && ends_ms.is_some_and(|ends| now_ms < ends)))
}

async fn latest(
    engine: &Engine,
    read: &mut Read,
    definition: &ResourceId,
    region: &str,
) -> Result<Chosen> {
    let mut before = None;
    loop {
        let page = read
            .versions_descending(definition, before.as_deref(), PAGE_VERSIONS)
            .await
            .map_err(db)?;
        let (mut rows, mut candidates) = (Vec::new(), Vec::new());
        for version in page.items {
            let replicas = complete_in(engine, read, &version, region).await?;
            candidates.push(candidate(engine, &version, replicas.is_some(), region)?);
            rows.push((version, replicas));
        }
        if let Some(best) = choose_latest(&candidates) {
            let found = rows
                .into_iter()
                .zip(&candidates)
                .find(|(_, c)| c.number == best.number);
            if let Some(((version, Some(replicas)), _)) = found {
                return Ok(Chosen {
                    version,
                    replicas,
                    objection: None,
                });
            }
        }
        before = page.next;
        if before.is_none() {
            return Err(no_latest(definition));
        }
    }
}

fn candidate(
    engine: &Engine,
    version: &Resource,
    is_complete_here: bool,
    region: &str,
) -> Result<Candidate> {
    let profile = version.properties.get("publishingProfile");
    let everywhere = profile.and_then(|p| p.get("excludeFromLatest"));
    Ok(Candidate {
        number: version.id.name().parse::<VersionNumber>()?,
        // A region that is complete serves while others still replicate.
        is_succeeded: !matches!(
            version.state,
            ProvisioningState::Failed | ProvisioningState::Deleting
        ),
        is_complete_here,
        excluded_here: is_excluded_in(version, region, engine.regions()),
        is_excluded: everywhere.and_then(Value::as_bool).unwrap_or(false),
    })
}

/// Returns a version's replicas in a region, if it is a target and all of them are complete.
pub(crate) async fn complete_in(
    engine: &Engine,
    read: &mut Read,
    version: &Resource,
    region: &str,
) -> Result<Option<Vec<Replica>>> {
    let targets = target_regions(version, engine.regions());
    if !targets.iter().any(|target| target == region) {
        return Ok(None);
    }
    let mut replicas = read.replicas(&version.id.key()).await.map_err(db)?;
    replicas.retain(|r| r.region == region);
    let is_complete = |r: &Replica| r.state == ReplicaState::Completed;
    let is_there = !replicas.is_empty() && replicas.iter().all(is_complete);
    Ok(is_there.then_some(replicas))
}

/// Returns a version's replicas in a region, if consumers who are not its owner may use it there.
pub(crate) async fn usable_in(
    engine: &Engine,
    read: &mut Read,
    version: &Resource,
    region: &str,
) -> Result<Option<Vec<Replica>>> {
    let is_alive = !matches!(
        version.state,
        ProvisioningState::Failed | ProvisioningState::Deleting
    );
    match is_alive {
        true => complete_in(engine, read, version, region).await,
        false => Ok(None),
    }
}

/// 404 `GalleryImageNotFound`. Source: `API.md` 2.2.
fn not_in_region(id: &ResourceId, region: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        "GalleryImageNotFound",
        format!(
            "\"The gallery image {id} is not available in {region} region. Please contact image owner to replicate to this \
             region, or change your requested region.\""
        ),
    )
    .at("imageReference")
}

/// 404 for a definition of which no version can be used. Source: `API.md` 7.
fn no_latest(definition: &ResourceId) -> Error {
    Error::not_found(
        "NotFound",
        format!("There is no latest image version exists for \"{definition}\""),
    )
    .at("imageReference")
}
