//! Managed identity: a program on this machine gets a token without a secret of its own.
//!
//! The HTTP face lets only programs on this machine come this far.

use catalog::{Principal, PrincipalKind};
use secrecy::{ExposeSecret as _, SecretString};

use super::audience::Asked;
use super::bootstrap::{IDENTITY_SECRET_SETTING, LOCAL_IDENTITY_SETTING};
use super::error::{SignInError, SignInResult, db};
use super::grants::{Issued, audience};
use super::secrets;
use super::tokens::{Subject, TOKEN_SECONDS};
use crate::Engine;

/// What a local program asks.
pub struct LocalRequest {
    /// `https://host:port` as the program reached us.
    pub base_url: String,
    /// The audience.
    pub resource: String,
    /// Client id, object id or resource id of the identity; none means the machine's own.
    pub identity: Option<String>,
}

/// A token for a local program.
pub struct LocalIdentity {
    /// The token.
    pub issued: Issued,
    /// The application id of the identity.
    pub client_id: String,
}

impl Engine {
    /// Whether this is the secret that local programs show in a header.
    pub async fn is_identity_secret(&self, secret: &SecretString) -> SignInResult<bool> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let kept = read.setting(IDENTITY_SECRET_SETTING).await.map_err(db)?;
        Ok(kept
            .is_some_and(|kept| secrets::is_equal(&kept, &secrets::digest(secret.expose_secret()))))
    }

    /// Returns a token for a program on this machine.
    pub async fn issue_local(&self, request: &LocalRequest) -> SignInResult<LocalIdentity> {
        let asked = Asked::from_resource(&request.resource);
        let (audience, class) = audience(&asked, &request.base_url)?;
        let (principal, resource_id) = self.local_principal(request.identity.as_deref()).await?;
        let access_token = self
            .mint(&Subject {
                principal: &principal,
                app_id: &principal.app_id,
                audience: &audience,
                class,
                resource_id: Some(resource_id),
            })
            .await?;
        tracing::info!(principal.id = %principal.object_id, audience = %audience, "issued a token to a local program");
        Ok(LocalIdentity {
            client_id: principal.app_id,
            issued: Issued {
                access_token,
                expires_in_s: TOKEN_SECONDS,
                issued_s: self.now_ms().div_euclid(1000),
                resource: audience.into_owned(),
                scope: String::new(),
                refresh_token: None,
                id_token: None,
                client_info: None,
            },
        })
    }

    /// Returns the identity and its resource id.
    async fn local_principal(&self, named: Option<&str>) -> SignInResult<(Principal, String)> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = match named {
            Some(named) => {
                let wanted = named.rsplit('/').next().unwrap_or(named);
                let all = read.list_principals(None).await.map_err(db)?;
                all.into_iter().find(|p| {
                    p.kind == PrincipalKind::ManagedIdentity
                        && [&p.app_id, &p.object_id, &p.name]
                            .iter()
                            .any(|own| own.eq_ignore_ascii_case(wanted))
                })
            }
            None => match read.setting(LOCAL_IDENTITY_SETTING).await.map_err(db)? {
                Some(object_id) => read.load_principal(&object_id).await.map_err(db)?,
                None => None,
            },
        };
        let principal = found
            .filter(|p| p.enabled)
            .ok_or(SignInError::UnknownIdentity)?;
        let subscriptions = read
            .list_subscriptions(Some(&principal.tenant))
            .await
            .map_err(db)?;
        let subscription = subscriptions.first().map_or("", |s| s.id.as_str());
        let resource_id = format!(
            "/subscriptions/{subscription}/resourcegroups/vitrine/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{}",
            principal.name
        );
        Ok((principal, resource_id))
    }
}
