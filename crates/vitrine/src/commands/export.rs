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
    let version = client.get(&id, API_VERSION).await?;
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
    let outcome = fetch(&client, &disk, &args).await;
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

async fn fetch(client: &Client, disk: &str, args: &Args) -> anyhow::Result<Value> {
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
    let digest =
        tokio::task::spawn_blocking(move || finish(&partial, &file, format, &got)).await??;
    Ok(digest)
}

/// Hashes the raw bytes, writes the wanted format, gives the file its name.
fn finish(
    partial: &Path,
    file: &Path,
    format: FileFormat,
    got: &Downloaded,
) -> anyhow::Result<Value> {
    let raw = Arc::new(RawFile::open(partial)?);
    let digest = digest(raw.as_ref())?;
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
            disk::vhd::write_dynamic(raw.as_ref(), &std::fs::File::create(file)?)?;
            std::fs::remove_file(partial)?;
        }
        FileFormat::Qcow2 => {
            disk::qcow2::write(raw.as_ref(), &std::fs::File::create(file)?)?;
            std::fs::remove_file(partial)?;
        }
    }
    Ok(json!({
        "file": file.display().to_string(),
        "sizeBytes": got.size_bytes,
        "receivedBytes": got.received_bytes,
        "blake3": digest,
    }))
}

/// Returns the digest of the raw content that the gallery keeps with the version.
fn digest(raw: &RawFile) -> anyhow::Result<String> {
    let size = raw.size_bytes();
    let mut hasher = ContentHasher::new(size);
    let mut leaf = vec![0_u8; LEAF_BYTES];
    let mut at = 0;
    while at < size {
        let extent = raw.extent_at(at)?;
        let end = extent.offset + extent.length;
        if extent.kind == ExtentKind::Zero && end / LEAF > at / LEAF {
            // Whole leaves of zeroes are known beforehand.
            at = if end == size { size } else { end / LEAF * LEAF };
            continue;
        }
        let length = usize::try_from(LEAF.min(size - at))?;
        raw.read_at(at, &mut leaf[..length])?;
        if leaf[..length].iter().any(|byte| *byte != 0) {
            let hash = hasher.leaf(&leaf[..length]);
            hasher.push(at / LEAF, hash);
        }
        at += LEAF;
    }
    Ok(hasher.finish().to_string())
}
