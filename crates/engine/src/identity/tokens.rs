//! Access and id tokens: what they say, how they are made, when they count.
//!
//! An access token counts when this installation signed it with ES256, its issuer is this
//! installation and its tenant, its class is the plane's, and its time has come and is not over.
//! An id token has neither class nor that issuer, so it never counts as an access token.

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use catalog::{Principal, PrincipalKind};
use domain::{Error, ErrorKind, Result};

use super::audience::AudienceClass;
use super::keys::Keyring;
use crate::Engine;
use crate::error::catalog as db;

/// How long an access token counts, in seconds.
pub(super) const TOKEN_SECONDS: i64 = 3600;
/// How far clocks may differ, in seconds.
pub(super) const SKEW_SECONDS: i64 = 300;
/// The longest token that is looked at, in bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 8192;
const INSTALLATION_SETTING: &str = "installation-id";

/// What an access token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub aud: String,
    pub iss: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub oid: String,
    pub sub: String,
    pub tid: String,
    pub appid: String,
    pub idtyp: String,
    pub ver: String,
    pub uti: String,
    /// Which plane accepts the token.
    pub vitrine_class: AudienceClass,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unique_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub xms_mirid: Option<String>,
}

/// For whom a token is made.
pub(super) struct Subject<'a> {
    pub principal: &'a Principal,
    /// The client a user came with; of a program its own application id.
    pub app_id: &'a str,
    /// The audience as the client wrote it.
    pub audience: &'a str,
    pub class: AudienceClass,
    /// The resource id of a managed identity.
    pub resource_id: Option<String>,
}

impl Engine {
    /// Returns the issuer of a tenant's access tokens; it does not depend on how we are reached.
    pub(super) async fn issuer(&self, tenant: &str) -> Result<String> {
        let installation = self
            .identity()
            .issuer
            .get_or_try_init(|| self.installation())
            .await?;
        Ok(format!("urn:vitrine:{installation}:{tenant}"))
    }

    async fn installation(&self) -> Result<String> {
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.put_setting_if_absent(INSTALLATION_SETTING, &Uuid::new_v4().to_string())
            .await
            .map_err(db)?;
        let kept = tx.setting(INSTALLATION_SETTING).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        kept.ok_or_else(Error::internal)
    }

    /// Returns a signed access token.
    pub(super) async fn mint(&self, subject: &Subject<'_>) -> Result<String> {
        let now = self.now_ms().div_euclid(1000);
        let principal = subject.principal;
        let is_user = principal.kind == PrincipalKind::User;
        let user_name = is_user.then(|| principal.name.clone());
        let claims = Claims {
            aud: subject.audience.to_owned(),
            iss: self.issuer(&principal.tenant).await?,
            iat: now,
            nbf: now,
            exp: now + TOKEN_SECONDS,
            oid: principal.object_id.clone(),
            sub: principal.object_id.clone(),
            tid: principal.tenant.clone(),
            appid: subject.app_id.to_owned(),
            idtyp: if is_user { "user" } else { "app" }.to_owned(),
            ver: "1.0".to_owned(),
            uti: Uuid::new_v4().simple().to_string(),
            vitrine_class: subject.class,
            name: user_name.clone(),
            upn: user_name.clone(),
            unique_name: user_name,
            scp: is_user.then(|| "user_impersonation".to_owned()),
            xms_mirid: subject.resource_id.clone(),
        };
        self.sign(&claims).await
    }

    /// Returns a signed id token, by which a client learns who has signed in.
    pub(super) async fn mint_id_token(
        &self,
        principal: &Principal,
        client_id: &str,
        base_url: &str,
    ) -> Result<String> {
        let now = self.now_ms().div_euclid(1000);
        self.sign(&json!({
            "aud": client_id,
            "iss": format!("{base_url}/{}/v2.0", principal.tenant),
            "iat": now, "nbf": now, "exp": now + TOKEN_SECONDS,
            "oid": principal.object_id, "sub": principal.object_id, "tid": principal.tenant,
            "preferred_username": principal.name, "name": principal.name,
            "upn": principal.name, "unique_name": principal.name, "ver": "2.0",
        }))
        .await
    }

    async fn sign<T: Serialize>(&self, claims: &T) -> Result<String> {
        let keyring = self.signing_keyring().await?;
        let (kid, key) = keyring.signing().ok_or_else(Error::internal)?;
        let header = Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, key).map_err(|error| {
            tracing::error!(%error, "a token cannot be signed");
            Error::internal()
        })
    }

    /// Returns what a token says, when a key of this installation signed it.
    pub(super) async fn verify_signature(&self, token: &str) -> Result<Claims> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid_token())?;
        if header.alg != Algorithm::ES256 {
            return Err(invalid_token());
        }
        let kid = header.kid.as_deref().ok_or_else(invalid_token)?;
        let known = self.keyring().await?;
        if known.verifying(kid).is_some() {
            return decode(token, kid, &known);
        }
        decode(token, kid, &*self.keyring_for_stranger().await?)
    }

    /// Refuses claims that do not count now, or not here.
    pub(super) async fn check_claims(&self, claims: &Claims, class: AudienceClass) -> Result<()> {
        if claims.iss != self.issuer(&claims.tid).await? {
            return Err(unauthenticated(
                "InvalidAuthenticationTokenTenant",
                format!(
                    "The access token is from the wrong issuer '{}'.",
                    claims.iss
                ),
            ));
        }
        if claims.vitrine_class != class {
            return Err(unauthenticated(
                "InvalidAuthenticationTokenAudience",
                format!(
                    "The access token has been obtained for wrong audience or resource '{}'.",
                    claims.aud
                ),
            ));
        }
        let now = self.now_ms().div_euclid(1000);
        if now >= claims.exp.saturating_add(SKEW_SECONDS) {
            return Err(unauthenticated(
                "ExpiredAuthenticationToken",
                format!(
                    "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
                    arm::time::format_zulu(claims.exp.saturating_mul(1000)),
                    arm::time::format_zulu(self.now_ms()),
                ),
            ));
        }
        if claims.nbf > now.saturating_add(SKEW_SECONDS) {
            return Err(unauthenticated(
                "InvalidAuthenticationToken",
                "The access token is not yet valid.",
            ));
        }
        Ok(())
    }
}

fn decode(token: &str, kid: &str, keyring: &Keyring) -> Result<Claims> {
    let key = keyring.verifying(kid).ok_or_else(invalid_token)?;
    let mut rules = Validation::new(Algorithm::ES256);
    // Times are checked against the engine's clock, the audience by its class.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    jsonwebtoken::decode::<Claims>(token, key, &rules)
        .map(|data| data.claims)
        .map_err(|_| invalid_token())
}

/// 401 with a code of its own.
pub(super) fn unauthenticated(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unauthenticated, code, message)
}

/// 401 `InvalidAuthenticationToken`.
pub(super) fn invalid_token() -> Error {
    unauthenticated("InvalidAuthenticationToken", "The access token is invalid.")
}
