//! Tokens of other OpenID providers, accepted beside our own where the operator says so.
//!
//! A token counts when its issuer is one that the configuration names, to the letter; a key of that
//! issuer's JWK set, named by `kid`, signed it with an algorithm that the configuration allows; it is for
//! one of the configured audiences, within its time, and its subject stands for a principal here. What it
//! says of rights, groups or names is nothing: those are the principal's.
//!
//! Keys are fetched when they are needed, kept for [`KEYS_FRESH_MS`], and fetched again when a token names
//! one that is not among them, at most once in [`REFETCH_MS`]. While the provider does not answer, keys
//! count for [`KEYS_KEPT_MS`]; then its tokens do not.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::ExternalSubject;
use domain::{Error, Result};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::authenticate::Standing;
use super::operator::Change;
use super::tokens::{SKEW_SECONDS, invalid_token, unauthenticated};
use super::{PRINCIPAL_FRESH_MS, is_fresh, lock, remember};
use crate::Engine;
use crate::error::catalog as db;

/// How long fetched keys are taken for what the provider has.
pub const KEYS_FRESH_MS: i64 = 10 * 60 * 1000;
/// How long fetched keys count while the provider does not answer.
pub const KEYS_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// How often a key that is not known, or a provider that is down, may make this node ask.
pub const REFETCH_MS: i64 = 30_000;
/// Keys of one set.
const KEYS_MAX: usize = 100;
const LINK: &str = "Vitrine.Gallery/principals/subjects/write";
const UNLINK: &str = "Vitrine.Gallery/principals/subjects/delete";
/// Bytes of a subject.
const SUBJECT_BYTES_MAX: usize = 512;
/// Algorithms that a provider may be allowed; no symmetric one, not `none`.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
/// What a provider may sign with when the configuration does not say.
const ALGORITHMS_USUAL: [Algorithm; 3] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256];

/// A document on its way.
pub type Fetched = Pin<Box<dyn Future<Output = std::result::Result<Vec<u8>, String>> + Send>>;
/// Fetches the document at a URL; checks by itself which URLs may be called.
pub type Fetch = Arc<dyn Fn(String) -> Fetched + Send + Sync>;

/// A provider that the operator trusts.
#[derive(Clone, Debug)]
pub struct Provider {
    issuer: String,
    audiences: Vec<String>,
    jwks_uri: String,
    subject_claim: String,
    algorithms: Vec<Algorithm>,
}

impl Provider {
    /// Returns a provider; refuses a configuration under which every token, or none, would count.
    pub fn new(
        issuer: &str,
        audiences: &[String],
        jwks_uri: &str,
        subject_claim: Option<&str>,
        algorithms: Option<&[String]>,
    ) -> Result<Self> {
        let wrong =
            |what: &str| Error::bad_request(format!("The OpenID provider '{issuer}' {what}."));
        if issuer.is_empty() {
            return Err(wrong("needs an issuer"));
        }
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(wrong("needs at least one audience, and none may be empty"));
        }
        let algorithms = match algorithms {
            None => ALGORITHMS_USUAL.to_vec(),
            Some([]) => return Err(wrong("needs at least one algorithm")),
            Some(names) => names
                .iter()
                .map(|name| {
                    let known = ALGORITHMS.iter().find(|(known, _)| known == name);
                    known.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
                        wrong(&format!(
                            "cannot sign with '{name}': only asymmetric algorithms count"
                        ))
                    })
                })
                .collect::<Result<_>>()?,
        };
        let subject_claim = subject_claim.unwrap_or("sub");
        if subject_claim.is_empty() {
            return Err(wrong("needs a claim that names the subject"));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            audiences: audiences.to_vec(),
            jwks_uri: jwks_uri.to_owned(),
            subject_claim: subject_claim.to_owned(),
            algorithms,
        })
    }
}

/// What this node knows of providers.
#[derive(Default)]
pub(crate) struct State {
    trusted: OnceLock<Trusted>,
    tokens: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
    subjects: Mutex<Subjects>,
}

