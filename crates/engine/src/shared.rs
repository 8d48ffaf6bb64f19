//! Galleries of others, as their consumers see them: read only, only where versions are, nothing of the owner.

use catalog::{ListFilter, Page, Read};
use domain::confusable::Worth;
use domain::shared_image::{
    Consumer, Door, Invitee, Rejected, SharedImageId, is_open, name_behind,
};
use domain::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};

use crate::error::catalog as db;
use crate::image_choice::{self, Chosen, For, usable_in};
use crate::resources::PAGE_ITEMS_MAX;
use crate::{Ctx, Engine, publisher};

/// Where a consumer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// By which door.
    pub door: Door,
    /// The consumer's subscription.
    pub subscription: String,
    /// The region, in any spelling.
    pub location: String,
}

/// A gallery that a consumer sees, and the name it goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenGallery {
    /// The owner's row.
    pub row: Resource,
    /// The unique or public name.
    pub name: String,
    /// The region's short name.
    pub region: String,
    /// What its names are worth, of a public one.
    pub worth: Worth,
}

impl Engine {
    /// Returns the galleries that are shared with a subscription, or with its tenant, in a region.
    pub async fn list_shared_galleries(
        &self,
        ctx: &Ctx,
        place: &Place,
        to_tenant: bool,
    ) -> Result<Vec<SeenGallery>> {
        let region = self.enter(ctx, place).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut seen = Vec::new();
        let consumer = Consumer {
            subscription: &place.subscription,
            tenant: &ctx.caller.tenant,
        };
        for row in read.list_galleries().await.map_err(db)? {
            let invitee = match to_tenant {
                true => Invitee::Tenant(consumer.tenant),
                false => Invitee::Subscription(consumer.subscription),
            };
            if !invitee.is_invited(&row) {
                continue;
            }
            let rejected = rejected(&mut read, place.door, &row, consumer).await?;
            let is_closed = rejected.by_subscription || (to_tenant && rejected.by_tenant);
            if !is_closed && self.has_versions(&mut read, &row, &region).await? {
                seen.extend(see(place.door, row, &region, Worth::Plain));
            }
        }
        Ok(seen)
    }

