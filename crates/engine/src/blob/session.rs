//! Who speaks on the blob plane and what it may do there.
//!
//! A session is made from exactly one proof: an account key, a SAS, or a token. Every use case asks
//! [`Engine::allow`] first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Resource, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::failure::{authentication_failed, not_permitted};
use super::names::BlobPath;
use crate::storage_account::keys_of;
use crate::{Ctx, Engine};

/// What a request reaches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The account's blob service.
    Service,
    /// A container.
    Container,
    /// A blob.
    Object,
}

/// What a request needs: any of the SAS letters, or the role action.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    level: Level,
    letters: &'static str,
    action: &'static str,
}

const fn need(level: Level, letters: &'static str, action: &'static str) -> Need {
    Need {
        level,
        letters,
        action,
    }
}

pub(super) const SERVICE_READ: Need = need(
    Level::Service,
    "r",
    "Microsoft.Storage/storageAccounts/blobServices/read",
);
pub(super) const CONTAINERS_LIST: Need = need(Level::Service, "l", CONTAINER_READ_ACTION);
pub(super) const CONTAINER_READ: Need = need(Level::Container, "r", CONTAINER_READ_ACTION);
pub(super) const CONTAINER_CREATE: Need = need(Level::Container, "cw", CONTAINER_WRITE_ACTION);
pub(super) const CONTAINER_WRITE: Need = need(Level::Container, "w", CONTAINER_WRITE_ACTION);
pub(super) const CONTAINER_DELETE: Need = need(
    Level::Container,
    "d",
    "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
);
pub(super) const BLOBS_LIST: Need = need(Level::Container, "l", BLOB_READ_ACTION);
pub(super) const BLOB_READ: Need = need(Level::Object, "r", BLOB_READ_ACTION);
pub(super) const BLOB_CREATE: Need = need(Level::Object, "cw", BLOB_WRITE_ACTION);
pub(super) const BLOB_WRITE: Need = need(Level::Object, "w", BLOB_WRITE_ACTION);
pub(super) const BLOB_DELETE: Need = need(
    Level::Object,
    "d",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
);

const CONTAINER_READ_ACTION: &str =
    "Microsoft.Storage/storageAccounts/blobServices/containers/read";
const CONTAINER_WRITE_ACTION: &str =
    "Microsoft.Storage/storageAccounts/blobServices/containers/write";
/// Reading the bytes of blobs.
pub(crate) const BLOB_READ_ACTION: &str =
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";
pub(super) const BLOB_WRITE_ACTION: &str =
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";

/// What a verified SAS allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SasRights {
    /// `sp`: letters.
    pub permissions: String,
    /// `srt`: levels of an account SAS; empty for a service SAS.
    pub levels: Vec<Level>,
    /// The one container of a service SAS.
    pub container: Option<String>,
    /// The one blob of a service SAS.
    pub blob: Option<String>,
}

impl Need {
    /// Returns the action, as roles name it.
    pub(super) const fn action(&self) -> &'static str {
        self.action
    }
}

impl SasRights {
    fn check(&self, need: &Need, at: Option<&BlobPath>, container: Option<&str>) -> Result<()> {
        match &self.container {
            None if !self.levels.contains(&need.level) => {
                return Err(not_permitted("AuthorizationResourceTypeMismatch"));
            }
            None => {}
            Some(scope) => {
                let is_listing =
                    need.level == Level::Container && need.letters == "l" && self.blob.is_none();
                if need.level != Level::Object && !is_listing {
                    return Err(not_permitted("AuthorizationResourceTypeMismatch"));
                }
                if container != Some(scope)
                    || self
                        .blob
                        .as_deref()
                        .is_some_and(|b| at.is_none_or(|p| p.name() != b))
                {
                    return Err(not_permitted("AuthorizationFailure"));
                }
            }
        }
        if need
            .letters
            .chars()
            .any(|letter| self.permissions.contains(letter))
        {
            return Ok(());
        }
        Err(not_permitted("AuthorizationPermissionMismatch"))
    }
}

pub(super) enum Proof {
    Key,
    Sas(SasRights),
    Token(Box<Ctx>),
}

/// A verified caller of one account.
pub struct Session {
    pub(super) account: Resource,
    pub(super) proof: Proof,
    /// The tenant of the account.
    pub(super) tenant: String,
    /// The address that the request came from.
    pub(super) client: String,
    /// The request's id in the audit.
    pub(super) correlation_id: Uuid,
}

impl Session {
    fn new(account: Resource, proof: Proof, tenant: String) -> Self {
        Self {
            account,
            proof,
            tenant,
            client: String::new(),
            correlation_id: Uuid::new_v4(),
        }
    }

    /// Returns the key that the account's rows hang on.
    pub(super) fn key(&self) -> String {
        self.account.id.key()
    }

    /// Returns the account.
    pub fn account(&self) -> &Resource {
        &self.account
    }

    /// Returns the account's name.
    pub fn account_name(&self) -> &str {
        self.account.id.name()
    }

