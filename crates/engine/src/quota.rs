//! Quotas: how many resources and how many bytes a subscription holds, and may hold.
//!
//! Bytes are those of the disks and files as they are seen, once for every region, and those of the blobs and
//! staged blocks of accounts: what others share with it does not make a subscription's content
//! smaller, or its size would tell what others have. They are reserved in the transaction that writes
//! the resource or blob, so two writers never share the last byte; those of an upload before it
//! begins ([`crate::blob`]).

use catalog::{Read, Tx};
use domain::image_version::target_regions;
use domain::scope::subscription_in;
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde::Serialize;
use serde_json::Value;

use crate::error::catalog as db;
use crate::publish::captured;
use crate::{Ctx, Engine, blob};

/// Bytes of a VHD footer, which is part of a blob and not of the disk in it.
const FOOTER_BYTES: i64 = 512;
/// The most bytes of one disk that a size is believed for.
const SIZE_BYTES_MAX: u64 = 1 << 46;

/// How many bytes a subscription holds and may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ByteQuota {
    /// Bytes that its resources hold.
    pub held_bytes: i64,
    /// The limit; none is no limit.
    pub limit_bytes: Option<i64>,
}

/// One line of the usages of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The name that programs compare.
    pub name: &'static str,
    /// The name that people read.
    pub shown: &'static str,
    /// `Count` or `Bytes`.
    pub unit: &'static str,
    /// How much there is.
    pub held: i64,
    /// How much there may be.
    pub limit: i64,
}

/// Kinds that are counted by region.
const COUNTED: [(Kind, &str, &str); 7] = [
    (Kind::Gallery, "galleries", "Galleries"),
    (Kind::Image, "galleryImages", "Gallery Image Definitions"),
    (
        Kind::ImageVersion,
        "galleryImageVersions",
        "Gallery Image Versions",
    ),
    (Kind::Disk, "disks", "Disks"),
    (Kind::Snapshot, "snapshots", "Snapshots"),
    (Kind::ManagedImage, "images", "Images"),
    (
        Kind::DiskEncryptionSet,
        "diskEncryptionSets",
        "Disk Encryption Sets",
    ),
];

impl Engine {
    /// Returns what a subscription holds in a region against its limits.
    pub async fn usages(
        &self,
        ctx: &Ctx,
        subscription: &str,
        location: &str,
    ) -> Result<Vec<Usage>> {
        let scope = format!("/subscriptions/{subscription}");
        self.authorize(ctx, "Microsoft.Compute/locations/usages/read", &scope)
            .await?;
        let region = self.regions().find(location).ok_or_else(|| {
            Error::bad_request(format!(
                "The location '{location}' is not a region of this gallery."
            ))
        })?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let mut usages = Vec::new();
        for (kind, name, shown) in COUNTED {
            let held = read.count(subscription, Some(&region.name), kind).await;
            usages.push(Usage {
                name,
                shown,
                unit: "Count",
                held: held.map_err(db)?,
                limit: domain::quota::limit(kind).unwrap_or(i64::MAX),
            });
        }
        let bytes = self.quota_of(&mut read, subscription).await?;
        usages.push(Usage {
            name: "storageBytes",
            shown: "Storage Bytes of the Subscription",
            unit: "Bytes",
            held: bytes.held_bytes,
            limit: bytes.limit_bytes.unwrap_or(i64::MAX),
        });
        Ok(usages)
    }

    /// Returns what a subscription holds of its bytes, to whoever owns the gallery's directory.
    pub async fn byte_quota(&self, subscription: &str) -> Result<ByteQuota> {
        let mut read = self.catalog().read().await.map_err(db)?;
        self.quota_of(&mut read, subscription).await
    }

    /// Sets how many bytes a subscription may hold; what it holds already stays. `None` is no limit.
    pub async fn set_byte_quota(
        &self,
        subscription: &str,
        limit: Option<i64>,
    ) -> Result<ByteQuota> {
        let known = self.known_subscription(subscription).await?;
        let known = known.ok_or_else(|| crate::identity::no_subscription(subscription))?;
        if limit.is_some_and(|limit| limit < 0) {
            return Err(Error::bad_request("A quota is not below 0 bytes."));
        }
        let value = limit.map(|limit| limit.to_string()).unwrap_or_default();
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting(&setting(&known.id), &value)
            .await
            .map_err(db)?;
        let quota = self.quota_of(&mut tx, &known.id).await?;
        tx.commit().await.map_err(db)?;
        Ok(quota)
    }

