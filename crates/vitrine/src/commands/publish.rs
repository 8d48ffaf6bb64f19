//! `vitrine publish`: an image file in, a version out.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use disk::{Format, Source, raw::RawFile};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{API_VERSION, Client, DISK_API_VERSION};
use crate::names::{FoundGallery, VersionName, ensure_gallery};
use crate::transfer::{VHD_FOOTER_BYTES, upload::upload};

/// How long an upload's access lasts, seconds.
const ACCESS_SECONDS: u64 = 24 * 60 * 60;

/// What is published where.
#[derive(clap::Args)]
pub struct Args {
    /// The image file
    file: PathBuf,
    /// Where it goes: GALLERY/IMAGE/VERSION; gallery and definition are made if they are not there
    #[arg(long)]
    to: VersionName,
    /// A target region with its replica count, as in westus2=2 (can be repeated)
    #[arg(long = "region")]
    regions: Vec<String>,
    /// The file's format; by default what its extension says
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Resource group of a new gallery
    #[arg(long, default_value = "vitrine")]
    resource_group: String,
    /// Operating system of a new definition
    #[arg(long, default_value = "Linux")]
    os_type: String,
    /// State of a new definition: Generalized or Specialized
    #[arg(long, default_value = "Generalized")]
    os_state: String,
    /// Generation of a new definition: V1 (BIOS) or V2 (UEFI)
    #[arg(long, default_value = "V1")]
    generation: String,
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
    Vhdx,
    Qcow2,
    Vmdk,
}

/// Runs the verb.
pub async fn run(args: Args) -> anyhow::Result<Value> {
    let source = open(&args.file, args.format)?;
    let client = Client::login(&args.data).await?;
    let regions = parse_regions(&args.regions)?;
    let home = match regions.first() {
        Some((name, _)) => name.clone(),
        None => first_region(&client).await?,
    };
    let gallery = ensure_gallery(&client, &args.to.gallery, &args.resource_group, &home).await?;
    let definition = ensure_definition(&client, &gallery, &args).await?;
    let disk = upload_disk(&client, &gallery, &args.file, source).await?;
    let version = publish_version(
        &client,
        &definition,
        &args.to.version,
        &gallery.location,
        &regions,
        &disk,
    )
    .await;
    // The disk was only the way in; what it held is in the store, so sending it again is cheap.
    client
        .arm(Method::DELETE, &disk, DISK_API_VERSION, None)
        .await?;
    version
}

fn open(file: &Path, format: Option<FileFormat>) -> anyhow::Result<Arc<dyn Source>> {
    let format = match format {
        Some(format) => format,
        None => match file
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("raw" | "img") => FileFormat::Raw,
            Some("vhd") => FileFormat::Vhd,
            Some("vhdx") => FileFormat::Vhdx,
            Some("qcow2") => FileFormat::Qcow2,
            Some("vmdk") => FileFormat::Vmdk,
            _ => anyhow::bail!(
                "the extension of {} names no format: say which with --format",
                file.display()
            ),
        },
    };
    let raw = RawFile::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let format = match format {
        FileFormat::Raw => Format::Raw,
        FileFormat::Vhd => Format::Vhd,
        FileFormat::DynamicVhd => Format::DynamicVhd,
        FileFormat::Vhdx => Format::Vhdx,
        FileFormat::Qcow2 => Format::Qcow2,
        FileFormat::Vmdk => Format::Vmdk,
    };
    let source = disk::open(format, Arc::new(raw))
        .with_context(|| format!("{} is refused", file.display()))?;
    let size = source.size_bytes();
    anyhow::ensure!(
        size > 0 && size.is_multiple_of(512),
        "{} holds a disk of {size} bytes; a disk has whole sectors of 512 bytes",
        file.display()
    );
    Ok(source)
}

fn parse_regions(texts: &[String]) -> anyhow::Result<Vec<(String, Option<u32>)>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            None => Ok((domain::region::normalise(text), None)),
            Some((name, count)) => {
                let count = count
                    .parse()
                    .with_context(|| format!("'{count}' in --region {text} is not a number"))?;
                Ok((domain::region::normalise(name), Some(count)))
            }
        })
        .collect()
}

