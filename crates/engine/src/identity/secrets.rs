//! Secrets: made at random, kept as argon2id, compared in constant time.
//!
//! What the server makes itself (refresh tokens, device codes, the identity header) has 256 random
//! bits, so its SHA-256 is enough; what people choose goes through argon2id. Callers
//! take a turn first: at most [`HASHES_AT_ONCE`] hashes run at a time, which bounds memory and CPU
//! of a flood of sign-ins.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, Result};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Hashes that run at a time; each takes 19 MiB.
pub(super) const HASHES_AT_ONCE: usize = 3;
/// The longest secret that is hashed, in bytes.
pub(super) const SECRET_BYTES_MAX: usize = 1024;
/// Verified in place of the hash of somebody who is not there, so that both take the same time.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$dml0cmluZS1ub2JvZHktMQ$7CeZv6BGle8ZknbbhcR05EHpRMhUu7lTi2mTcBoh3z4";

/// Returns `bytes` random bytes as base64url without padding.
pub(super) fn random_text(bytes: usize) -> Result<String> {
    let mut raw = vec![0_u8; bytes];
    fill(&mut raw)?;
    Ok(URL_SAFE_NO_PAD.encode(raw))
}

/// Fills a buffer from the system's generator.
pub(super) fn fill(buffer: &mut [u8]) -> Result<()> {
    getrandom::fill(buffer).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Error::internal()
    })
}

/// Returns the SHA-256 of a text as base64url.
pub(super) fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
pub(super) fn is_equal(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Returns the argon2id hash of a secret in PHC form.
pub(super) async fn hash(secret: SecretString) -> Result<String> {
    let hashed = tokio::task::spawn_blocking(move || {
        Argon2::default()
            .hash_password(secret.expose_secret().as_bytes())
            .map(|hash| hash.to_string())
    })
    .await;
    match hashed {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error)) => {
            tracing::error!(%error, "secret cannot be hashed");
            Err(Error::internal())
        }
        Err(error) => {
            tracing::error!(%error, "hashing stopped");
            Err(Error::internal())
        }
    }
}

/// Whether a secret has this hash; without a hash the answer is no, after the same time.
pub(super) async fn verify(secret: SecretString, hash: Option<String>) -> Result<bool> {
    if secret.expose_secret().len() > SECRET_BYTES_MAX {
        return Ok(false);
    }
    let verified = tokio::task::spawn_blocking(move || {
        let is_somebody = hash.is_some();
        let text = hash.as_deref().unwrap_or(NOBODY);
        let Ok(parsed) = PasswordHash::new(text) else {
            return false;
        };
        Argon2::default()
            .verify_password(secret.expose_secret().as_bytes(), &parsed)
            .is_ok()
            && is_somebody
    })
    .await;
    verified.map_err(|error| {
        tracing::error!(%error, "verifying stopped");
        Error::internal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_verifies_its_own_secret_and_no_other() {
        let hashed = hash("right".to_owned().into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(
            verify("right".to_owned().into(), Some(hashed.clone()))
                .await
                .unwrap()
        );
        assert!(
            !verify("wrong".to_owned().into(), Some(hashed))
                .await
                .unwrap()
        );
        assert!(!verify("right".to_owned().into(), None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_can_be_parsed_so_that_it_costs_the_same_time() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }
}