    /// Reserves the bytes that a row asks for, or refuses; in the transaction that writes the row.
    pub(crate) async fn reserve_bytes(&self, tx: &mut Tx, row: &Resource) -> Result<()> {
        let Some(wanted) = self.wanted_bytes(tx, row).await? else {
            return Ok(());
        };
        let (key, subscription) = (row.id.key(), row.id.subscription().to_ascii_lowercase());
        let own = tx.bytes_of(&key).await.map_err(db)?;
        if wanted > own {
            let quota = self.quota_of(tx, &subscription).await?;
            domain::quota::check_bytes(
                &row.location,
                quota.held_bytes,
                wanted - own,
                quota.limit_bytes,
            )?;
        }
        if wanted != own {
            tx.hold_bytes(&key, &subscription, wanted)
                .await
                .map_err(db)?;
        }
        Ok(())
    }

    /// Moves what an account's blobs hold by a change from `before` to `after` bytes, or refuses; in the
    /// transaction that writes their rows, so that what is held is always what the rows say.
    pub(crate) async fn change_blob_bytes(
        &self,
        tx: &mut Tx,
        account: &str,
        before: i64,
        after: i64,
    ) -> Result<()> {
        let Some(subscription) = subscription_in(account).map(str::to_ascii_lowercase) else {
            return Err(Error::internal());
        };
        if after == before {
            return Ok(());
        }
        self.check_more_bytes(tx, account, after - before).await?;
        tx.add_held_bytes(account, &subscription, after - before)
            .await
            .map_err(db)
    }

    /// Refuses bytes for which an account's subscription has no room, before they are taken in.
    pub(crate) async fn check_blob_bytes(&self, account: &str, more: i64) -> Result<()> {
        let mut read = self.catalog().read().await.map_err(db)?;
        self.check_more_bytes(&mut read, account, more).await
    }

    /// Whether a subscription has a limit.
    pub(crate) async fn has_byte_limit(&self, subscription: &str) -> Result<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let limit = read.setting(&setting(subscription)).await.map_err(db)?;
        Ok(limit.is_some_and(|text| !text.is_empty()))
    }

    /// Refuses `more` bytes in an account; sums up what is held only where there is a limit.
    pub(crate) async fn check_more_bytes(
        &self,
        read: &mut Read,
        account: &str,
        more: i64,
    ) -> Result<()> {
        let subscription = subscription_in(account).unwrap_or_default();
        let limit = read.setting(&setting(subscription)).await.map_err(db)?;
        if more <= 0 || limit.is_none_or(|text| text.is_empty()) {
            return Ok(());
        }
        let quota = self.quota_of(read, subscription).await?;
        let row = match ResourceId::parse(account) {
            Ok(id) => read.load(&id).await.map_err(db)?,
            Err(_) => None,
        };
        let location = row.map(|row| row.location).unwrap_or_default();
        domain::quota::check_bytes(&location, quota.held_bytes, more, quota.limit_bytes)
    }

    /// Refuses so many more bytes where a row lies, before anything that holds them is written.
    pub(crate) async fn check_room(
        &self,
        read: &mut Read,
        row: &Resource,
        more: i64,
    ) -> Result<()> {
        let quota = self.quota_of(read, row.id.subscription()).await?;
        domain::quota::check_bytes(&row.location, quota.held_bytes, more, quota.limit_bytes)
    }

    /// Returns what a subscription's rows and uploads hold, and its limit.
    async fn quota_of(&self, read: &mut Read, subscription: &str) -> Result<ByteQuota> {
        let subscription = subscription.to_ascii_lowercase();
        let limit = read.setting(&setting(&subscription)).await.map_err(db)?;
        let rows = read.held_bytes(&subscription).await.map_err(db)?;
        let uploads = read.uploading_bytes(&subscription, self.now_ms()).await;
        Ok(ByteQuota {
            held_bytes: rows.saturating_add(uploads.map_err(db)?),
            limit_bytes: limit.and_then(|text| text.parse().ok()),
        })
    }

    /// Returns the bytes that a row asks for; `None` for what holds no content. What is not known yet counts nothing.
    async fn wanted_bytes(&self, tx: &mut Tx, row: &Resource) -> Result<Option<i64>> {
        let bytes = match row.kind {
            Kind::Disk | Kind::Snapshot => match domain::disk::size_bytes(row) {
                Some(size) => signed(size),
                None => bytes_of_start(tx, row).await?,
            },
            Kind::ImageVersion | Kind::GalleryApplicationVersion | Kind::GalleryScriptVersion => {
                let disks = captured(row)?;
                let one = match (disks.is_empty(), row.kind) {
                    (false, _) => disks.iter().map(|disk| signed(disk.size_bytes)).sum(),
                    (true, Kind::ImageVersion) => bytes_of_sources(tx, &row.properties).await?,
                    (true, _) => bytes_of_files(tx, row).await?,
                };
                let regions = target_regions(row, self.regions()).len();
                one.saturating_mul(i64::try_from(regions).unwrap_or(1))
            }
            Kind::ManagedImage => bytes_of_sources(tx, &row.properties).await?,
            _ => return Ok(None),
        };
        Ok(Some(bytes))
    }
}