/// By issuer and subject: when it was looked up, and the principal that it stands for.
type Subjects = HashMap<(String, String), (i64, Option<String>)>;

struct Trusted {
    providers: Vec<Provider>,
    fetch: Fetch,
    /// By issuer; locked while it is fetched, so that one request fetches for all.
    keys: BTreeMap<String, tokio::sync::Mutex<KeySet>>,
}

/// The keys of a provider, as they were fetched.
#[derive(Clone, Default)]
struct KeySet {
    keys: Arc<BTreeMap<String, Key>>,
    fetched_ms: Option<i64>,
    asked_ms: Option<i64>,
}

struct Key {
    key: DecodingKey,
    algorithm: Option<String>,
}

/// What a verified token says.
struct Verified {
    issuer: String,
    subject: String,
    kid: String,
    exp: i64,
    nbf: Option<i64>,
}

impl Engine {
    /// Accepts the tokens of providers from now on; said once, at the start.
    pub fn trust_providers(&self, providers: Vec<Provider>, fetch: Fetch) -> Result<()> {
        let mut keys = BTreeMap::new();
        for provider in &providers {
            if keys
                .insert(provider.issuer.clone(), tokio::sync::Mutex::default())
                .is_some()
            {
                return Err(Error::bad_request(format!(
                    "The OpenID provider '{}' is configured twice.",
                    provider.issuer
                )));
            }
        }
        let trusted = Trusted {
            providers,
            fetch,
            keys,
        };
        let external = &self.identity().external;
        external.trusted.set(trusted).map_err(|_| Error::internal())
    }

