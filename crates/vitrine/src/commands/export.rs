//! `vitrine export`: a version back to a file, byte for byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use disk::{ExtentKind, Source as _, raw::RawFile};
use engine::{ContentHasher, LEAF_BYTES};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{API_VERSION, Client, DISK_API_VERSION};
use crate::names::{VersionName, require_gallery};
use crate::transfer::download::{Downloaded, download};

/// How long the download's access lasts, seconds.
const ACCESS_SECONDS: u64 = 24 * 60 * 60;

/// Bytes of a leaf of the content's hash tree.
const LEAF: u64 = LEAF_BYTES as u64;
/// Bytes that are read and hashed at once.
const HASHED_BYTES: usize = 4 * LEAF_BYTES;

/// What is exported how.
#[derive(clap::Args)]
pub struct Args {
    /// The version: GALLERY/IMAGE/VERSION
    #[arg(id = "name", value_name = "VERSION")]
    version: VersionName,
    /// The file to write
    file: PathBuf,
    /// The format to write
    #[arg(long, value_enum, default_value_t = FileFormat::Raw)]
    format: FileFormat,
    /// The data disk to export instead of the OS disk
    #[arg(long)]
    lun: Option<u32>,
    /// Directory of the gallery
    #[arg(long, env = "VITRINE_DATA", default_value = "data")]
    data: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FileFormat {
    Raw,
    /// Fixed VHD
    Vhd,
    #[value(alias = "vhd-dynamic")]
    DynamicVhd,
    Qcow2,
}

/// Runs the verb.
pub async fn run(args: Args) -> anyhow::Result<Value> {
    let client = Client::login(&args.data).await?;
    let gallery = require_gallery(&client, &args.version.gallery).await?;
    let id = format!(
        "{}/images/{}/versions/{}",
        gallery.id, args.version.image, args.version.version
    );
    let version = client
        .get(&format!("{id}?$expand=ContentDigests"), API_VERSION)
        .await?;
    let expected = expected_digest(&version, args.lun);
    let location = version["location"]
        .as_str()
        .context("the version has no location")?;
    let disk = format!(
        "{}/providers/Microsoft.Compute/disks/export-{}",
        gallery.group_id,
        uuid::Uuid::new_v4()
    );
    let mut reference = json!({ "id": id });
    if let Some(lun) = args.lun {
        reference["lun"] = json!(lun);
    }
    let body = json!({
        "location": location,
        "sku": { "name": "Standard_LRS" },
        "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": reference } },
    });
    client.put(&disk, DISK_API_VERSION, &body).await?;
    let outcome = fetch(&client, &disk, &args, expected.as_deref()).await;
    // The disk goes whether or not the download worked.
    client
        .post(
            &format!("{disk}/endGetAccess"),
            DISK_API_VERSION,
            &json!({}),
        )
        .await?;
    client
        .arm(Method::DELETE, &disk, DISK_API_VERSION, None)
        .await?;
    outcome
}

/// Returns the digest that the gallery keeps of what is exported.
fn expected_digest(version: &Value, lun: Option<u32>) -> Option<String> {
    let wanted = lun.map_or_else(|| "os".to_owned(), |lun| format!("lun:{lun}"));
    let digests = version["properties"]["contentDigests"].as_array()?;
    let own = digests.iter().find(|digest| digest["disk"] == wanted)?;
    own["blake3"].as_str().map(str::to_owned)
}

async fn fetch(
    client: &Client,
    disk: &str,
    args: &Args,
    expected: Option<&str>,
) -> anyhow::Result<Value> {
    let access = json!({ "access": "Read", "durationInSeconds": ACCESS_SECONDS });
    let granted = client
        .post(&format!("{disk}/beginGetAccess"), DISK_API_VERSION, &access)
        .await?;
    let url = granted["accessSAS"]
        .as_str()
        .context("the server gave no download URL")?;
    let partial = args.file.with_extension("partial");
    let got = download(client.http(), url, &partial).await?;
    let (file, format) = (args.file.clone(), args.format);
    let expected = expected.map(str::to_owned);
    let finish = move || finish(&partial, &file, format, &got, expected.as_deref());
    let written = tokio::task::spawn_blocking(finish).await??;
    let digest = written["blake3"].as_str().unwrap_or_default();
    eprintln!("BLAKE3 of the content: {digest}");
    Ok(written)
}

