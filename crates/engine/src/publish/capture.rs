//! Capturing: from a source to manifests.
//!
//! A VHD's blob is frozen without its footer; another image version is referred to; disks are
//! frozen, all of a version at one moment. After the transaction that records the manifests the source is not needed any more.

use catalog::{Content, Replica, ReplicaState};
use domain::image_version::{SourceFacts, check_source, check_source_matches, source_not_found};
use domain::operation::Operation;
use domain::shared_image::SharedImageId;
use domain::virtual_machine::check_captured_disks;
use domain::{Error, Kind, Resource, ResourceId, Result};
use serde_json::{Value, json};

use super::{CapturedDisk, captured};
use crate::Engine;
use crate::disk_content::Frozen;
use crate::error::catalog as db;
use crate::rules::{pin_scope, source_of_others};

/// One GiB, the unit of `sizeInGB`.
const GIB: u64 = 1 << 30;

/// Where one disk of a version comes from.
struct DiskSource<'a> {
    slot: String,
    source: &'a Value,
}

impl Engine {
    /// Returns the captured disks, capturing them first when the row has none.
    pub(super) async fn capture(
        &self,
        operation: &Operation,
        version: &Resource,
    ) -> Result<Vec<CapturedDisk>> {
        let known = captured(version)?;
        if !known.is_empty() {
            return Ok(known);
        }
        if version.kind != Kind::ImageVersion {
            let files = self.capture_files(version).await?;
            self.record_capture(operation, version, &files).await?;
            return Ok(files);
        }
        let definition = self.definition_of(version).await?;
        let profile = version
            .properties
            .get("storageProfile")
            .cloned()
            .unwrap_or_default();
        let source = profile.get("source");
        let source = source.and_then(|s| s.get("id").or(s.get("virtualMachineId")));
        let whole = source.and_then(Value::as_str);
        let disks = match (domain::image_version::image_of_others(version), whole) {
            (Some(id), _) => self.capture_of_others(version, &definition, &id).await?,
            (None, Some(id)) => {
                let id = ResourceId::parse(id)?;
                self.capture_whole(version, &definition, &id).await?
            }
            (None, None) => self.capture_disks(version, &definition, &profile).await?,
        };
        self.record_capture(operation, version, &disks).await?;
        Ok(disks)
    }

    async fn definition_of(&self, version: &Resource) -> Result<Resource> {
        let id = version.id.parent().ok_or_else(Error::internal)?;
        self.load_row(&id).await?.ok_or_else(Error::internal)
    }

    /// Takes over the disks of another version or of a managed image.
    async fn capture_whole(
        &self,
        version: &Resource,
        definition: &Resource,
        source: &ResourceId,
    ) -> Result<Vec<CapturedDisk>> {
        let row = self.load_row(source).await?;
        let row = row.ok_or_else(|| source_not_found(source))?;
        check_source(version, &row)?;
        if row.kind == Kind::VirtualMachine {
            return self.capture_machine(version, definition, &row).await;
        }
        let disks = match row.kind {
            Kind::ImageVersion => captured(&row)?,
            _ => self.disks_of_image(&row).await?,
        };
        if disks.is_empty() {
            return Err(Error::conflict(
                "Conflict",
                format!("The source image '{source}' is being used by another replication currently. Please retry after some time."),
            )
            .at("galleryImageVersion.properties.storageProfile.source.id"));
        }
        let size_bytes = disks.iter().map(|d| d.size_bytes).sum();
        let facts = match row.kind {
            Kind::ImageVersion => {
                let parent = self.definition_of(&row).await?;
                SourceFacts::of_definition(&source.to_string(), &parent, size_bytes)
            }
            _ => SourceFacts::of_managed_image(&row, size_bytes),
        };
        check_source_matches(definition, version, &facts)?;
        Ok(disks)
    }

