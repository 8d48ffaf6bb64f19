//! Keys that sign tokens: made in the catalog, rotated, published as JWKS.
//!
//! A new key signs from the moment it is stored; the old one stays in the JWKS until every token
//! it signed is over. Each node keeps the keys in memory for [`KEYRING_FRESH_MS`] and reads them
//! again when a token names a key it does not know, at most once in [`REREAD_MS`].

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::SigningKey;
use domain::{Error, Result};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{is_fresh, lock};
use crate::Engine;
use crate::error::catalog as db;

/// How old a key gets before a new one signs.
const KEY_AGE_MS_MAX: i64 = 60 * 24 * 60 * 60 * 1000;
/// How long a retired key stays: more than a token's life and the skew of clocks.
const KEY_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a node trusts what it has read.
const KEYRING_FRESH_MS: i64 = 60_000;
/// How often an unknown key may make a node read again.
const REREAD_MS: i64 = 1000;

/// All keys of the installation, ready for use.
pub(super) struct Keyring {
    read_ms: i64,
    newest: Option<Newest>,
    verifying: BTreeMap<String, DecodingKey>,
    jwks: Value,
}

/// The key that signs.
struct Newest {
    kid: String,
    key: EncodingKey,
    created_ms: i64,
}

impl Keyring {
    fn new(keys: &[SigningKey], read_ms: i64) -> Result<Self> {
        let mut verifying = BTreeMap::new();
        let mut published = Vec::new();
        for key in keys {
            let jwk: Value =
                serde_json::from_str(&key.public_jwk).map_err(|_| unreadable(&key.kid))?;
            let parsed = serde_json::from_value(jwk.clone())
                .ok()
                .and_then(|jwk| DecodingKey::from_jwk(&jwk).ok())
                .ok_or_else(|| unreadable(&key.kid))?;
            verifying.insert(key.kid.clone(), parsed);
            published.push(jwk);
        }
        let newest = keys.iter().find(|key| key.retired_ms.is_none());
        let newest = newest.map(Newest::new).transpose()?;
        Ok(Self {
            read_ms,
            newest,
            verifying,
            jwks: json!({ "keys": published }),
        })
    }

    /// Returns the key of a name.
    pub fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.get(kid)
    }

    /// Returns the key that signs and its name.
    pub fn signing(&self) -> Option<(&str, &EncodingKey)> {
        self.newest
            .as_ref()
            .map(|newest| (newest.kid.as_str(), &newest.key))
    }

    fn is_due(&self, now_ms: i64) -> bool {
        self.newest
            .as_ref()
            .is_none_or(|newest| now_ms - newest.created_ms >= KEY_AGE_MS_MAX)
    }
}

impl Newest {
    fn new(key: &SigningKey) -> Result<Self> {
        Ok(Self {
            kid: key.kid.clone(),
            key: EncodingKey::from_ec_pem(key.private_pem.as_bytes())
                .map_err(|_| unreadable(&key.kid))?,
            created_ms: key.created_ms,
        })
    }
}

impl Engine {
    /// Returns the public keys as a JWK set.
    pub async fn jwks(&self) -> Result<Value> {
        Ok(self.signing_keyring().await?.jwks.clone())
    }

    /// Makes a new key that signs from now on; what the old one signed stays valid.
    pub async fn rotate_signing_key(&self) -> Result<()> {
        self.replace_signing_key(true).await
    }

    /// Returns the keys, with one that may sign.
    pub(super) async fn signing_keyring(&self) -> Result<Arc<Keyring>> {
        let keyring = self.keyring().await?;
        if !keyring.is_due(self.now_ms()) {
            return Ok(keyring);
        }
        self.replace_signing_key(false).await?;
        self.read_keyring().await
    }

    /// Returns the keys as this node knows them.
    pub(super) async fn keyring(&self) -> Result<Arc<Keyring>> {
        let known = lock(&self.identity().keyring).clone();
        match known {
            Some(known) if is_fresh(known.read_ms, self.now_ms(), KEYRING_FRESH_MS) => Ok(known),
            _ => self.read_keyring().await,
        }
    }

    /// Returns the keys after a token named one that this node does not know.
    pub(super) async fn keyring_for_stranger(&self) -> Result<Arc<Keyring>> {
        if !self.may_reread() {
            return self.keyring().await;
        }
        self.read_keyring().await
    }

    /// Whether an unknown key may make this node read again now.
    fn may_reread(&self) -> bool {
        let now_ms = self.now_ms();
        let mut reread_ms = lock(&self.identity().reread_ms);
        if is_fresh(*reread_ms, now_ms, REREAD_MS) {
            return false;
        }
        *reread_ms = now_ms;
        true
    }

    async fn read_keyring(&self) -> Result<Arc<Keyring>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let keys = read.list_signing_keys().await.map_err(db)?;
        drop(read);
        let fresh = Arc::new(Keyring::new(&keys, self.now_ms())?);
        let identity = self.identity();
        let before = lock(&identity.keyring).replace(fresh.clone());
        let is_same = |old: &Arc<Keyring>| {
            old.verifying
                .keys()
                .all(|kid| fresh.verifying.contains_key(kid))
        };
        if !before.as_ref().is_none_or(is_same) {
            // A key is gone: what it signed counts no more.
            lock(&identity.tokens).clear();
        }
        Ok(fresh)
    }

    async fn replace_signing_key(&self, is_forced: bool) -> Result<()> {
        let now_ms = self.now_ms();
        let fresh = generate(now_ms)?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        let keys = tx.list_signing_keys().await.map_err(db)?;
        let is_young = |key: &&SigningKey| {
            key.retired_ms.is_none() && now_ms - key.created_ms < KEY_AGE_MS_MAX
        };
        if is_forced || !keys.iter().any(|key| is_young(&key)) {
            tx.put_signing_key(&fresh).await.map_err(db)?;
            for key in keys {
                match key.retired_ms {
                    None => tx
                        .put_signing_key(&SigningKey {
                            retired_ms: Some(now_ms),
                            ..key
                        })
                        .await
                        .map_err(db)?,
                    Some(retired_ms) if now_ms - retired_ms > KEY_KEPT_MS => {
                        tx.delete_signing_key(&key.kid).await.map_err(db)?;
                    }
                    Some(_) => {}
                }
            }
        }
        tx.commit().await.map_err(db)?;
        *lock(&self.identity().keyring) = None;
        Ok(())
    }
}

/// Makes a key for ES256, named after its public half.
pub(super) fn generate(now_ms: i64) -> Result<SigningKey> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| {
        tracing::error!(%error, "no signing key can be made");
        Error::internal()
    })?;
    // An uncompressed point: 4, then 32 bytes of x, then 32 bytes of y (SEC 1, 2.3.3).
    let point = pair.public_key_raw();
    let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
        return Err(unreadable("new"));
    };
    let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(point)[..16]);
    let jwk = json!({
        "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    Ok(SigningKey {
        kid,
        private_pem: pair.serialize_pem(),
        public_jwk: jwk.to_string(),
        created_ms: now_ms,
        retired_ms: None,
    })
}

fn unreadable(kid: &str) -> Error {
    tracing::error!(key.id = %kid, "a signing key cannot be read");
    Error::internal()
}