/// Hashes the raw bytes, writes the wanted format, gives the file its name.
fn finish(
    partial: &Path,
    file: &Path,
    format: FileFormat,
    got: &Downloaded,
    expected: Option<&str>,
) -> anyhow::Result<Value> {
    let raw = Arc::new(RawFile::open(partial)?);
    let digest = digest(raw.as_ref())?;
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        anyhow::bail!(
            "what was received has the digest {digest}, but the version has {expected}; the file {} is not what was \
             published. Export it again",
            partial.display()
        );
    }
    match format {
        FileFormat::Raw => std::fs::rename(partial, file)?,
        FileFormat::Vhd => {
            use std::os::unix::fs::FileExt as _;
            let out = std::fs::OpenOptions::new().write(true).open(partial)?;
            out.write_all_at(&got.footer, got.size_bytes)?;
            out.sync_all()?;
            std::fs::rename(partial, file)?;
        }
        FileFormat::DynamicVhd => {
            let written = file.with_extension("converting");
            disk::vhd::write_dynamic(raw.as_ref(), &std::fs::File::create(&written)?)?;
            publish_file(&written, file, partial)?;
        }
        FileFormat::Qcow2 => {
            let written = file.with_extension("converting");
            disk::qcow2::write(raw.as_ref(), &std::fs::File::create(&written)?)?;
            publish_file(&written, file, partial)?;
        }
    }
    Ok(json!({
        "file": file.display().to_string(),
        "sizeBytes": got.size_bytes,
        "receivedBytes": got.received_bytes,
        "blake3": digest,
        "matches": expected.is_some(),
    }))
}

/// Gives a converted file its name once it is whole on disk, and removes what it was made from.
fn publish_file(written: &Path, file: &Path, partial: &Path) -> anyhow::Result<()> {
    std::fs::File::open(written)?.sync_all()?;
    std::fs::rename(written, file)?;
    std::fs::remove_file(partial)?;
    Ok(())
}

/// Returns the digest of the raw content that the gallery keeps with the version.
fn digest(raw: &RawFile) -> anyhow::Result<String> {
    let size = raw.size_bytes();
    let mut hasher = ContentHasher::new(size);
    let mut bytes = vec![0_u8; HASHED_BYTES];
    let mut at = 0;
    while at < size {
        let extent = raw.extent_at(at)?;
        let end = extent.offset + extent.length;
        if extent.kind == ExtentKind::Zero && end / LEAF > at / LEAF {
            // Whole leaves of zeroes are known beforehand.
            at = if end == size { size } else { end / LEAF * LEAF };
            continue;
        }
        // What is data is hashed with the leaf that it ends in.
        let length = end.next_multiple_of(LEAF).min(size) - at;
        let length = usize::try_from(length)
            .unwrap_or(HASHED_BYTES)
            .min(HASHED_BYTES);
        raw.read_at(at, &mut bytes[..length])?;
        hasher.update(at / LEAF, &bytes[..length]);
        at += length as u64;
    }
    Ok(hasher.finish().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn the_digest_of_a_file_is_that_of_its_bytes_wherever_it_has_holes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raw");
        let size = 40 * LEAF_BYTES + 512;
        let mut whole = vec![0_u8; size];
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(size as u64).unwrap();
        // Inside a leaf, over the ends of leaves and of what is read at once, and the last sector.
        for (at, length) in [
            (4096, 4096),
            (3 * LEAF_BYTES - 4096, 6 * LEAF_BYTES),
            (20 * LEAF_BYTES, LEAF_BYTES),
            (30 * LEAF_BYTES + 8192, HASHED_BYTES),
            (size - 512, 512),
        ] {
            whole[at..at + length].fill(7);
            file.write_all_at(&whole[at..at + length], at as u64)
                .unwrap();
        }
        let mut hasher = ContentHasher::new(size as u64);
        hasher.update(0, &whole);
        let raw = RawFile::open(&path).unwrap();
        assert_eq!(digest(&raw).unwrap(), hasher.finish().to_string());
    }
}