    /// Takes over the disks of an image of others, from their copies in the version's own region.
    ///
    /// Whether it may be used is asked again: what was unshared since is not.
    async fn capture_of_others(
        &self,
        version: &Resource,
        definition: &Resource,
        id: &SharedImageId,
    ) -> Result<Vec<CapturedDisk>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let chosen = source_of_others(self, &mut read, version, id).await?;
        drop(read);
        let mut disks = captured(&chosen.version)?;
        for disk in &mut disks {
            disk.region.clone_from(&version.location);
        }
        let size_bytes = disks.iter().map(|d| d.size_bytes).sum();
        let theirs = self.definition_of(&chosen.version).await?;
        let facts = SourceFacts::of_definition(&id.to_string(), &theirs, size_bytes);
        check_source_matches(definition, version, &facts)?;
        Ok(disks)
    }

    /// Freezes the disks of a machine at one moment, after the checks: what it wrote since it was made is what is read.
    async fn capture_machine(
        &self,
        version: &Resource,
        definition: &Resource,
        machine: &Resource,
    ) -> Result<Vec<CapturedDisk>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let held = crate::machine::capture::disks_of(&mut read, machine).await?;
        drop(read);
        check_captured_disks(machine, &crate::machine::capture::as_sources(&held))?;
        let size = |disk: &Resource| domain::disk::size_bytes(disk).unwrap_or(0);
        let size_bytes = held.iter().map(|(_, disk)| size(disk)).sum();
        let facts = SourceFacts::of_machine(machine, size_bytes);
        check_source_matches(definition, version, &facts)?;
        for (_, disk) in &held {
            domain::disk::check_readable(disk)?;
        }
        let rows: Vec<&Resource> = held.iter().map(|(_, disk)| disk).collect();
        let frozen = self.freeze_contents(&rows).await?;
        let mut disks = Vec::new();
        for ((lun, disk), frozen) in held.iter().zip(&frozen) {
            let slot = domain::virtual_machine::slot(*lun);
            disks.push(CapturedDisk {
                caching: Some(domain::virtual_machine::caching(machine, *lun)),
                ..describe(&slot, &disk.location, frozen)
            });
        }
        Ok(disks)
    }

    /// Returns the disks of a managed image; none while it is being made.
    async fn disks_of_image(&self, image: &Resource) -> Result<Vec<CapturedDisk>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let replicas = read.replicas(&image.id.key()).await.map_err(db)?;
        drop(read);
        let mut disks = Vec::new();
        for replica in &replicas {
            let Content::Manifest(manifest) = &replica.content else {
                return Err(Error::internal());
            };
            let frozen = self.frozen(&replica.region, manifest).await?;
            disks.push(CapturedDisk {
                caching: domain::managed_image::caching(image, &replica.slot),
                ..describe(&replica.slot, &replica.region, &frozen)
            });
        }
        Ok(disks)
    }

    async fn capture_disks(
        &self,
        version: &Resource,
        definition: &Resource,
        profile: &Value,
    ) -> Result<Vec<CapturedDisk>> {
        let sources = disk_sources(profile);
        let (mut disks, mut named) = (Vec::new(), Vec::new());
        for DiskSource { slot, source } in &sources {
            let text = |name: &str| source.get(name).and_then(Value::as_str);
            if let Some(uri) = text("uri") {
                let account = text("storageAccountId").or(text("id"));
                let account = account.map(ResourceId::parse).transpose()?;
                let blob = self.capture_blob(version, definition, slot, uri, account.as_ref());
                disks.push(blob.await?);
                continue;
            }
            let id = ResourceId::parse(text("id").ok_or_else(Error::internal)?)?;
            let row = self.load_row(&id).await?;
            let row = row.ok_or_else(|| source_not_found(&id))?;
            check_source(version, &row)?;
            let facts = SourceFacts::of_disk(&row, slot);
            check_source_matches(definition, version, &facts)?;
            named.push((slot, row));
        }
        let rows: Vec<&Resource> = named.iter().map(|(_, row)| row).collect();
        let frozen = self.freeze_contents(&rows).await?;
        for ((slot, row), frozen) in named.iter().zip(&frozen) {
            disks.push(describe(slot, &row.location, frozen));
        }
        if disks.is_empty() {
            return Err(Error::internal());
        }
        disks.sort_by_key(|disk| sources.iter().position(|source| source.slot == disk.slot));
        Ok(disks)
    }

    async fn capture_blob(
        &self,
        version: &Resource,
        definition: &Resource,
        slot: &str,
        uri: &str,
        account: Option<&ResourceId>,
    ) -> Result<CapturedDisk> {
        let target = format!("{}.source.uri", storage_target(slot));
        let vhd = self.freeze_vhd(uri, account, &target).await?;
        let facts = SourceFacts::of_vhd(uri, vhd.frozen.size_bytes);
        check_source_matches(definition, version, &facts)?;
        Ok(describe(slot, &vhd.region, &vhd.frozen))
    }

    /// Writes the manifests into the row and their places into the replicas, in one transaction.
    async fn record_capture(
        &self,
        operation: &Operation,
        version: &Resource,
        disks: &[CapturedDisk],
    ) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let Some(mut row) = tx.load(&version.id).await.map_err(db)? else {
            return Err(Error::internal());
        };
        if !tx.checkpoint(operation).await.map_err(db)? {
            return Err(super::interrupted());
        }
        row.internal.insert("images".to_owned(), json!(disks));
        // The sizes of some sources are known only now.
        self.reserve_bytes(&mut tx, &row).await?;
        show_sizes(&mut row, disks);
        tx.update(&mut row).await.map_err(db)?;
        for disk in disks {
            // The captured copy holds the content until every target has its own.
            tx.put_replica(&replica(
                &version.id.key(),
                disk,
                &disk.region,
                self.now_ms(),
            )?)
            .await
            .map_err(db)?;
        }
        if is_shallow(version) {
            for source in domain::image_version::source_ids(version) {
                let claimed = tx
                    .claim(&pin_scope(&source), &version.id.key(), &version.id)
                    .await;
                claimed.map_err(db)?;
            }
        }
        tx.commit().await.map_err(db)
    }
}

