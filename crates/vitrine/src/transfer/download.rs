//! From an access URL to a sparse file, with the digest of the content.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::progress::progress;
use super::upload::{check, page_list};
use super::{CHUNK_BYTES, PARALLEL, STORAGE_VERSION, VHD_FOOTER_BYTES};

/// What was written.
pub struct Downloaded {
    /// Virtual size of the disk in bytes.
    pub size_bytes: u64,
    /// Bytes that came over the wire.
    pub received_bytes: u64,
    /// The footer that the server made.
    pub footer: [u8; 512],
}

/// Downloads the disk behind `url` into `file` as raw bytes; holes stay holes.
pub async fn download(
    http: &reqwest::Client,
    url: &str,
    file: &Path,
) -> anyhow::Result<Downloaded> {
    let head = check(
        http.head(url)
            .header("x-ms-version", STORAGE_VERSION)
            .send()
            .await?,
    )
    .await?;
    let length: u64 = head
        .headers()
        .get("content-length")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .context("the server did not say how large the disk is")?;
    let size = length
        .checked_sub(VHD_FOOTER_BYTES)
        .context("the disk is shorter than its footer")?;
    let out =
        Arc::new(File::create(file).with_context(|| format!("cannot write {}", file.display()))?);
    out.set_len(size)?;
    let ranges = split(&page_list(http, url).await?, size);
    let bar = progress("Downloading", ranges.iter().map(|(_, length)| length).sum());
    let received: Vec<u64> = stream::iter(ranges)
        .map(|(offset, length)| {
            let (out, bar) = (out.clone(), bar.clone());
            async move {
                let bytes = get_range(http, url, offset, length).await?;
                let written =
                    tokio::task::spawn_blocking(move || out.write_all_at(&bytes, offset)).await?;
                written.context("the file cannot be written")?;
                bar.inc(length);
                anyhow::Ok(length)
            }
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let end = get_range(http, url, size, VHD_FOOTER_BYTES).await?;
    let footer = <[u8; 512]>::try_from(end.as_ref()).context("the footer is not 512 bytes")?;
    out.sync_all()?;
    Ok(Downloaded {
        size_bytes: size,
        received_bytes: received.iter().sum(),
        footer,
    })
}

/// Cuts ranges into requests, leaving out what lies behind the disk.
fn split(ranges: &[(u64, u64)], size: u64) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    for (start, end) in ranges {
        let end = (end + 1).min(size);
        let mut at = *start;
        while at < end {
            let length = CHUNK_BYTES.min(end - at);
            out.push((at, length));
            at += length;
        }
    }
    out
}

async fn get_range(
    http: &reqwest::Client,
    url: &str,
    offset: u64,
    length: u64,
) -> anyhow::Result<bytes::Bytes> {
    let range = format!("bytes={offset}-{}", offset + length - 1);
    let request = http
        .get(url)
        .header("x-ms-version", STORAGE_VERSION)
        .header("x-ms-range", range);
    let bytes = check(request.send().await?).await?.bytes().await?;
    anyhow::ensure!(
        u64::try_from(bytes.len())? == length,
        "the server sent fewer bytes than it promised"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_and_the_footer_is_left_out() {
        let size = CHUNK_BYTES + 1024;
        assert_eq!(
            split(&[(0, size + 511)], size),
            [(0, CHUNK_BYTES), (CHUNK_BYTES, 1024)]
        );
        assert_eq!(split(&[(size, size + 511)], size), []);
    }
}