    /// Lets a subject of another token service stand for a principal.
    pub async fn link_subject(
        &self,
        principal: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<ExternalSubject> {
        let found = self.find_principal(principal).await?;
        let is_sized = |text: &str| (1..=SUBJECT_BYTES_MAX).contains(&text.len());
        if !is_sized(issuer) || !is_sized(subject) {
            return Err(Error::bad_request(format!(
                "Issuer and subject have 1 to {SUBJECT_BYTES_MAX} bytes."
            )));
        }
        if found.kind == catalog::PrincipalKind::Group {
            return Err(Error::bad_request(format!(
                "'{}' is a group: nobody signs in as a group. Link a member.",
                found.name
            )));
        }
        let link = ExternalSubject {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            principal: found.object_id,
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        if !tx.put_external_subject(&link).await.map_err(db)? {
            return Err(Error::conflict(
                "Conflict",
                format!(
                    "The subject '{subject}' of '{issuer}' stands for another principal. Unlink it there first."
                ),
            ));
        }
        let change = Change::subject(&link, &found.tenant, true);
        self.audit_operator(&mut tx, LINK, change).await?;
        tx.commit().await.map_err(db)?;
        lock(&self.identity().external.subjects).clear();
        Ok(link)
    }

    /// Ends what a subject of another token service stands for.
    pub async fn unlink_subject(&self, issuer: &str, subject: &str) -> Result<()> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        let link = tx.external_subject(issuer, subject).await.map_err(db)?;
        let was_there = link.is_some();
        if let Some(link) = link {
            tx.delete_external_subject(issuer, subject)
                .await
                .map_err(db)?;
            let of = tx.load_principal(&link.principal).await.map_err(db)?;
            let tenant = of.map(|principal| principal.tenant).unwrap_or_default();
            let change = Change::subject(&link, &tenant, false);
            self.audit_operator(&mut tx, UNLINK, change).await?;
        }
        tx.commit().await.map_err(db)?;
        lock(&self.identity().external.subjects).clear();
        if was_there {
            return Ok(());
        }
        Err(Error::not_found(
            "SubjectNotFound",
            format!("The subject '{subject}' of '{issuer}' stands for nobody here."),
        ))
    }

    /// Returns the subjects that stand for a principal.
    pub async fn subjects_of(&self, principal: &str) -> Result<Vec<ExternalSubject>> {
        let found = self.find_principal(principal).await?;
        let mut read = self.catalog().read().await.map_err(db)?;
        read.external_subjects_of(&found.object_id)
            .await
            .map_err(db)
    }

    /// Whether a token claims to be of a configured provider; what it says otherwise is not believed yet.
    pub(super) fn is_external(&self, token: &str) -> bool {
        let trusted = self.identity().external.trusted.get();
        trusted.is_some_and(|trusted| trusted.provider_of(token).is_some())
    }

    /// Returns the principal that a token of a provider stands for.
    pub(super) async fn external_standing(&self, token: &str) -> Result<Arc<Standing>> {
        let external = &self.identity().external;
        let trusted = external.trusted.get().ok_or_else(invalid_token)?;
        let provider = trusted.provider_of(token).ok_or_else(invalid_token)?;
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = lock(&external.tokens).get(&digest).cloned();
        let verified = match known {
            Some(known) => {
                // A key that is gone takes its tokens with it.
                self.provider_key(trusted, provider, &known.kid).await?;
                known
            }
            None => {
                let fresh = Arc::new(self.verify_external(trusted, provider, token).await?);
                remember(&external.tokens, digest, fresh.clone());
                fresh
            }
        };
        self.check_external_time(&verified)?;
        let principal = self.subject_of(&verified.issuer, &verified.subject).await?;
        let standing = match principal {
            Some(principal) => self.standing(&principal).await?,
            None => None,
        };
        standing
            .filter(|standing| standing.principal.enabled)
            .ok_or_else(|| {
                unauthenticated(
                    "AuthenticationFailed",
                    "Authentication failed. The subject of the token stands for no account here, or for one that is disabled. \
                     The operator links it with 'vitrine principal link'.",
                )
            })
    }

    async fn verify_external(
        &self,
        trusted: &Trusted,
        provider: &Provider,
        token: &str,
    ) -> Result<Verified> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid_token())?;
        if !provider.algorithms.contains(&header.alg) {
            return Err(invalid_token());
        }
        let kid = header.kid.ok_or_else(invalid_token)?;
        let keys = self.provider_key(trusted, provider, &kid).await?;
        let key = keys.get(&kid).ok_or_else(invalid_token)?;
        let is_for = key
            .algorithm
            .as_ref()
            .is_none_or(|name| ALGORITHMS.contains(&(name.as_str(), header.alg)));
        if !is_for {
            return Err(invalid_token());
        }
        let mut rules = Validation::new(header.alg);
        // Times are checked against the engine's clock, issuer and audience below.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        let data = jsonwebtoken::decode::<Value>(token, &key.key, &rules);
        let claims = data.map_err(|_| invalid_token())?.claims;
        read_claims(provider, &claims, kid)
    }

    fn check_external_time(&self, verified: &Verified) -> Result<()> {
        let now = self.now_ms().div_euclid(1000);
        if now >= verified.exp.saturating_add(SKEW_SECONDS) {
            return Err(unauthenticated(
                "ExpiredAuthenticationToken",
                format!(
                    "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
                    arm::time::format_zulu(verified.exp.saturating_mul(1000)),
                    arm::time::format_zulu(self.now_ms()),
                ),
            ));
        }
        let starts = verified.nbf.unwrap_or(i64::MIN);
        if starts > now.saturating_add(SKEW_SECONDS) {
            return Err(unauthenticated(
                "InvalidAuthenticationToken",
                "The access token is not yet valid.",
            ));
        }
        Ok(())
    }

    /// Returns the keys of a provider with one of a name among them; asks the provider when that is due.
    async fn provider_key(
        &self,
        trusted: &Trusted,
        provider: &Provider,
        kid: &str,
    ) -> Result<Arc<BTreeMap<String, Key>>> {
        let now_ms = self.now_ms();
        let slot = trusted
            .keys
            .get(&provider.issuer)
            .ok_or_else(invalid_token)?;
        let mut set = slot.lock().await;
        let is_within = |since: Option<i64>, ms| since.is_some_and(|at| is_fresh(at, now_ms, ms));
        let is_known = set.keys.contains_key(kid) && is_within(set.fetched_ms, KEYS_FRESH_MS);
        if !is_known && !is_within(set.asked_ms, REFETCH_MS) {
            set.asked_ms = Some(now_ms);
            match (trusted.fetch)(provider.jwks_uri.clone()).await {
                Ok(document) => match read_keys(&document) {
                    Some(keys) => {
                        set.keys = Arc::new(keys);
                        set.fetched_ms = Some(now_ms);
                    }
                    None => {
                        tracing::warn!(issuer = %provider.issuer, "the keys of an OpenID provider cannot be read");
                    }
                },
                Err(error) => {
                    tracing::warn!(issuer = %provider.issuer, error, "the keys of an OpenID provider cannot be fetched");
                }
            }
        }
        let keys = set.keys.clone();
        if keys.contains_key(kid) && is_within(set.fetched_ms, KEYS_KEPT_MS) {
            return Ok(keys);
        }
        Err(invalid_token())
    }

    /// Returns the principal that a subject stands for; not older than a second.
    async fn subject_of(&self, issuer: &str, subject: &str) -> Result<Option<String>> {
        let subjects = &self.identity().external.subjects;
        let key = (issuer.to_owned(), subject.to_owned());
        let now_ms = self.now_ms();
        let known = lock(subjects).get(&key).cloned();
        if let Some((read_ms, principal)) = known
            && is_fresh(read_ms, now_ms, PRINCIPAL_FRESH_MS)
        {
            return Ok(principal);
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read.external_subject(issuer, subject).await.map_err(db)?;
        let principal = found.map(|found| found.principal);
        remember(subjects, key, (now_ms, principal.clone()));
        Ok(principal)
    }
}