    /// Returns what tells this caller from others: a principal, or whoever holds the account's keys.
    pub fn caller_name(&self) -> String {
        match &self.proof {
            Proof::Token(ctx) => ctx.caller.object_id.clone(),
            Proof::Key | Proof::Sas(_) => format!("keys:{}", self.account_name()),
        }
    }

    /// Returns the account's SKU and kind.
    pub fn account_info(&self) -> (&str, &str) {
        let sku = self
            .account
            .top
            .get("sku")
            .and_then(|s| s.get("name"))
            .and_then(serde_json::Value::as_str);
        let kind = self
            .account
            .top
            .get("kind")
            .and_then(serde_json::Value::as_str);
        (sku.unwrap_or("Standard_LRS"), kind.unwrap_or("StorageV2"))
    }

    pub(super) fn region(&self) -> &str {
        &self.account.location
    }

    /// Whether the caller may replace what is there, not only create.
    pub(super) fn may_overwrite(&self) -> bool {
        match &self.proof {
            Proof::Sas(rights) => rights.permissions.contains('w'),
            _ => true,
        }
    }
}

impl Engine {
    async fn tenant_of(&self, account: &Resource) -> Result<String> {
        let known = self.known_subscription(account.id.subscription()).await?;
        Ok(known.map(|s| s.tenant).unwrap_or_default())
    }

    /// Returns the session of a request signed with an account key over any of `strings`.
    pub async fn session_by_key(
        &self,
        account: &str,
        strings: &[String],
        signature: &str,
    ) -> Result<Session> {
        let account = self.load_account(account).await?;
        check_shared_key(&account)?;
        verify(&account, strings, signature)?;
        let tenant = self.tenant_of(&account).await?;
        Ok(Session::new(account, Proof::Key, tenant))
    }

    /// Returns the session of a request whose URL carries a SAS; the caller has checked its times.
    pub async fn session_by_sas(
        &self,
        account: &str,
        strings: &[String],
        signature: &str,
        rights: SasRights,
    ) -> Result<Session> {
        let account = self.load_account(account).await?;
        check_shared_key(&account)?;
        verify(&account, strings, signature)?;
        let tenant = self.tenant_of(&account).await?;
        Ok(Session::new(account, Proof::Sas(rights), tenant))
    }

    /// Returns the session of a request with a bearer token for storage.
    pub async fn session_by_token(
        &self,
        account: &str,
        token: &str,
        base_url: &str,
    ) -> Result<Session> {
        let caller = self.authenticate_storage(token).await?;
        let account = self.load_account(account).await?;
        let ctx = Ctx {
            auxiliary: Vec::new(),
            client: String::new(),
            caller,
            api_version: String::new(),
            base_url: base_url.to_owned(),
            correlation_id: Uuid::new_v4(),
        };
        let tenant = self.tenant_of(&account).await?;
        Ok(Session::new(account, Proof::Token(Box::new(ctx)), tenant))
    }

    /// Refuses unless the session's proof covers what is needed; a refusal is recorded.
    pub(super) async fn allow(
        &self,
        session: &Session,
        need: &Need,
        container: Option<&str>,
        blob: Option<&BlobPath>,
    ) -> Result<()> {
        let outcome = self.is_allowed(session, need, container, blob).await;
        if let Err(error) = &outcome
            && error.kind == domain::ErrorKind::Forbidden
        {
            let name = blob.map(BlobPath::name);
            self.audit_not_permitted(session, need.action, container, name, error)
                .await;
        }
        outcome
    }

    async fn is_allowed(
        &self,
        session: &Session,
        need: &Need,
        container: Option<&str>,
        blob: Option<&BlobPath>,
    ) -> Result<()> {
        match &session.proof {
            Proof::Key => Ok(()),
            Proof::Sas(rights) => rights.check(need, blob, container),
            Proof::Token(ctx) => self
                .authorize_data(ctx, need.action, &session.account.id.to_string())
                .await
                .map_err(|error| match error.kind {
                    domain::ErrorKind::Forbidden | domain::ErrorKind::NotFound => {
                        not_permitted("AuthorizationPermissionMismatch")
                    }
                    _ => error,
                }),
        }
    }
}

fn check_shared_key(account: &Resource) -> Result<()> {
    let allowed = account
        .properties
        .get("allowSharedKeyAccess")
        .and_then(serde_json::Value::as_bool);
    if allowed == Some(false) {
        return Err(domain::Error::new(
            domain::ErrorKind::Forbidden,
            "KeyBasedAuthenticationNotPermitted",
            "Key based authentication is not permitted on this storage account.",
        ));
    }
    Ok(())
}

/// Checks a signature against both keys and every string, whichever fits, in constant time.
fn verify(account: &Resource, strings: &[String], signature: &str) -> Result<()> {
    let failed = || authentication_failed("The signature does not match.");
    let sent = STANDARD.decode(signature).map_err(|_| failed())?;
    let mut fits = subtle::Choice::from(0);
    for key in keys_of(account) {
        for string in strings {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| failed())?;
            mac.update(string.as_bytes());
            fits |= mac.finalize().into_bytes().as_slice().ct_eq(&sent);
        }
    }
    if bool::from(fits) {
        Ok(())
    } else {
        Err(failed())
    }
}