fn is_shallow(version: &Resource) -> bool {
    let profile = version.properties.get("publishingProfile");
    profile
        .and_then(|p| p.get("replicationMode"))
        .and_then(Value::as_str)
        == Some("Shallow")
}

fn replica(owner: &str, disk: &CapturedDisk, region: &str, now_ms: i64) -> Result<Replica> {
    let bytes = i64::try_from(disk.size_bytes).map_err(|_| Error::internal())?;
    Ok(Replica {
        owner: owner.to_owned(),
        slot: disk.slot.clone(),
        region: region.to_owned(),
        content: Content::Manifest(disk.manifest.clone()),
        state: ReplicaState::Completed,
        bytes_total: bytes,
        bytes_done: bytes,
        details: None,
        updated_ms: now_ms,
    })
}

pub(super) fn describe(slot: &str, region: &str, frozen: &Frozen) -> CapturedDisk {
    CapturedDisk {
        slot: slot.to_owned(),
        manifest: frozen.manifest.to_string(),
        digest: frozen.digest.to_string(),
        size_bytes: frozen.size_bytes,
        region: region.to_owned(),
        caching: None,
    }
}

fn disk_sources(profile: &Value) -> Vec<DiskSource<'_>> {
    let mut found = Vec::new();
    if let Some(source) = profile.pointer("/osDiskImage/source") {
        found.push(DiskSource {
            slot: "os".to_owned(),
            source,
        });
    }
    let data = profile.get("dataDiskImages").and_then(Value::as_array);
    for image in data.into_iter().flatten() {
        if let (Some(lun), Some(source)) = (
            image.get("lun").and_then(Value::as_i64),
            image.get("source"),
        ) {
            found.push(DiskSource {
                slot: format!("lun:{lun}"),
                source,
            });
        }
    }
    found
}

/// Shows each disk's size in the storage profile; a version made from another one also shows its disks.
pub(super) fn show_sizes(row: &mut Resource, disks: &[CapturedDisk]) {
    let is_derived = row
        .properties
        .get("storageProfile")
        .is_some_and(|p| p.get("source").is_some());
    let Some(profile) = row
        .properties
        .get_mut("storageProfile")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for disk in disks {
        let gib = disk.size_bytes.div_ceil(GIB);
        let caching = |usual: &str| disk.caching.clone().unwrap_or_else(|| usual.to_owned());
        if disk.slot == "os" {
            let shown = profile
                .entry("osDiskImage")
                .or_insert_with(|| json!({ "hostCaching": caching("ReadWrite"), "source": {} }));
            put_size_first(shown, gib);
        } else if let Some(lun) = disk
            .slot
            .strip_prefix("lun:")
            .and_then(|l| l.parse::<i64>().ok())
        {
            let images = profile.entry("dataDiskImages").or_insert_with(|| json!([]));
            let Some(images) = images.as_array_mut() else {
                continue;
            };
            match images
                .iter_mut()
                .find(|i| i.get("lun").and_then(Value::as_i64) == Some(lun))
            {
                Some(image) => put_size_first(image, gib),
                None if is_derived => images
                    .push(json!({ "lun": lun, "sizeInGB": gib, "hostCaching": caching("None") })),
                None => {}
            }
        }
    }
}

/// Sets `sizeInGB` where recorded answers have it: after `lun`, before the rest.
fn put_size_first(image: &mut Value, gib: u64) {
    let Some(members) = image.as_object_mut() else {
        return;
    };
    let old = std::mem::take(members);
    if let Some(lun) = old.get("lun") {
        members.insert("lun".to_owned(), lun.clone());
    }
    members.insert("sizeInGB".to_owned(), json!(gib));
    members.extend(
        old.into_iter()
            .filter(|(name, _)| name != "lun" && name != "sizeInGB"),
    );
}

/// Returns the property of a slot, as error targets name it.
fn storage_target(slot: &str) -> &'static str {
    if slot == "os" {
        "galleryImageVersion.properties.storageProfile.osDiskImage"
    } else {
        "galleryImageVersion.properties.storageProfile.dataDiskImages"
    }
}
