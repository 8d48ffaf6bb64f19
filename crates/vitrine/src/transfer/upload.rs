//! From a disk image to an access URL, skipping holes, zeroes and what is already there.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use disk::{ExtentKind, Source};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;

use super::{CHUNK_BYTES, PARALLEL, STORAGE_VERSION, VHD_FOOTER_BYTES, parse_page_list, progress};

/// Uploads `source` as a fixed VHD; returns the bytes that were sent.
pub async fn upload(
    http: &reqwest::Client,
    url: &str,
    source: Arc<dyn Source>,
    footer: [u8; 512],
) -> anyhow::Result<u64> {
    let there = page_list(http, url).await?;
    let size = source.size_bytes();
    let bar = progress("Uploading", size);
    let chunks = (0..size.div_ceil(CHUNK_BYTES)).map(|n| n * CHUNK_BYTES);
    let sent: Vec<u64> = stream::iter(chunks)
        .map(|offset| {
            let (source, there, bar) = (source.clone(), &there, bar.clone());
            async move { send_chunk(http, url, source, offset, there, &bar).await }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    put_page(http, url, size, Bytes::copy_from_slice(&footer)).await?;
    bar.finish_and_clear();
    Ok(sent.iter().sum::<u64>() + VHD_FOOTER_BYTES)
}

async fn send_chunk(
    http: &reqwest::Client,
    url: &str,
    source: Arc<dyn Source>,
    offset: u64,
    there: &[(u64, u64)],
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let length = CHUNK_BYTES.min(source.size_bytes() - offset);
    let is_there = there
        .iter()
        .any(|(start, end)| *start <= offset && offset + length - 1 <= *end);
    if is_there {
        bar.inc(length);
        return Ok(0);
    }
    let read =
        tokio::task::spawn_blocking(move || read_chunk(source.as_ref(), offset, length)).await??;
    let sent = match read {
        Some(bytes) => {
            put_page(http, url, offset, bytes).await?;
            length
        }
        None => 0,
    };
    bar.inc(length);
    Ok(sent)
}

/// Returns the bytes of a chunk, `None` when they are all zero.
fn read_chunk(source: &dyn Source, offset: u64, length: u64) -> anyhow::Result<Option<Bytes>> {
    let extent = source.extent_at(offset)?;
    if extent.kind == ExtentKind::Zero && extent.length >= length {
        return Ok(None);
    }
    let mut buffer = vec![0_u8; usize::try_from(length)?];
    source.read_at(offset, &mut buffer)?;
    if buffer.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    Ok(Some(buffer.into()))
}

async fn put_page(
    http: &reqwest::Client,
    url: &str,
    offset: u64,
    bytes: Bytes,
) -> anyhow::Result<()> {
    let end = offset + u64::try_from(bytes.len())? - 1;
    let response = http
        .put(format!("{url}&comp=page"))
        .header("x-ms-version", STORAGE_VERSION)
        .header("x-ms-page-write", "update")
        .header("x-ms-range", format!("bytes={offset}-{end}"))
        .body(bytes)
        .send()
        .await
        .context("the server does not answer; run the same command again to go on")?;
    check(response).await?;
    Ok(())
}

/// Returns the ranges that already hold data.
pub async fn page_list(http: &reqwest::Client, url: &str) -> anyhow::Result<Vec<(u64, u64)>> {
    let response = http
        .get(format!("{url}&comp=pagelist"))
        .header("x-ms-version", STORAGE_VERSION)
        .send()
        .await?;
    Ok(parse_page_list(&check(response).await?.text().await?))
}

/// Turns a refusal of the blob face into an error.
pub async fn check(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let code = response
        .headers()
        .get("x-ms-error-code")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("no code")
        .to_owned();
    anyhow::bail!("the server refused a transfer: {status} {code}")
}