fn setting(subscription: &str) -> String {
    format!("quota-bytes:{}", subscription.to_ascii_lowercase())
}

/// Returns the bytes of what a disk or snapshot starts from.
async fn bytes_of_start(tx: &mut Tx, row: &Resource) -> Result<i64> {
    let pinned = row.internal.get("imageVersion").and_then(Value::as_str);
    let Some(pinned) = pinned.and_then(|id| ResourceId::parse(id).ok()) else {
        return bytes_of_sources(tx, &row.properties).await;
    };
    let reference = domain::disk::version_reference(row);
    let slot = crate::creation::image_slot(reference.unwrap_or(&Value::Null));
    let version = tx.load(&pinned).await.map_err(db)?;
    let disks = version.as_ref().map(captured).transpose()?;
    let disk = disks
        .iter()
        .flatten()
        .find(|disk| disk.slot == slot)
        .map_or(0, |disk| signed(disk.size_bytes));
    Ok(disk)
}

/// Returns the bytes of everything that a row's properties name as a source.
async fn bytes_of_sources(tx: &mut Tx, properties: &domain::resource::Document) -> Result<i64> {
    let mut sources = Vec::new();
    for value in properties.values() {
        collect(value, &mut sources);
    }
    let mut bytes = 0_i64;
    for source in sources {
        bytes = bytes.saturating_add(bytes_of_source(tx, &source).await?);
    }
    Ok(bytes)
}

/// Returns the bytes of the files that a version of an application or script is made of.
async fn bytes_of_files(tx: &mut Tx, row: &Resource) -> Result<i64> {
    let mut bytes = 0_i64;
    for file in domain::artifact::files(row) {
        let size = blob::size_by_uri(tx, &file.url).await?;
        bytes = bytes.saturating_add(size.unwrap_or(0));
    }
    Ok(bytes)
}

/// Collects ids and URLs of blobs.
fn collect(value: &Value, sources: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("://") || text.starts_with('/') => {
            sources.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, sources)),
        Value::Object(members) => members
            .iter()
            // The account of a blob is no content.
            .filter(|(name, _)| *name != "storageAccountId")
            .for_each(|(_, member)| collect(member, sources)),
        _ => {}
    }
}

async fn bytes_of_source(tx: &mut Tx, source: &str) -> Result<i64> {
    if source.contains("://") {
        let size = blob::size_by_uri(tx, source).await?;
        return Ok(size.map_or(0, |size| (size - FOOTER_BYTES).max(0)));
    }
    let Ok(id) = ResourceId::parse(source) else {
        return Ok(0);
    };
    let holds = matches!(
        id.kind(),
        Some(Kind::Disk | Kind::Snapshot | Kind::ImageVersion | Kind::ManagedImage)
    );
    if !holds {
        return Ok(0);
    }
    let replicas = tx.replicas(&id.key()).await.map_err(db)?;
    let first = replicas.first().map(|replica| replica.region.clone());
    if let Some(row) = tx.load(&id).await.map_err(db)? {
        if let Some(size) = domain::disk::size_bytes(&row) {
            return Ok(signed(size));
        }
        let disks = captured(&row)?;
        if !disks.is_empty() {
            return Ok(disks.iter().map(|disk| signed(disk.size_bytes)).sum());
        }
    }
    let here = replicas
        .iter()
        .filter(|r| Some(&r.region) == first.as_ref());
    Ok(here.map(|replica| replica.bytes_total).sum())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes.min(SIZE_BYTES_MAX)).unwrap_or(i64::MAX)
}
