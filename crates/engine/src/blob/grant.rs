//! URLs that read or write one disk as a fixed VHD, for a time.
//!
//! The URL carries a secret; the catalog keeps only its SHA-256. The footer behind the disk
//! is made when it is read, and only checked when it is written.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::Grant;
use disk::vhd::{FOOTER_BYTES, Footer, footer};
use domain::operation::Operation;
use domain::{Error, ErrorKind, Resource, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::failure::{authentication_failed, not_permitted};
use super::page::{PAGE_BYTES_MAX, put_pages};
use super::view::check_pages;
use super::{Upload, View};
use crate::Engine;
use crate::deletion::check_lease;
use crate::error::{blocks as store_error, catalog as db};

/// Stands in the place of the account in such a URL.
pub const GRANT_ACCOUNT: &str = "disk-access";
/// Hexadecimal digits of the hash that name the grant in the path.
const ID_CHARS: usize = 32;
const SERVICE_VERSION: &str = "2026-04-06";

/// Counts writes through URLs, so that a disk's etag changes with its bytes.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A disk that a URL opened.
pub struct DiskAccess {
    row: Resource,
    grant: Grant,
    size: u64,
    view: View,
    /// The address that the request came from.
    client: String,
}

impl DiskAccess {
    /// Returns the access as one of a request that came from `client`.
    #[must_use]
    pub fn seen_from(mut self, client: &str) -> Self {
        client.clone_into(&mut self.client);
        self
    }

    /// Returns the bytes of the VHD.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Returns the bytes of the VHD, for reading longer than this access lives.
    pub fn into_view(self) -> View {
        self.view
    }

    /// Returns the length of the VHD.
    pub fn size_bytes(&self) -> u64 {
        self.view.size_bytes()
    }

    /// Returns an etag: of this URL, and of the bytes as long as they can change.
    pub fn etag(&self) -> String {
        let base = self
            .grant
            .token_hash
            .get(ID_CHARS..ID_CHARS + 8)
            .unwrap_or_default();
        let writes = if self.grant.write {
            WRITES.load(Ordering::Acquire)
        } else {
            0
        };
        let run = if self.grant.write { run_id() } else { 0 };
        format!("\"0x{}{run:08X}{writes:08X}\"", base.to_ascii_uppercase())
    }

    /// Returns the disk's row.
    pub fn resource(&self) -> &Resource {
        &self.row
    }

    /// Returns when the bytes were last known to change, in milliseconds since the epoch, UTC.
    pub fn modified_ms(&self) -> i64 {
        self.row.changed_ms
    }

    /// Returns when the disk was made, in milliseconds since the epoch, UTC.
    pub fn created_ms(&self) -> i64 {
        self.row.created_ms
    }
}

impl Engine {
    /// Returns the URL that an operation opened its disk with, and the grant that it needs.
    ///
    /// Its secret is made from the operation with a key of the installation: the same every time, so
    /// that neither the catalog nor a log has to keep it.
    pub(crate) fn disk_access_url(&self, operation: &Operation) -> (String, Grant) {
        let asked = |name: &str| operation.step.get(name);
        let seconds = asked("seconds").and_then(Value::as_i64).unwrap_or(3600);
        let write = asked("write").and_then(Value::as_bool).unwrap_or(false);
        let base_url = asked("baseUrl").and_then(Value::as_str).unwrap_or_default();
        let expires_ms = operation
            .started_ms
            .saturating_add(seconds.saturating_mul(1000));
        let secret = URL_SAFE_NO_PAD.encode(self.access_secret(operation, write, expires_ms));
        let token_hash = hash(&secret);
        let url = format!(
            "{base_url}/blob/{GRANT_ACCOUNT}/{}/disk.vhd?sv={SERVICE_VERSION}&sr=b&se={}&sp={}&sig={secret}",
            &token_hash[..ID_CHARS],
            short_time(expires_ms).replace(':', "%3A"),
            if write { "rw" } else { "r" },
        );
        let grant = Grant {
            token_hash,
            resource: operation.resource.clone(),
            write,
            expires_ms,
        };
        (url, grant)
    }

    fn access_secret(&self, operation: &Operation, write: bool, expires_ms: i64) -> Vec<u8> {
        let text = format!(
            "disk-access\n{}\n{}\n{write}\n{expires_ms}",
            operation.id,
            operation.resource.key()
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(self.access_key())
            .expect("a key of any length is taken");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// Makes the URL of an operation work.
    pub(crate) async fn grant_disk_access(&self, operation: &Operation) -> Result<()> {
        let (_, grant) = self.disk_access_url(operation);
        let mut tx = self.catalog().write().await.map_err(db)?;
        check_lease(&mut tx, Some(operation)).await?;
        tx.put_grant(&grant).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Opens the disk of a URL; `id` and `secret` are what the URL carries.
    pub async fn open_disk_access(&self, id: &str, secret: &str) -> Result<DiskAccess> {
        let failed = || {
            authentication_failed(
                "The URL is not valid any more. Ask for a new one (beginGetAccess).",
            )
        };
        let token_hash = hash(secret);
        let mut read = self.catalog().read().await.map_err(db)?;
        let grant = read
            .load_grant(&token_hash)
            .await
            .map_err(db)?
            .ok_or_else(failed)?;
        drop(read);
        let is_whole = grant.token_hash.as_bytes().ct_eq(token_hash.as_bytes())
            & token_hash.as_bytes()[..ID_CHARS].ct_eq(id.as_bytes());
        if !bool::from(is_whole) || grant.expires_ms <= self.now_ms() {
            return Err(failed());
        }
        let row = self.load_row(&grant.resource).await?.ok_or_else(failed)?;
        let content = self.open_content(&row).await?;
        let size = content.size_bytes();
        let view = View::of_disk(content, size, footer(size, unique_id(&row), row.created_ms));
        Ok(DiskAccess {
            row,
            grant,
            size,
            view,
            client: String::new(),
        })
    }

    /// Writes pages of the VHD; durable when it returns.
    pub async fn write_disk_pages(
        &self,
        access: &DiskAccess,
        start: u64,
        body: Upload,
    ) -> Result<()> {
        check_writable(access)?;
        let length = body.length;
        check_pages(start, length, access.size_bytes())?;
        let pages = body.collect(PAGE_BYTES_MAX).await?;
        let inside = access.size.saturating_sub(start).min(length);
        let (disk, end) = pages.split_at(
            usize::try_from(inside)
                .unwrap_or(pages.len())
                .min(pages.len()),
        );
        if !end.is_empty() {
            check_footer(end, access.size)?;
        }
        self.change_disk(access, start, inside, Some(disk)).await
    }

    /// Clears pages of the VHD; durable when it returns.
    pub async fn clear_disk_pages(
        &self,
        access: &DiskAccess,
        start: u64,
        length: u64,
    ) -> Result<()> {
        check_writable(access)?;
        check_pages(start, length, access.size_bytes())?;
        let inside = access.size.saturating_sub(start).min(length);
        self.change_disk(access, start, inside, None).await
    }

    async fn change_disk(
        &self,
        access: &DiskAccess,
        start: u64,
        length: u64,
        pages: Option<&[u8]>,
    ) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        let layer = self.disk_layer(&access.row).await?;
        self.audit_disk_write(&access.row, &access.grant.token_hash, &access.client)
            .await?;
        WRITES.fetch_add(1, Ordering::AcqRel);
        put_pages(&layer, start, length, pages).await?;
        WRITES.fetch_add(1, Ordering::AcqRel);
        layer.flush().await.map_err(store_error)
    }
}

fn check_writable(access: &DiskAccess) -> Result<()> {
    if access.grant.write {
        Ok(())
    } else {
        Err(not_permitted("AuthorizationPermissionMismatch"))
    }
}

fn check_footer(bytes: &[u8], disk_size: u64) -> Result<()> {
    let refuse = |reason: String| {
        Error::new(
            ErrorKind::Invalid,
            "InvalidInput",
            format!(
                "The last {FOOTER_BYTES} bytes are not the footer of a fixed VHD of {disk_size} bytes: {reason}. Convert the image to a fixed VHD of the size that uploadSizeBytes announced."
            ),
        )
    };
    let footer: &[u8; 512] = bytes
        .try_into()
        .map_err(|_| refuse("they are cut".to_owned()))?;
    Footer::parse_fixed(footer, disk_size)
        .map(|_| ())
        .map_err(|error| refuse(error.to_string()))
}

fn unique_id(row: &Resource) -> [u8; 16] {
    let text = row
        .properties
        .get("uniqueId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Uuid::parse_str(text)
        .map(Uuid::into_bytes)
        .unwrap_or_default()
}

fn hash(secret: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(secret.as_bytes())
        .iter()
        .fold(String::new(), |mut out, byte| {
            // Writing into a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Returns `2026-01-02T03:04:05Z`.
fn short_time(ms: i64) -> String {
    let text = arm::time::format_zulu(ms);
    format!("{}Z", text.get(..19).unwrap_or(&text))
}

/// Differs from start to start: the count of writes begins anew then.
fn run_id() -> u32 {
    static RUN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *RUN.get_or_init(|| Uuid::new_v4().as_fields().0)
}
