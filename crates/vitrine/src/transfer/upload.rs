//! From a disk image to an access URL, skipping holes, zeroes and what is already there.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use disk::{ExtentKind, Source};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;

use super::progress::progress;
use super::{CHUNK_BYTES, PARALLEL, STORAGE_VERSION, VHD_FOOTER_BYTES, parse_page_list};

/// The unit in which zeroes and what is there are found.
const BLOCK_BYTES: usize = 4096;
/// Bytes that need not be sent and are, to save a request.
const GAP_BYTES: u64 = 64 << 10;

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
    if is_there(there, offset, offset + length) {
        bar.inc(length);
        return Ok(0);
    }
    let read =
        tokio::task::spawn_blocking(move || read_chunk(source.as_ref(), offset, length)).await??;
    let mut sent = 0;
    for (start, end) in missing(&read, offset, there) {
        let from = usize::try_from(start - offset)?;
        let bytes = read.slice(from..from + usize::try_from(end - start)?);
        put_page(http, url, start, bytes).await?;
        sent += end - start;
    }
    bar.inc(length);
    Ok(sent)
}

/// Whether a range lies in one that already holds data.
fn is_there(there: &[(u64, u64)], start: u64, end: u64) -> bool {
    let after = there.partition_point(|(first, _)| *first <= start);
    let before = after.checked_sub(1).and_then(|at| there.get(at));
    before.is_some_and(|(_, last)| end <= last + 1)
}

/// Returns the ranges of a chunk at `offset` that hold something and are not there yet.
///
/// The upload of one file makes a disk of its own, so a block that is there holds what the file
/// holds: it was written by an earlier run. Gaps of a few blocks are sent along, requests cost more.
fn missing(bytes: &[u8], offset: u64, there: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut at = offset;
    for block in bytes.chunks(BLOCK_BYTES) {
        let end = at + block.len() as u64;
        if block.iter().any(|byte| *byte != 0) && !is_there(there, at, end) {
            match ranges.last_mut() {
                Some(last) if at - last.1 <= GAP_BYTES => last.1 = end,
                _ => ranges.push((at, end)),
            }
        }
        at = end;
    }
    ranges
}

/// Returns the bytes of a chunk, none when it is a hole.
fn read_chunk(source: &dyn Source, offset: u64, length: u64) -> anyhow::Result<Bytes> {
    let extent = source.extent_at(offset)?;
    if extent.kind == ExtentKind::Zero && extent.length >= length {
        return Ok(Bytes::new());
    }
    let mut buffer = vec![0_u8; usize::try_from(length)?];
    source.read_at(offset, &mut buffer)?;
    Ok(buffer.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    #[test]
    fn what_is_there_and_what_is_zero_is_not_sent() {
        let far = 32 * BLOCK_BYTES;
        let mut bytes = vec![0_u8; far + 2 * BLOCK_BYTES];
        bytes[0] = 1;
        bytes[3 * BLOCK_BYTES] = 1;
        bytes[far] = 1;
        let at = 1 << 22;
        let far = at + far as u64;
        for (there, wanted) in [
            (vec![], vec![(at, at + 4 * BLOCK), (far, far + BLOCK)]),
            (
                vec![(at, at + BLOCK - 1)],
                vec![(at + 3 * BLOCK, at + 4 * BLOCK), (far, far + BLOCK)],
            ),
            (vec![(0, at + 20 * BLOCK)], vec![(far, far + BLOCK)]),
            // Half a block is no block.
            (
                vec![(at, at + 511), (far, far + 511)],
                vec![(at, at + 4 * BLOCK), (far, far + BLOCK)],
            ),
            (vec![(at, far + BLOCK - 1)], vec![]),
        ] {
            assert_eq!(missing(&bytes, at, &there), wanted, "{there:?}");
        }
    }
}
