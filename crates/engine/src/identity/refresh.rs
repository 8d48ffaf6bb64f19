//! Refresh tokens: exchanged for a successor with every use.
//!
//! Programs of one person run side by side and may hold the same token, so a spent token works for
//! [`GRACE_MS`] more. A spent token that comes later was stolen, or its successor was: the whole
//! family ends and the person signs in again.

use catalog::{Principal, RefreshToken};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::error::{SignInError, SignInResult, db};
use super::grants::Place;
use super::{secrets, tokens};
use crate::Engine;

/// How long a refresh token counts.
const REFRESH_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How long a spent token still works.
const GRACE_MS: i64 = 60_000;

impl Engine {
    /// Returns the first refresh token of a sign-in.
    pub(super) async fn first_refresh_token(
        &self,
        user: &Principal,
        client_id: &str,
    ) -> SignInResult<String> {
        let (text, row) = self.new_refresh_token(user, client_id, Uuid::new_v4().to_string())?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_refresh_token(&row).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(text)
    }

    /// Returns whose refresh token this is, and its successor.
    pub(super) async fn exchange_refresh_token(
        &self,
        place: &Place,
        client_id: &str,
        token: &SecretString,
    ) -> SignInResult<(Principal, String)> {
        let text = token.expose_secret();
        if text.len() > tokens::TOKEN_BYTES_MAX {
            return Err(SignInError::WrongRefreshToken);
        }
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let found = tx
            .load_refresh_token(&secrets::digest(text))
            .await
            .map_err(db)?;
        let row = found
            .filter(|row| {
                now_ms < row.expires_ms && row.app_id == client_id && place.admits(&row.tenant)
            })
            .ok_or(SignInError::WrongRefreshToken)?;
        if row
            .spent_ms
            .is_some_and(|spent_ms| now_ms - spent_ms >= GRACE_MS)
        {
            tracing::warn!(principal.id = %row.principal, "a spent refresh token came again; its family ends");
            tx.delete_refresh_family(&row.family).await.map_err(db)?;
            tx.commit().await.map_err(db)?;
            return Err(SignInError::WrongRefreshToken);
        }
        let user = tx.load_principal(&row.principal).await.map_err(db)?;
        let user = user
            .filter(|user| user.enabled)
            .ok_or(SignInError::WrongRefreshToken)?;
        let (successor, successor_row) =
            self.new_refresh_token(&user, client_id, row.family.clone())?;
        tx.put_refresh_token(&successor_row).await.map_err(db)?;
        let spent_ms = Some(row.spent_ms.unwrap_or(now_ms));
        tx.put_refresh_token(&RefreshToken { spent_ms, ..row })
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok((user, successor))
    }

    fn new_refresh_token(
        &self,
        user: &Principal,
        client_id: &str,
        family: String,
    ) -> domain::Result<(String, RefreshToken)> {
        let text = secrets::random_text(48)?;
        let row = RefreshToken {
            hash: secrets::digest(&text),
            principal: user.object_id.clone(),
            tenant: user.tenant.clone(),
            app_id: client_id.to_owned(),
            family,
            spent_ms: None,
            expires_ms: self.now_ms() + REFRESH_MS,
        };
        Ok((text, row))
    }
}
