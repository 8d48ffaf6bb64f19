//! Images of the marketplace, as consumers see and use them: by names, only where versions are, nothing of the owner.
//!
//! No right on the gallery is asked for: that the operator offers an image is the right. What a
//! subscription allows is asked where images are chosen ([`image_choice::choose`]).

mod offer;

pub use offer::AliasedImage;

use catalog::{OfferedImage, Read};
use domain::platform_image::{PlatformImage, PlatformSku, artifact_not_found};
use domain::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};

use crate::error::catalog as db;
use crate::image_choice::{self, Chosen, For, usable_in};
use crate::publish::captured;
use crate::resources::PAGE_ITEMS_MAX;
use crate::{Ctx, Engine};

/// What reading needs, by how many names the path has.
const READS: [&str; 4] = [
    "Microsoft.Compute/locations/publishers/read",
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/read",
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/read",
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read",
];

/// Where a consumer looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// The consumer's subscription.
    pub subscription: String,
    /// The region, in any spelling.
    pub location: String,
    /// Publisher, offer and SKU, as far as the path goes.
    pub names: Vec<String>,
}

/// The names below a publisher, an offer or the marketplace itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNames {
    /// The region's short name.
    pub region: String,
    /// The names of the path, as they are offered.
    pub path: Vec<String>,
    /// The names below, sorted.
    pub names: Vec<String>,
}

/// The versions of a SKU.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenSku {
    /// The region's short name.
    pub region: String,
    /// The names, as they are offered.
    pub sku: PlatformSku,
    /// The definition behind them.
    pub definition: Resource,
    /// The versions that were asked for.
    pub versions: Vec<SeenVersion>,
}

/// A version that a region can use.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenVersion {
    /// The owner's row.
    pub row: Resource,
    /// The size of its system disk.
    pub os_bytes: u64,
    /// The numbers of its data disks.
    pub luns: Vec<i64>,
}

/// Which versions of a SKU are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// From the highest number down.
    pub is_descending: bool,
    /// How many at most.
    pub top: Option<usize>,
}

impl Engine {
    /// Returns the publishers, the offers of one, or the SKUs of an offer, that have versions in a region.
    pub async fn platform_names(&self, ctx: &Ctx, shelf: &Shelf) -> Result<SeenNames> {
        let region = self.enter_shelf(ctx, shelf).await?;
        let depth = shelf.names.len();
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut seen = SeenNames {
            region: region.clone(),
            path: Vec::new(),
            names: Vec::new(),
        };
        for offered in read.list_offered_images().await.map_err(db)? {
            let names = offered.sku.names();
            let is_below = shelf
                .names
                .iter()
                .zip(names)
                .all(|(asked, name)| asked.eq_ignore_ascii_case(name));
            let name = names.get(depth).copied().unwrap_or_default();
            let is_known = seen.names.iter().any(|n| n.eq_ignore_ascii_case(name));
            if !is_below || is_known || !self.is_on_shelf(&mut read, &offered, &region).await? {
                continue;
            }
            if seen.path.is_empty() {
                seen.path = names[..depth].iter().map(ToString::to_string).collect();
            }
            seen.names.push(name.to_owned());
        }
        match seen.names.is_empty() && depth > 0 {
            true => Err(artifact_not_found()),
            false => Ok(seen),
        }
    }

