//! The serial log of a machine, by a URL that works for a time.
//!
//! The URL is signed with a key of the installation: nothing is stored for it. What the guest wrote
//! is shown with its control characters made visible, so that a log cannot drive a terminal.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, ErrorKind, ResourceId, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::error::catalog as db;
use crate::resources::{action, not_found};
use crate::{Ctx, Engine};

const KEY_SETTING: &str = "console-key";
/// The most of a log that is shown.
const CONSOLE_BYTES_MAX: usize = 1 << 20;
/// Minutes that a URL works when nothing is said, and at most. Source: the API's `sasUriExpirationTimeInMinutes`.
const MINUTES: i64 = 120;
const MINUTES_MAX: i64 = 1440;

impl Engine {
    /// Returns the URLs of a machine's boot diagnostics.
    pub async fn boot_diagnostics(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        minutes: Option<&str>,
    ) -> Result<Value> {
        let action = action(id, "retrieveBootDiagnosticsData/action");
        self.authorize(ctx, &action, &id.to_string()).await?;
        let row = self.load_row(id).await?.ok_or_else(|| not_found(id))?;
        let minutes = match minutes {
            None => MINUTES,
            Some(text) => text
                .parse()
                .ok()
                .filter(|m| (1..=MINUTES_MAX).contains(m))
                .ok_or_else(|| {
                    Error::invalid_parameter(
                        "sasUriExpirationTimeInMinutes",
                        format!(
                            "The value {text} of parameter sasUriExpirationTimeInMinutes is out of range. The value must be \
                             between 1 and {MINUTES_MAX}, inclusive."
                        ),
                    )
                })?,
        };
        let machine = super::machine_id(&row)?;
        let expires = self.now_ms() / 1000 + minutes * 60;
        let signature = URL_SAFE_NO_PAD.encode(
            self.sign_console(machine, expires)
                .await?
                .finalize()
                .into_bytes(),
        );
        let url = format!(
            "{}/boot-diagnostics/{machine}/serialconsole.log?se={expires}&sig={signature}",
            ctx.base_url
        );
        Ok(json!({ "serialConsoleLogBlobUri": url }))
    }

    /// Returns the serial log that a URL names, as text that is safe to show.
    pub async fn console(&self, machine: &str, expires: &str, signature: &str) -> Result<String> {
        let refused = || {
            Error::new(
                ErrorKind::Forbidden,
                "AuthenticationFailed",
                "The URL is not valid any more. Ask for a new one (retrieveBootDiagnosticsData).",
            )
        };
        let id = Uuid::parse_str(machine).map_err(|_| refused())?;
        let expires: i64 = expires.parse().map_err(|_| refused())?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused())?;
        let mac = self.sign_console(id, expires).await?;
        if mac.verify_slice(&signature).is_err() || expires <= self.now_ms() / 1000 {
            return Err(refused());
        }
        let bytes = self.driver()?.console(id, CONSOLE_BYTES_MAX).await?;
        Ok(vm::serial::printable(&bytes))
    }

    async fn sign_console(&self, machine: Uuid, expires: i64) -> Result<Hmac<Sha256>> {
        let key = self.console_key().await?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| Error::internal())?;
        mac.update(format!("{machine}\n{expires}").as_bytes());
        Ok(mac)
    }

    /// Returns the key; made once, by whoever is first.
    async fn console_key(&self) -> Result<String> {
        let mut read = self.catalog().read().await.map_err(db)?;
        if let Some(key) = read.setting(KEY_SETTING).await.map_err(db)? {
            return Ok(key);
        }
        drop(read);
        let mut fresh = [0_u8; 32];
        getrandom::fill(&mut fresh).map_err(|error| {
            tracing::error!(%error, "no randomness");
            Error::internal()
        })?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let made = URL_SAFE_NO_PAD.encode(fresh);
        tx.put_setting_if_absent(KEY_SETTING, &made)
            .await
            .map_err(db)?;
        let kept = tx.setting(KEY_SETTING).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        kept.ok_or_else(Error::internal)
    }
}