impl Trusted {
    /// Returns the provider that a token names as its issuer, before anything of it is verified.
    fn provider_of(&self, token: &str) -> Option<&Provider> {
        let payload = token.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let issuer = claims.get("iss")?.as_str()?;
        self.providers
            .iter()
            .find(|provider| provider.issuer == issuer)
    }
}

/// Reads a JWK set; keys that are no public keys for signatures are left out.
fn read_keys(document: &[u8]) -> Option<BTreeMap<String, Key>> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let mut keys = BTreeMap::new();
    for value in document.get("keys")?.as_array()?.iter().take(KEYS_MAX) {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value.clone()) else {
            continue;
        };
        let is_for_signatures = jwk
            .common
            .public_key_use
            .as_ref()
            .is_none_or(|used| *used == PublicKeyUse::Signature);
        let (Some(kid), Ok(key)) = (jwk.common.key_id.clone(), DecodingKey::from_jwk(&jwk)) else {
            continue;
        };
        if is_for_signatures && key.family() != AlgorithmFamily::Hmac {
            let algorithm = value.get("alg").and_then(Value::as_str);
            let algorithm = algorithm.map(str::to_owned);
            keys.insert(kid, Key { key, algorithm });
        }
    }
    Some(keys)
}

fn read_claims(provider: &Provider, claims: &Value, kid: String) -> Result<Verified> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(provider.issuer.as_str()) {
        return Err(invalid_token());
    }
    let is_ours = |aud: &Value| {
        aud.as_str()
            .is_some_and(|aud| provider.audiences.iter().any(|ours| ours == aud))
    };
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    };
    if !is_for_us {
        return Err(unauthenticated(
            "InvalidAuthenticationTokenAudience",
            "The access token has been obtained for wrong audience or resource.",
        ));
    }
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or_else(invalid_token),
    };
    let subject = text(&provider.subject_claim);
    let subject = subject.filter(|s| (1..=SUBJECT_BYTES_MAX).contains(&s.len()));
    Ok(Verified {
        issuer: provider.issuer.clone(),
        subject: subject.ok_or_else(invalid_token)?.to_owned(),
        kid,
        exp: time("exp")?.ok_or_else(invalid_token)?,
        nbf: time("nbf")?,
    })
}

/// Reads a numeric date; a fraction is cut off (RFC 7519, 2).
fn seconds(value: &Value) -> Option<i64> {
    let text = value.as_number()?.to_string();
    text.split('.').next()?.parse().ok()
}