    /// Returns the public galleries, in a region or anywhere; for whoever has a role in any subscription.
    pub async fn list_community_galleries(
        &self,
        location: Option<&str>,
        name: Option<&str>,
    ) -> Result<Vec<SeenGallery>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let verified = read.list_verified_publishers().await.map_err(db)?;
        let mut seen = Vec::new();
        for row in read.list_galleries().await.map_err(db)? {
            let Some(known) = name_behind(Door::Community, &row) else {
                continue;
            };
            if name.is_some_and(|name| !name.eq_ignore_ascii_case(known)) {
                continue;
            }
            for region in self.regions().iter() {
                if location.is_none_or(|l| l.eq_ignore_ascii_case(&region.name))
                    && self.has_versions(&mut read, &row, &region.name).await?
                {
                    let worth = publisher::worth_among(&verified, &row);
                    seen.extend(see(Door::Community, row.clone(), &region.name, worth));
                }
            }
        }
        Ok(seen)
    }

    /// Returns a gallery that a consumer sees.
    pub async fn seen_gallery(&self, ctx: &Ctx, place: &Place, name: &str) -> Result<SeenGallery> {
        let region = self.enter(ctx, place).await?;
        let consumer = Consumer {
            subscription: &place.subscription,
            tenant: &ctx.caller.tenant,
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = find(&mut read, place.door, name, consumer).await?;
        if let Some(row) = found
            && self.has_versions(&mut read, &row, &region).await?
        {
            let worth = publisher::worth(&mut read, &row).await?;
            return see(place.door, row, &region, worth).ok_or_else(|| missing(name, &region));
        }
        Err(missing(name, &region))
    }

    /// Returns a definition of a gallery that a consumer sees.
    pub async fn seen_image(&self, gallery: &SeenGallery, image: &str) -> Result<Resource> {
        let id = gallery.row.id.child(Kind::Image, image);
        let mut read = self.catalog().read().await.map_err(db)?;
        if let Some(row) = read.load(&id).await.map_err(db)?
            && self
                .image_has_versions(&mut read, &row.id, &gallery.region)
                .await?
        {
            return Ok(row);
        }
        Err(missing(image, &gallery.region))
    }

    /// Returns a version of such a definition.
    pub async fn seen_version(
        &self,
        gallery: &SeenGallery,
        image: &str,
        version: &str,
    ) -> Result<Resource> {
        let id = gallery
            .row
            .id
            .child(Kind::Image, image)
            .child(Kind::ImageVersion, version);
        let mut read = self.catalog().read().await.map_err(db)?;
        if let Some(row) = read.load(&id).await.map_err(db)?
            && self.is_usable(&mut read, &row, &gallery.region).await?
        {
            return Ok(row);
        }
        Err(missing(version, &gallery.region))
    }

    /// Returns a page of definitions, or of the versions of one, that a consumer sees.
    pub async fn list_seen(
        &self,
        gallery: &SeenGallery,
        image: Option<&str>,
        after: Option<&str>,
    ) -> Result<Page<Resource>> {
        let (parent, kind) = match image {
            None => (gallery.row.id.clone(), Kind::Image),
            Some(image) => {
                let row = self.seen_image(gallery, image).await?;
                (row.id, Kind::ImageVersion)
            }
        };
        let filter = ListFilter {
            subscription: parent.subscription().to_owned(),
            group: Some(parent.resource_group().to_owned()),
            parent: Some(parent),
            kind: Some(kind),
            ..ListFilter::default()
        };
        let mut read = self.catalog().read().await.map_err(db)?;
        let page = read
            .list(&filter, after, PAGE_ITEMS_MAX)
            .await
            .map_err(db)?;
        let mut items = Vec::new();
        for row in page.items {
            let is_seen = match kind {
                Kind::Image => {
                    self.image_has_versions(&mut read, &row.id, &gallery.region)
                        .await?
                }
                _ => self.is_usable(&mut read, &row, &gallery.region).await?,
            };
            if is_seen {
                items.push(row);
            }
        }
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// Whether a version counts for `latest` in a region.
    pub fn is_excluded_from_latest(&self, version: &Resource, region: &str) -> bool {
        let everywhere = version
            .properties
            .get("publishingProfile")
            .and_then(|p| p.get("excludeFromLatest"));
        domain::image_version::is_excluded_in(version, region, self.regions())
            .or_else(|| everywhere.and_then(serde_json::Value::as_bool))
            .unwrap_or(false)
    }

    /// Asks for the right to look, and returns the region.
    pub(crate) async fn enter(&self, ctx: &Ctx, place: &Place) -> Result<String> {
        let local = match place.door {
            Door::Shared => "sharedGalleries",
            Door::Community => "communityGalleries",
        };
        let scope = format!("/subscriptions/{}", place.subscription);
        let action = format!("Microsoft.Compute/locations/{local}/read");
        self.authorize(ctx, &action, &scope).await?;
        self.regions()
            .find(&place.location)
            .map(|region| region.name.clone())
            .ok_or_else(|| missing("gallery", &place.location))
    }

    pub(crate) async fn has_versions(
        &self,
        read: &mut Read,
        gallery: &Resource,
        region: &str,
    ) -> Result<bool> {
        if gallery.state == ProvisioningState::Deleting {
            return Ok(false);
        }
        let filter = ListFilter {
            subscription: gallery.id.subscription().to_owned(),
            group: Some(gallery.id.resource_group().to_owned()),
            parent: Some(gallery.id.clone()),
            kind: Some(Kind::Image),
            ..ListFilter::default()
        };
        let mut after = None;
        loop {
            let page = read
                .list(&filter, after.as_deref(), PAGE_ITEMS_MAX)
                .await
                .map_err(db)?;
            for image in page.items {
                if self.image_has_versions(read, &image.id, region).await? {
                    return Ok(true);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    pub(crate) async fn image_has_versions(
        &self,
        read: &mut Read,
        image: &ResourceId,
        region: &str,
    ) -> Result<bool> {
        let mut before = None;
        loop {
            let page = read
                .versions_descending(image, before.as_deref(), PAGE_ITEMS_MAX)
                .await
                .map_err(db)?;
            for version in page.items {
                if self.is_usable(read, &version, region).await? {
                    return Ok(true);
                }
            }
            before = page.next;
            if before.is_none() {
                return Ok(false);
            }
        }
    }

    async fn is_usable(&self, read: &mut Read, version: &Resource, region: &str) -> Result<bool> {
        Ok(usable_in(self, read, version, region).await?.is_some())
    }
}

/// Returns the version that the id of an image of others means for a subscription, in a region.
///
/// Whatever is wrong is said with the id that the consumer knows.
pub(crate) async fn choose(
    engine: &Engine,
    read: &mut Read,
    id: &SharedImageId,
    who: For<'_>,
) -> Result<Chosen> {
    let refused = || not_available(&id.to_string(), who.region);
    let tenant = read.load_subscription(who.subscription).await.map_err(db)?;
    let tenant = tenant.map(|s| s.tenant).unwrap_or_default();
    let consumer = Consumer {
        subscription: who.subscription,
        tenant: &tenant,
    };
    let found = find(read, id.door, &id.gallery, consumer).await?;
    let gallery = found.ok_or_else(refused)?;
    let meant = id.within(&gallery.id);
    match image_choice::of_gallery(engine, read, &meant, who.region).await {
        Err(error) if error.kind == ErrorKind::NotFound => Err(refused()),
        other => other,
    }
}

/// Returns a gallery by the name behind a door, when that is open for the consumer.
async fn find(
    read: &mut Read,
    door: Door,
    name: &str,
    consumer: Consumer<'_>,
) -> Result<Option<Resource>> {
    let all = read.list_galleries().await.map_err(db)?;
    let is_meant = |row: &Resource| {
        name_behind(door, row).is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    let Some(row) = all
        .into_iter()
        .find(|row| row.state != ProvisioningState::Deleting && is_meant(row))
    else {
        return Ok(None);
    };
    let rejected = rejected(read, door, &row, consumer).await?;
    Ok(Some(row).filter(|row| is_open(door, row, consumer, rejected)))
}

/// Returns which invitations to a gallery a consumer has rejected; nobody is invited by the public door.
async fn rejected(
    read: &mut Read,
    door: Door,
    gallery: &Resource,
    consumer: Consumer<'_>,
) -> Result<Rejected> {
    if door == Door::Community {
        return Ok(Rejected::default());
    }
    let answers = read.share_answers(&gallery.id.key()).await.map_err(db)?;
    let has_rejected = |invitee: Invitee<'_>| {
        let key = invitee.key();
        let mut answers = answers.iter();
        answers.any(|answer| answer.invitee == key && !answer.is_accepted)
    };
    Ok(Rejected {
        by_subscription: has_rejected(Invitee::Subscription(consumer.subscription)),
        by_tenant: has_rejected(Invitee::Tenant(consumer.tenant)),
    })
}

fn see(door: Door, row: Resource, region: &str, worth: Worth) -> Option<SeenGallery> {
    Some(SeenGallery {
        name: name_behind(door, &row)?.to_owned(),
        region: region.to_owned(),
        row,
        worth,
    })
}

/// One answer for what is not there, not shared and not in the region.
pub(crate) fn missing(name: &str, region: &str) -> Error {
    let shown: String = name.chars().take(200).collect();
    Error::not_found(
        "ResourceNotFound",
        format!(
            "The resource '{shown}' was not found in region '{region}'. It does not exist, is not shared with this subscription, or has no version there."
        ),
    )
}

/// 404 `GalleryImageNotFound`. Source: `API.md` 2.2.
fn not_available(id: &str, region: &str) -> Error {
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
