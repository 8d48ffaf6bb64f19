//! SHA-256 of contents: asked for, computed by a worker, kept by the content's BLAKE3.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::Result;
use crate::store::{Read, Tx};

/// A content whose SHA-256 was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    /// BLAKE3 of the raw content, hexadecimal.
    pub content: String,
    /// A manifest that holds it.
    pub manifest: String,
    /// The virtual size.
    pub size_bytes: i64,
    /// SHA-256 of the raw content, hexadecimal, once it is known.
    pub sha256: Option<String>,
    /// When it was asked for, milliseconds since the epoch, UTC.
    pub asked_ms: i64,
}

impl Read {
    /// Returns what is known of a content.
    pub async fn digest(&mut self, content: &str) -> Result<Option<ContentDigest>> {
        let row = sqlx::query("SELECT * FROM digests WHERE content = $1")
            .bind(content)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns contents that wait for their SHA-256, the oldest first.
    pub async fn waiting_digests(&mut self, limit: usize) -> Result<Vec<ContentDigest>> {
        let rows = sqlx::query(
            "SELECT * FROM digests WHERE sha256 IS NULL ORDER BY asked_ms, content LIMIT $1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(from_row).collect()
    }
}

impl Tx {
    /// Asks for the SHA-256 of a content; what is known or asked for already stays.
    pub async fn ask_digest(&mut self, digest: &ContentDigest) -> Result<()> {
        sqlx::query(
            "INSERT INTO digests (content, manifest, size_bytes, sha256, asked_ms) VALUES ($1, $2, $3, NULL, $4) \
             ON CONFLICT (content) DO NOTHING",
        )
        .bind(digest.content.clone())
        .bind(digest.manifest.clone())
        .bind(digest.size_bytes)
        .bind(digest.asked_ms)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Stores the SHA-256 of a content.
    pub async fn put_digest(&mut self, content: &str, sha256: &str) -> Result<()> {
        sqlx::query("UPDATE digests SET sha256 = $1 WHERE content = $2")
            .bind(sha256)
            .bind(content)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Takes a question back: nothing holds the content any more.
    pub async fn forget_digest(&mut self, content: &str) -> Result<()> {
        sqlx::query("DELETE FROM digests WHERE content = $1")
            .bind(content)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn from_row(row: &AnyRow) -> Result<ContentDigest> {
    Ok(ContentDigest {
        content: row.try_get("content")?,
        manifest: row.try_get("manifest")?,
        size_bytes: row.try_get("size_bytes")?,
        sha256: row.try_get("sha256")?,
        asked_ms: row.try_get("asked_ms")?,
    })
}
