//! What sign-in remembers: refresh tokens, device codes, keys of principals, used assertions.
//!
//! Tokens and codes are kept by their SHA-256 alone: whoever reads the database cannot use them.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{Result, exists};
use crate::store::{Read, Tx};

/// A refresh token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// SHA-256 of the token.
    pub hash: String,
    /// Object id of the principal.
    pub principal: String,
    /// The tenant.
    pub tenant: String,
    /// The client the user came with.
    pub app_id: String,
    /// All tokens that descend from one sign-in share it.
    pub family: String,
    /// When it was exchanged for its successor.
    pub spent_ms: Option<i64>,
    /// Milliseconds since the epoch, UTC.
    pub expires_ms: i64,
}

/// A device code that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCode {
    /// SHA-256 of the device code.
    pub device_hash: String,
    /// What the person types.
    pub user_code: String,
    /// The tenant; empty when the client named none.
    pub tenant: String,
    /// The client that asks.
    pub app_id: String,
    /// What the client asks for.
    pub scope: String,
    /// Who has signed in for it.
    pub principal: Option<String>,
    /// Whether the person said no.
    pub denied: bool,
    /// When the client asked last.
    pub polled_ms: i64,
    /// Milliseconds since the epoch, UTC.
    pub expires_ms: i64,
}

/// A public key by which a principal signs assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalKey {
    /// Object id of the principal.
    pub principal: String,
    /// Its name; unique for the principal.
    pub kid: String,
    /// PEM (public key or certificate) or a JWK.
    pub public_key: String,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
}

impl Read {
    /// Returns a refresh token.
    pub async fn load_refresh_token(&mut self, hash: &str) -> Result<Option<RefreshToken>> {
        let row = sqlx::query("SELECT * FROM refresh_tokens WHERE hash = $1")
            .bind(hash)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(refresh_token).transpose()
    }

    /// Returns a device code.
    pub async fn load_device_code(&mut self, device_hash: &str) -> Result<Option<DeviceCode>> {
        let row = sqlx::query("SELECT * FROM device_codes WHERE device_hash = $1")
            .bind(device_hash)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(device_code).transpose()
    }

    /// Returns a device code by what the person typed.
    pub async fn load_device_code_by_user_code(
        &mut self,
        user_code: &str,
    ) -> Result<Option<DeviceCode>> {
        let row = sqlx::query("SELECT * FROM device_codes WHERE user_code = $1")
            .bind(user_code)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(device_code).transpose()
    }

    /// Returns the keys of a principal, newest first.
    pub async fn list_principal_keys(&mut self, principal: &str) -> Result<Vec<PrincipalKey>> {
        let rows = sqlx::query(
            "SELECT * FROM principal_keys WHERE principal = $1 ORDER BY created_ms DESC, kid",
        )
        .bind(principal)
        .fetch_all(self.connection())
        .await?;
        rows.iter().map(principal_key).collect()
    }
}

