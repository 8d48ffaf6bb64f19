//! Tokens of other OpenID providers, accepted beside our own where the operator says so.
//!
//! A token counts when its issuer is one that the configuration names, to the letter; a key of that
//! issuer's JWK set, named by `kid`, signed it with an algorithm that the configuration allows; it is for
//! one of the configured audiences, within its time, and its subject stands for a principal here. What it
//! says of rights or names is nothing: those are the principal's. Groups count where the configuration names
//! their claim and the operator has linked them ([`links`]).
//!
//! Keys are fetched when they are needed, kept for [`KEYS_FRESH_MS`], and fetched again when a token names
//! one that is not among them, at most once in [`REFETCH_MS`]. While the provider does not answer, keys
//! count for [`KEYS_KEPT_MS`]; then its tokens do not.

mod links;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, Result};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::tokens::{SKEW_SECONDS, invalid_token, unauthenticated};
use super::{is_fresh, lock, remember};
use crate::{Caller, Engine};

/// How long fetched keys are taken for what the provider has.
pub const KEYS_FRESH_MS: i64 = 10 * 60 * 1000;
/// How long fetched keys count while the provider does not answer.
pub const KEYS_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// How often a key that is not known, or a provider that is down, may make this node ask.
pub const REFETCH_MS: i64 = 30_000;
/// Keys of one set.
const KEYS_MAX: usize = 100;
/// Groups that are read of one token.
const GROUPS_MAX: usize = 1000;
/// Bytes of a subject, or of a group's name.
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
    groups_claim: Option<String>,
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
            groups_claim: None,
            algorithms,
        })
    }

    /// Returns the provider with the claim of its tokens that names groups; without one they name none.
    pub fn with_groups(mut self, claim: Option<&str>) -> Result<Self> {
        if claim == Some("") {
            return Err(Error::bad_request(format!(
                "The OpenID provider '{}' needs a name for the claim of groups.",
                self.issuer
            )));
        }
        self.groups_claim = claim.map(str::to_owned);
        Ok(self)
    }
}

/// What this node knows of providers.
#[derive(Default)]
pub(crate) struct State {
    trusted: OnceLock<Trusted>,
    tokens: Mutex<HashMap<[u8; 32], Arc<Verified>>>,
    subjects: Mutex<Subjects>,
    groups: Mutex<Groups>,
}

/// By issuer: when its groups were looked up, and the group here by the name there.
type Groups = HashMap<String, (i64, Arc<BTreeMap<String, String>>)>;

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
    groups: Vec<String>,
    /// Whether the provider says that there are groups which the token does not name.
    lacks_groups: bool,
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

    /// Whether a token claims to be of a configured provider; what it says otherwise is not believed yet.
    pub(super) fn is_external(&self, token: &str) -> bool {
        let trusted = self.identity().external.trusted.get();
        trusted.is_some_and(|trusted| trusted.provider_of(token).is_some())
    }

    /// Returns whom a token of a provider speaks for.
    pub(super) async fn external_caller(&self, token: &str) -> Result<Caller> {
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
        self.caller_of(&verified).await
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
    let (groups, lacks_groups) = groups_in(provider, claims);
    let subject = text(&provider.subject_claim);
    let subject = subject.filter(|s| (1..=SUBJECT_BYTES_MAX).contains(&s.len()));
    Ok(Verified {
        issuer: provider.issuer.clone(),
        subject: subject.ok_or_else(invalid_token)?.to_owned(),
        groups,
        lacks_groups,
        kid,
        exp: time("exp")?.ok_or_else(invalid_token)?,
        nbf: time("nbf")?,
    })
}

/// Returns the groups that a token names, and whether there are more that it does not.
///
/// A provider with too many groups for a token says where else they are (`_claim_names`, `hasgroups`). Nothing is
/// fetched from there: the token would choose whom this server calls.
fn groups_in(provider: &Provider, claims: &Value) -> (Vec<String>, bool) {
    let Some(claim) = &provider.groups_claim else {
        return (Vec::new(), false);
    };
    let named: Vec<&str> = match claims.get(claim) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_sized = |name: &&str| (1..=SUBJECT_BYTES_MAX).contains(&name.len());
    let groups: Vec<String> = named
        .into_iter()
        .filter(is_sized)
        .take(GROUPS_MAX)
        .map(str::to_owned)
        .collect();
    let elsewhere = claims
        .get("_claim_names")
        .and_then(|names| names.get(claim));
    let lacks = elsewhere.is_some() || claims.get("hasgroups") == Some(&Value::Bool(true));
    if lacks {
        tracing::warn!(
            issuer = %provider.issuer, claim,
            "an OpenID provider left groups out of a token; roles of these groups do not count for it. Let the provider send only \
             the groups that are assigned to this application"
        );
    }
    (groups, lacks)
}

/// Reads a numeric date; a fraction is cut off (RFC 7519, 2).
fn seconds(value: &Value) -> Option<i64> {
    let text = value.as_number()?.to_string();
    text.split('.').next()?.parse().ok()
}
