//! Sign-in on another device: a program shows a code, a person types it in a browser.

use catalog::{DeviceCode, Kind as Failure, Principal};
use secrecy::{ExposeSecret as _, SecretString};

use super::audience::Asked;
use super::error::{SignInError, SignInResult, db};
use super::grants::{Place, audience, check_length};
use super::{secrets, tokens};
use crate::Engine;

/// How long a person has, in seconds.
const CODE_SECONDS: i64 = 900;
/// How often a program should ask, in seconds.
const INTERVAL_SECONDS: i64 = 3;
/// How often it may ask.
const POLL_MS_MIN: i64 = 1500;
/// What codes for people are made of: no vowels, so no words; no digits that look like letters.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS_SHOWN: usize = 9;
/// Tries to find a code that nobody else waits for.
const TRIES_MAX: usize = 5;

/// What a program shows and polls with.
pub struct DeviceFlow {
    /// What the person types.
    pub user_code: String,
    /// What the program polls with.
    pub device_code: String,
    /// Where the person goes.
    pub verification_uri: String,
    /// How long it lasts, in seconds.
    pub expires_in_s: i64,
    /// How often to poll, in seconds.
    pub interval_s: i64,
}

impl Engine {
    /// Starts a sign-in on another device.
    pub async fn begin_device_flow(
        &self,
        tenant: &str,
        base_url: &str,
        client_id: &str,
        asked: &Asked,
    ) -> SignInResult<DeviceFlow> {
        check_length("client_id", client_id)?;
        audience(asked, base_url)?;
        let place = self.place(tenant).await?;
        let device_code = secrets::random_text(32)?;
        for _ in 0..TRIES_MAX {
            let user_code = user_code()?;
            let code = DeviceCode {
                device_hash: secrets::digest(&device_code),
                user_code: user_code.clone(),
                tenant: place.filter().to_owned(),
                app_id: client_id.to_ascii_lowercase(),
                scope: asked.scope.clone(),
                principal: None,
                denied: false,
                polled_ms: 0,
                expires_ms: self.now_ms() + CODE_SECONDS * 1000,
            };
            let mut tx = self.catalog().write().await.map_err(db)?;
            tx.prune_tokens(self.now_ms() - CODE_SECONDS * 1000)
                .await
                .map_err(db)?;
            match tx.put_device_code(&code).await {
                Ok(()) => tx.commit().await.map_err(db)?,
                Err(error) if error.kind() == Failure::Exists => continue,
                Err(error) => return Err(db(error)),
            }
            return Ok(DeviceFlow {
                user_code,
                device_code,
                verification_uri: format!("{base_url}/devicelogin"),
                expires_in_s: CODE_SECONDS,
                interval_s: INTERVAL_SECONDS,
            });
        }
        Err(SignInError::Unavailable)
    }

    /// Signs a person in for a code that a program shows.
    pub async fn approve_device(
        &self,
        user_code: &str,
        username: &str,
        password: SecretString,
    ) -> SignInResult<()> {
        let code = self.waiting_code(user_code).await?;
        let tenant = Some(code.tenant.clone()).filter(|tenant| !tenant.is_empty());
        let place = Place {
            shown: code.tenant.clone(),
            tenant,
        };
        let user = self.user_by_password(&place, username, password).await?;
        self.settle_code(&code.device_hash, |code| {
            code.principal = Some(user.object_id.clone())
        })
        .await
    }

    /// Refuses a program that shows a code.
    pub async fn deny_device(&self, user_code: &str) -> SignInResult<()> {
        let code = self.waiting_code(user_code).await?;
        self.settle_code(&code.device_hash, |code| code.denied = true)
            .await
    }

    /// Returns who has signed in for a device code, and for what; a code counts once.
    pub(super) async fn redeem_device_code(
        &self,
        place: &Place,
        client_id: &str,
        device_code: &SecretString,
    ) -> SignInResult<(Principal, String)> {
        let text = device_code.expose_secret();
        if text.len() > tokens::TOKEN_BYTES_MAX {
            return Err(SignInError::UnknownDeviceCode);
        }
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx
            .load_device_code(&secrets::digest(text))
            .await
            .map_err(db)?;
        let mut code = found
            .filter(|code| code.app_id == client_id)
            .ok_or(SignInError::UnknownDeviceCode)?;
        let refusal = match &code.principal {
            _ if now_ms >= code.expires_ms => SignInError::DeviceExpired,
            _ if code.denied => SignInError::Declined,
            Some(object_id) => {
                let object_id = object_id.clone();
                let user = tx.load_principal(&object_id).await.map_err(db)?;
                tx.delete_device_code(&code.device_hash).await.map_err(db)?;
                tx.commit().await.map_err(db)?;
                let user = user
                    .filter(|user| user.enabled)
                    .ok_or(SignInError::DisabledUser)?;
                if !place.admits(&user.tenant) {
                    return Err(SignInError::UnknownDeviceCode);
                }
                return Ok((user, code.scope));
            }
            None if now_ms - code.polled_ms < POLL_MS_MIN => SignInError::SlowDown,
            None => SignInError::Pending,
        };
        code.polled_ms = now_ms;
        tx.put_device_code(&code).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Err(refusal)
    }

    async fn waiting_code(&self, user_code: &str) -> SignInResult<DeviceCode> {
        let typed = normalise(user_code).ok_or(SignInError::UnknownUserCode)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read
            .load_device_code_by_user_code(&typed)
            .await
            .map_err(db)?;
        found
            .filter(|code| is_waiting(code, self.now_ms()))
            .ok_or(SignInError::UnknownUserCode)
    }

    /// Changes a code that still waits; the first answer counts.
    async fn settle_code(
        &self,
        device_hash: &str,
        change: impl FnOnce(&mut DeviceCode),
    ) -> SignInResult<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx.load_device_code(device_hash).await.map_err(db)?;
        let mut code = found
            .filter(|code| is_waiting(code, self.now_ms()))
            .ok_or(SignInError::UnknownUserCode)?;
        change(&mut code);
        tx.put_device_code(&code).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }
}

fn is_waiting(code: &DeviceCode, now_ms: i64) -> bool {
    now_ms < code.expires_ms && code.principal.is_none() && !code.denied
}

/// Returns a code for people; bytes that would favour some letters are thrown away.
fn user_code() -> domain::Result<String> {
    let fair = u8::MAX - u8::MAX % 20;
    let mut code = String::with_capacity(LETTERS_SHOWN);
    while code.len() < LETTERS_SHOWN {
        let mut raw = [0_u8; 32];
        secrets::fill(&mut raw)?;
        let letters = raw
            .iter()
            .filter(|byte| **byte < fair)
            .map(|byte| char::from(LETTERS[usize::from(byte % 20)]));
        code.extend(letters.take(LETTERS_SHOWN - code.len()));
    }
    Ok(code)
}

/// Returns a code as it was given out: people type small letters, spaces and dashes.
fn normalise(typed: &str) -> Option<String> {
    if typed.len() > 64 {
        return None;
    }
    let code: String = typed
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_uppercase())
        .collect();
    (code.len() == LETTERS_SHOWN).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_for_people_are_read_back_however_they_are_typed() {
        let code = user_code().unwrap();
        let typed = format!(" {}-{} ", &code[..4].to_lowercase(), &code[4..]);
        assert_eq!(normalise(&typed), Some(code));
        assert_eq!(normalise("ABC"), None);
        assert_eq!(normalise(&"B".repeat(100)), None);
    }
}
