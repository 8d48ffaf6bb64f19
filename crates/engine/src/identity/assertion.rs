//! Programs that sign in with an assertion (RFC 7523): a JWT that a registered key signed.
//!
//! An assertion counts when a key of the application signed it with an algorithm of that key's
//! family, it is about and from the application, for this service, within its time, and no other
//! request has used its `jti`. Without a `jti` it may be used until it is over: Terraform sends one
//! token several times.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use catalog::{Principal, PrincipalKey};
use domain::{Error, Result};

use super::certificate::public_key_of;
use super::error::{SignInError, SignInResult, db};
use super::grants::Place;
use super::secrets;
use super::tokens::{SKEW_SECONDS, TOKEN_BYTES_MAX};
use crate::Engine;

/// Keys of one principal.
pub(super) const KEYS_MAX: usize = 10;
/// The longest key or chain of certificates that is read, in bytes.
const KEY_BYTES_MAX: usize = 32 << 10;
/// The longest life of an assertion, in seconds.
const LIFE_SECONDS_MAX: i64 = 24 * 3600;
/// What programs may sign with; no symmetric algorithm, not `none`.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    #[serde(default)]
    nbf: Option<NumericDate>,
    #[serde(default)]
    jti: Option<String>,
}

/// Seconds since the epoch; a fraction is cut off (RFC 7519, 2): MSAL sends one.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct NumericDate(i64);

impl TryFrom<serde_json::Number> for NumericDate {
    type Error = &'static str;

    fn try_from(number: serde_json::Number) -> std::result::Result<Self, Self::Error> {
        let text = number.to_string();
        let whole = text.split('.').next().unwrap_or(&text);
        whole.parse().map(Self).map_err(|_| "not a time")
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Engine {
    /// Returns the application whose key signed the assertion.
    pub(super) async fn client_by_assertion(
        &self,
        place: &Place,
        client_id: &str,
        base_url: &str,
        assertion: &SecretString,
    ) -> SignInResult<Principal> {
        let assertion = assertion.expose_secret();
        if assertion.len() > TOKEN_BYTES_MAX {
            return Err(SignInError::Malformed("client_assertion"));
        }
        let client = self.client(place, client_id).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let keys = read
            .list_principal_keys(&client.object_id)
            .await
            .map_err(db)?;
        drop(read);
        let claims = verify(assertion, &keys)
            .ok_or_else(|| SignInError::WrongSignature(client_id.to_owned()))?;
        self.check_assertion(&claims, client_id, &client.tenant, base_url)?;
        self.use_once(&claims, &client.object_id).await?;
        Ok(client)
    }

    fn check_assertion(
        &self,
        claims: &Claims,
        client_id: &str,
        tenant: &str,
        base_url: &str,
    ) -> SignInResult<()> {
        if !claims.iss.eq_ignore_ascii_case(client_id) {
            return Err(SignInError::AssertionClaim("iss"));
        }
        if !claims.sub.eq_ignore_ascii_case(client_id) {
            return Err(SignInError::AssertionClaim("sub"));
        }
        let is_ours = match &claims.aud {
            Audience::One(aud) => is_our_audience(aud, tenant, base_url),
            Audience::Many(all) => all.iter().any(|aud| is_our_audience(aud, tenant, base_url)),
        };
        if !is_ours {
            return Err(SignInError::AssertionClaim("aud"));
        }
        let now = self.now_ms().div_euclid(1000);
        let is_over = now >= claims.exp.0.saturating_add(SKEW_SECONDS);
        let lives_too_long = claims.exp.0.saturating_sub(now) > LIFE_SECONDS_MAX;
        let is_early = claims
            .nbf
            .is_some_and(|nbf| nbf.0 > now.saturating_add(SKEW_SECONDS));
        if is_over || lives_too_long || is_early {
            return Err(SignInError::AssertionTime);
        }
        Ok(())
    }

    async fn use_once(&self, claims: &Claims, object_id: &str) -> SignInResult<()> {
        let Some(jti) = &claims.jti else {
            return Ok(());
        };
        let hash = secrets::digest(&format!("{object_id} {jti}"));
        let forgotten_ms = claims
            .exp
            .0
            .saturating_add(SKEW_SECONDS + 1)
            .saturating_mul(1000);
        let mut tx = self.catalog().write().await.map_err(db)?;
        let is_first = tx.use_assertion(&hash, forgotten_ms).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        if is_first {
            Ok(())
        } else {
            Err(SignInError::AssertionReplayed)
        }
    }
}

/// Whether an assertion for `aud` is for us: the token endpoint or the issuer of the tenant.
fn is_our_audience(aud: &str, tenant: &str, base_url: &str) -> bool {
    let issuers = [
        format!("{base_url}/{tenant}/v2.0"),
        format!("{base_url}/{tenant}"),
        format!("{base_url}/adfs"),
    ];
    let endpoints = [
        format!("{base_url}/{tenant}/oauth2/v2.0/token"),
        format!("{base_url}/{tenant}/oauth2/token"),
        format!("{base_url}/adfs/oauth2/token"),
    ];
    issuers
        .iter()
        .chain(&endpoints)
        .any(|own| own.eq_ignore_ascii_case(aud.trim_end_matches('/')))
        || aud.eq_ignore_ascii_case("api://AzureADTokenExchange")
}

fn verify(assertion: &str, keys: &[PrincipalKey]) -> Option<Claims> {
    let header = jsonwebtoken::decode_header(assertion).ok()?;
    if !ALGORITHMS.contains(&header.alg) {
        return None;
    }
    let mut rules = Validation::new(header.alg);
    // Times are checked against the engine's clock, the audience by the caller.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    keys.iter()
        .filter_map(|key| parse(&key.public_key))
        .find_map(|key| {
            jsonwebtoken::decode::<Claims>(assertion, &key, &rules)
                .ok()
                .map(|data| data.claims)
        })
}

/// Reads a public key: PEM or a JWK.
fn parse(text: &str) -> Option<DecodingKey> {
    if text.trim_start().starts_with('{') {
        let key = DecodingKey::from_jwk(&serde_json::from_str(text).ok()?).ok()?;
        return matches!(key.family(), AlgorithmFamily::Rsa | AlgorithmFamily::Ec).then_some(key);
    }
    if text.contains("PRIVATE KEY") {
        return None;
    }
    let pem = text.as_bytes();
    DecodingKey::from_rsa_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .ok()
}

/// Returns a public key as it is kept; refuses what is none.
pub(super) fn public_key(text: &str) -> Result<String> {
    let text = text.trim();
    let key = if text.contains("CERTIFICATE") {
        public_key_of(text)
    } else {
        Some(text.to_owned())
    };
    key.filter(|key| text.len() <= KEY_BYTES_MAX && parse(key).is_some()).ok_or_else(|| {
        Error::bad_request(
            "The key cannot be read: a public RSA or EC key or certificate in PEM, or a JWK, is needed.",
        )
    })
}