    /// Returns the versions of a SKU that can be `latest` in a region.
    pub async fn platform_versions(
        &self,
        ctx: &Ctx,
        shelf: &Shelf,
        listing: Listing,
    ) -> Result<SeenSku> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut seen = self.seen_sku(ctx, &mut read, shelf).await?;
        let most = listing.top.unwrap_or(usize::MAX);
        let mut before = None;
        loop {
            let page = read
                .versions_descending(&seen.definition.id, before.as_deref(), PAGE_ITEMS_MAX)
                .await
                .map_err(db)?;
            for row in page.items {
                if listing.is_descending && seen.versions.len() >= most {
                    break;
                }
                if self.is_excluded_from_latest(&row, &seen.region) {
                    continue;
                }
                seen.versions
                    .extend(self.shelved_version(&mut read, row, &seen.region).await?);
            }
            before = page.next;
            if before.is_none() || (listing.is_descending && seen.versions.len() >= most) {
                break;
            }
        }
        if !listing.is_descending {
            seen.versions.reverse();
        }
        seen.versions.truncate(most);
        Ok(seen)
    }

    /// Returns one version of a SKU, whether or not it can be `latest`.
    pub async fn platform_version(
        &self,
        ctx: &Ctx,
        shelf: &Shelf,
        version: &str,
    ) -> Result<SeenSku> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut seen = self.seen_sku(ctx, &mut read, shelf).await?;
        let id = seen.definition.id.child(Kind::ImageVersion, version);
        let row = read.load(&id).await.map_err(db)?;
        let row = row.ok_or_else(artifact_not_found)?;
        let found = self.shelved_version(&mut read, row, &seen.region).await?;
        seen.versions.push(found.ok_or_else(artifact_not_found)?);
        Ok(seen)
    }

    /// Asks for the right to look, and returns the region.
    async fn enter_shelf(&self, ctx: &Ctx, shelf: &Shelf) -> Result<String> {
        let action = READS.get(shelf.names.len()).ok_or_else(Error::internal)?;
        let scope = format!("/subscriptions/{}", shelf.subscription);
        self.authorize(ctx, action, &scope).await?;
        let region = self.regions().find(&shelf.location);
        region.map(|region| region.name.clone()).ok_or_else(|| {
            let shown: String = shelf.location.chars().take(100).collect();
            Error::new(
                ErrorKind::Invalid,
                "InvalidParameter",
                format!("The region '{shown}' is not configured on this server."),
            )
        })
    }

    async fn seen_sku(&self, ctx: &Ctx, read: &mut Read, shelf: &Shelf) -> Result<SeenSku> {
        let region = self.enter_shelf(ctx, shelf).await?;
        let [publisher, offer, sku] = shelf.names.as_slice() else {
            return Err(Error::internal());
        };
        let asked = PlatformSku {
            publisher: publisher.clone(),
            offer: offer.clone(),
            sku: sku.clone(),
        };
        let offered = read.offered_image(&asked).await.map_err(db)?;
        let offered = offered.ok_or_else(artifact_not_found)?;
        if !self.is_on_shelf(read, &offered, &region).await? {
            return Err(artifact_not_found());
        }
        let definition = read.load(&offered.definition).await.map_err(db)?;
        Ok(SeenSku {
            region,
            sku: offered.sku,
            definition: definition.ok_or_else(artifact_not_found)?,
            versions: Vec::new(),
        })
    }

    /// Whether an offered definition is there and has a version that a region can use.
    async fn is_on_shelf(
        &self,
        read: &mut Read,
        offered: &OfferedImage,
        region: &str,
    ) -> Result<bool> {
        let definition = read.load(&offered.definition).await.map_err(db)?;
        let is_there = definition.is_some_and(|row| row.state != ProvisioningState::Deleting);
        Ok(is_there
            && self
                .image_has_versions(read, &offered.definition, region)
                .await?)
    }

    async fn shelved_version(
        &self,
        read: &mut Read,
        row: Resource,
        region: &str,
    ) -> Result<Option<SeenVersion>> {
        if usable_in(self, read, &row, region).await?.is_none() {
            return Ok(None);
        }
        let disks = captured(&row)?;
        let mut seen = SeenVersion {
            row,
            os_bytes: 0,
            luns: Vec::new(),
        };
        for disk in disks {
            match disk.slot.strip_prefix("lun:").map(str::parse) {
                Some(Ok(lun)) => seen.luns.push(lun),
                _ => seen.os_bytes = disk.size_bytes,
            }
        }
        seen.luns.sort_unstable();
        Ok(Some(seen))
    }
}

/// Returns the version that the name of an offered image means in a region.
///
/// Whatever is wrong is said with the name that the consumer knows.
pub(crate) async fn choose(
    engine: &Engine,
    read: &mut Read,
    image: &PlatformImage,
    who: For<'_>,
) -> Result<Chosen> {
    let offered = read.offered_image(&image.sku).await.map_err(db)?;
    let offered = offered.ok_or_else(|| image.not_available())?;
    let meant: ResourceId = match image.is_latest() {
        true => offered.definition,
        false => offered.definition.child(Kind::ImageVersion, &image.version),
    };
    match image_choice::of_gallery(engine, read, &meant, who.region).await {
        Err(error) if error.kind == ErrorKind::NotFound => Err(image.not_available()),
        other => other,
    }
}