impl Tx {
    /// Stores a refresh token in place of what is there.
    pub async fn put_refresh_token(&mut self, token: &RefreshToken) -> Result<()> {
        const SQL: &str = "INSERT INTO refresh_tokens (hash, principal, tenant, app_id, family, spent_ms, expires_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hash) DO UPDATE SET spent_ms = excluded.spent_ms";
        sqlx::query(SQL)
            .bind(token.hash.clone())
            .bind(token.principal.clone())
            .bind(token.tenant.clone())
            .bind(token.app_id.clone())
            .bind(token.family.clone())
            .bind(token.spent_ms)
            .bind(token.expires_ms)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes every refresh token of one sign-in.
    pub async fn delete_refresh_family(&mut self, family: &str) -> Result<()> {
        sqlx::query("DELETE FROM refresh_tokens WHERE family = $1")
            .bind(family)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Removes every refresh token of a principal.
    pub async fn delete_refresh_tokens_of(&mut self, principal: &str) -> Result<()> {
        sqlx::query("DELETE FROM refresh_tokens WHERE principal = $1")
            .bind(principal)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Stores a device code in place of what is there.
    pub async fn put_device_code(&mut self, code: &DeviceCode) -> Result<()> {
        const SQL: &str = "INSERT INTO device_codes (device_hash, user_code, tenant, app_id, scope, principal, denied, polled_ms, expires_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (device_hash) DO UPDATE SET \
             principal = excluded.principal, denied = excluded.denied, polled_ms = excluded.polled_ms";
        sqlx::query(SQL)
            .bind(code.device_hash.clone())
            .bind(code.user_code.clone())
            .bind(code.tenant.clone())
            .bind(code.app_id.clone())
            .bind(code.scope.clone())
            .bind(code.principal.clone())
            .bind(i64::from(code.denied))
            .bind(code.polled_ms)
            .bind(code.expires_ms)
            .execute(self.connection())
            .await
            .map_err(exists("device_codes", &code.user_code))?;
        Ok(())
    }

    /// Removes a device code; whether it was there.
    pub async fn delete_device_code(&mut self, device_hash: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM device_codes WHERE device_hash = $1")
            .bind(device_hash)
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores a new key of a principal.
    pub async fn put_principal_key(&mut self, key: &PrincipalKey) -> Result<()> {
        sqlx::query("INSERT INTO principal_keys (principal, kid, public_key, created_ms) VALUES ($1, $2, $3, $4)")
            .bind(key.principal.clone())
            .bind(key.kid.clone())
            .bind(key.public_key.clone())
            .bind(key.created_ms)
            .execute(self.connection())
            .await
            .map_err(exists("principal_keys", &key.kid))?;
        Ok(())
    }

    /// Removes the keys of a principal, or one of them; whether there was any.
    pub async fn delete_principal_keys(
        &mut self,
        principal: &str,
        kid: Option<&str>,
    ) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM principal_keys WHERE principal = $1 AND ($2 = '' OR kid = $2)",
        )
        .bind(principal)
        .bind(kid.unwrap_or_default())
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Remembers an assertion; false when it was there already.
    pub async fn use_assertion(&mut self, hash: &str, expires_ms: i64) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO used_assertions (hash, expires_ms) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash)
        .bind(expires_ms)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets what is over.
    pub async fn prune_tokens(&mut self, now_ms: i64) -> Result<()> {
        for sql in [
            "DELETE FROM refresh_tokens WHERE expires_ms < $1",
            "DELETE FROM device_codes WHERE expires_ms < $1",
            "DELETE FROM used_assertions WHERE expires_ms < $1",
        ] {
            sqlx::query(sql)
                .bind(now_ms)
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }
}

fn refresh_token(row: &AnyRow) -> Result<RefreshToken> {
    Ok(RefreshToken {
        hash: row.try_get("hash")?,
        principal: row.try_get("principal")?,
        tenant: row.try_get("tenant")?,
        app_id: row.try_get("app_id")?,
        family: row.try_get("family")?,
        spent_ms: row.try_get("spent_ms")?,
        expires_ms: row.try_get("expires_ms")?,
    })
}

fn device_code(row: &AnyRow) -> Result<DeviceCode> {
    let denied: i64 = row.try_get("denied")?;
    Ok(DeviceCode {
        device_hash: row.try_get("device_hash")?,
        user_code: row.try_get("user_code")?,
        tenant: row.try_get("tenant")?,
        app_id: row.try_get("app_id")?,
        scope: row.try_get("scope")?,
        principal: row.try_get("principal")?,
        denied: denied != 0,
        polled_ms: row.try_get("polled_ms")?,
        expires_ms: row.try_get("expires_ms")?,
    })
}

fn principal_key(row: &AnyRow) -> Result<PrincipalKey> {
    Ok(PrincipalKey {
        principal: row.try_get("principal")?,
        kid: row.try_get("kid")?,
        public_key: row.try_get("public_key")?,
        created_ms: row.try_get("created_ms")?,
    })
}