async fn first_region(client: &Client) -> anyhow::Result<String> {
    let path = format!("/subscriptions/{}/locations", client.subscription());
    let listed = client.get(&path, "2022-12-01").await?;
    listed["value"][0]["name"]
        .as_str()
        .map(str::to_owned)
        .context("the gallery has no regions")
}

async fn ensure_definition(
    client: &Client,
    gallery: &FoundGallery,
    args: &Args,
) -> anyhow::Result<String> {
    let id = format!("{}/images/{}", gallery.id, args.to.image);
    if client
        .arm(Method::GET, &id, API_VERSION, None)
        .await?
        .is_some()
    {
        return Ok(id);
    }
    let body = json!({
        "location": gallery.location,
        "properties": {
            "osType": args.os_type,
            "osState": args.os_state,
            "hyperVGeneration": args.generation,
            "features": [{ "name": "SecurityType", "value": "Standard" }],
            "identifier": { "publisher": args.to.gallery, "offer": args.to.image, "sku": args.to.image },
        },
    });
    client.put(&id, API_VERSION, &body).await?;
    eprintln!("Created image definition {}", args.to.image);
    Ok(id)
}

/// Uploads into a disk whose name follows from the file, so that running again goes on.
async fn upload_disk(
    client: &Client,
    gallery: &FoundGallery,
    file: &Path,
    source: Arc<dyn Source>,
) -> anyhow::Result<String> {
    let size = source.size_bytes();
    let name = format!("publish-{:016x}", file_identity(file)?);
    let id = format!(
        "{}/providers/Microsoft.Compute/disks/{name}",
        gallery.group_id
    );
    if client
        .arm(Method::GET, &id, DISK_API_VERSION, None)
        .await?
        .is_none()
    {
        let body = json!({
            "location": gallery.location,
            "sku": { "name": "Standard_LRS" },
            "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": size + VHD_FOOTER_BYTES } },
        });
        client.put(&id, DISK_API_VERSION, &body).await?;
    }
    let access = json!({ "access": "Write", "durationInSeconds": ACCESS_SECONDS });
    let granted = client
        .post(&format!("{id}/beginGetAccess"), DISK_API_VERSION, &access)
        .await?;
    let url = granted["accessSAS"]
        .as_str()
        .context("the server gave no upload URL")?;
    let footer = disk::vhd::footer(size, [0; 16], 0);
    let sent = upload(client.http(), url, source, footer).await?;
    client
        .post(&format!("{id}/endGetAccess"), DISK_API_VERSION, &json!({}))
        .await?;
    eprintln!("Uploaded {} MiB of {} MiB", sent >> 20, size >> 20);
    Ok(id)
}

/// Returns a number that changes with the file: path, size, time of change.
fn file_identity(file: &Path) -> anyhow::Result<u64> {
    let meta = std::fs::metadata(file)?;
    let mut hasher = DefaultHasher::new();
    (
        std::fs::canonicalize(file)?,
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    )
        .hash(&mut hasher);
    Ok(hasher.finish())
}

async fn publish_version(
    client: &Client,
    definition: &str,
    version: &str,
    home: &str,
    regions: &[(String, Option<u32>)],
    disk: &str,
) -> anyhow::Result<Value> {
    let mut targets: Vec<Value> = regions
        .iter()
        .map(|(name, count)| match count {
            Some(count) => json!({ "name": name, "regionalReplicaCount": count }),
            None => json!({ "name": name }),
        })
        .collect();
    if !regions.iter().any(|(name, _)| name == home) {
        targets.push(json!({ "name": home }));
    }
    let id = format!("{definition}/versions/{version}");
    let body = json!({
        "location": home,
        "properties": {
            "publishingProfile": { "targetRegions": targets },
            "storageProfile": { "osDiskImage": { "source": { "id": disk } } },
        },
    });
    let answer = client
        .arm(Method::PUT, &id, API_VERSION, Some(&body))
        .await?;
    let answer = answer.context("the image definition is gone")?;
    if let Some(poll) = &answer.poll {
        client.wait(poll, |_| {}).await?;
    }
    let expand = "$expand=ReplicationStatus,ContentDigests";
    let made = client.get(&format!("{id}?{expand}"), API_VERSION).await?;
    if let Some(digest) = made["properties"]["contentDigests"][0]["blake3"].as_str() {
        eprintln!("Published {id}\nBLAKE3 of the content: {digest}");
    }
    Ok(made)
}
