//! The grants of the token endpoint: who asks, by what right, what they get.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Principal, Tenant};
use secrecy::SecretString;
use serde_json::json;

use super::audience::{Asked, SCOPE_BYTES_MAX, class_of};
use super::error::{SignInError, SignInResult, db};
use super::tokens::{Subject, TOKEN_SECONDS};
use crate::Engine;

/// The longest client id, tenant name or user name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// By what right a client asks.
pub enum Grant {
    /// A program with its secret.
    ClientSecret(SecretString),
    /// A program with an assertion that its key signed.
    ClientAssertion(SecretString),
    /// A person with a password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A person who signs in elsewhere.
    DeviceCode(SecretString),
    /// A person who signed in before.
    RefreshToken(SecretString),
}

/// One request to the token endpoint.
pub struct TokenRequest {
    /// The tenant as the path names it: a GUID, a domain, `common`, `organizations`, `adfs`.
    pub tenant: String,
    /// `https://host:port` as the client reached us.
    pub base_url: String,
    /// The application id.
    pub client_id: String,
    /// What it asks a token for.
    pub asked: Asked,
    /// By what right.
    pub grant: Grant,
}

/// What the token endpoint gives.
pub struct Issued {
    /// The access token.
    pub access_token: String,
    /// How long it counts, in seconds.
    pub expires_in_s: i64,
    /// When it was made, in seconds since the epoch.
    pub issued_s: i64,
    /// Its audience.
    pub resource: String,
    /// The scope that was granted.
    pub scope: String,
    /// For people: a refresh token.
    pub refresh_token: Option<String>,
    /// For people: who has signed in.
    pub id_token: Option<String>,
    /// For people: `{"uid","utid"}` in base64url.
    pub client_info: Option<String>,
}

/// The tenant of a request: one, or whichever the account is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its GUID; `None` for `common`, `organizations`, `adfs`.
    pub tenant: Option<String>,
    /// As the path named it.
    pub shown: String,
}

impl Place {
    /// Returns what the catalog is asked with: empty means any tenant.
    pub fn filter(&self) -> &str {
        self.tenant.as_deref().unwrap_or_default()
    }

    /// Whether an account of this tenant may sign in here.
    pub fn admits(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

impl Engine {
    /// Answers the token endpoint.
    pub async fn issue(&self, request: TokenRequest) -> SignInResult<Issued> {
        check_length("client_id", &request.client_id)?;
        let place = self.place(&request.tenant).await?;
        let client_id = request.client_id.to_ascii_lowercase();
        match request.grant {
            Grant::ClientSecret(secret) => {
                let client = self.client_by_secret(&place, &client_id, secret).await?;
                self.give_program(&client, &request.asked, &request.base_url)
                    .await
            }
            Grant::ClientAssertion(assertion) => {
                let client = self
                    .client_by_assertion(&place, &client_id, &request.base_url, &assertion)
                    .await?;
                self.give_program(&client, &request.asked, &request.base_url)
                    .await
            }
            Grant::Password { username, password } => {
                let user = self.user_by_password(&place, &username, password).await?;
                let refresh = self.first_refresh_token(&user, &client_id).await?;
                self.give_person(
                    &user,
                    &client_id,
                    &request.asked,
                    &request.base_url,
                    refresh,
                )
                .await
            }
            Grant::DeviceCode(code) => {
                let (user, scope) = self.redeem_device_code(&place, &client_id, &code).await?;
                let refresh = self.first_refresh_token(&user, &client_id).await?;
                let asked = if request.asked.resource.is_some() {
                    request.asked
                } else {
                    Asked::from_scope(&scope)
                };
                self.give_person(&user, &client_id, &asked, &request.base_url, refresh)
                    .await
            }
            Grant::RefreshToken(token) => {
                // Checked first: a request that cannot be answered must not spend the token.
                audience(&request.asked, &request.base_url)?;
                let (user, refresh) = self
                    .exchange_refresh_token(&place, &client_id, &token)
                    .await?;
                self.give_person(
                    &user,
                    &client_id,
                    &request.asked,
                    &request.base_url,
                    refresh,
                )
                .await
            }
        }
    }

    /// Returns the tenant that a path names.
    pub(super) async fn place(&self, named: &str) -> SignInResult<Place> {
        check_length("tenant", named)?;
        let name = named.to_ascii_lowercase();
        if matches!(name.as_str(), "common" | "organizations" | "adfs") {
            return Ok(Place {
                tenant: None,
                shown: name,
            });
        }
        let found = self.find_tenant(&name).await?;
        let tenant = found.ok_or_else(|| SignInError::UnknownTenant(name.clone()))?;
        Ok(Place {
            tenant: Some(tenant.id),
            shown: name,
        })
    }

    /// Returns the tenant id that discovery documents of a path show; aliases show themselves.
    pub async fn tenant_of_path(&self, named: &str) -> SignInResult<String> {
        let place = self.place(named).await?;
        Ok(place.tenant.unwrap_or(place.shown))
    }

    async fn find_tenant(&self, name: &str) -> SignInResult<Option<Tenant>> {
        let mut read = self.catalog().read().await.map_err(db)?;
        if let Some(found) = read.load_tenant(name).await.map_err(db)? {
            return Ok(Some(found));
        }
        let all = read.list_tenants().await.map_err(db)?;
        Ok(all
            .into_iter()
            .find(|tenant| tenant.domain.eq_ignore_ascii_case(name)))
    }

    async fn give_program(
        &self,
        client: &Principal,
        asked: &Asked,
        base_url: &str,
    ) -> SignInResult<Issued> {
        if asked.resource.is_none() {
            return Err(SignInError::Missing("scope"));
        }
        self.give(client, &client.app_id, asked, base_url).await
    }

    async fn give_person(
        &self,
        user: &Principal,
        client_id: &str,
        asked: &Asked,
        base_url: &str,
        refresh_token: String,
    ) -> SignInResult<Issued> {
        let issued = self.give(user, client_id, asked, base_url).await?;
        let client_info = json!({ "uid": user.object_id, "utid": user.tenant }).to_string();
        Ok(Issued {
            refresh_token: Some(refresh_token),
            id_token: Some(self.mint_id_token(user, client_id, base_url).await?),
            client_info: Some(URL_SAFE_NO_PAD.encode(client_info)),
            ..issued
        })
    }

    async fn give(
        &self,
        principal: &Principal,
        app_id: &str,
        asked: &Asked,
        base_url: &str,
    ) -> SignInResult<Issued> {
        let (audience, class) = audience(asked, base_url)?;
        let access_token = self
            .mint(&Subject {
                principal,
                app_id,
                audience: &audience,
                class,
                resource_id: None,
            })
            .await?;
        tracing::info!(
            principal.id = %principal.object_id, tenant.id = %principal.tenant, app.id = %app_id,
            audience = %audience, "issued an access token"
        );
        Ok(Issued {
            access_token,
            expires_in_s: TOKEN_SECONDS,
            issued_s: self.now_ms().div_euclid(1000),
            resource: audience.into_owned(),
            scope: asked.scope.clone(),
            refresh_token: None,
            id_token: None,
            client_info: None,
        })
    }
}

/// Returns the audience that is asked for and its class; nothing asked means this gallery.
pub(super) fn audience<'a>(
    asked: &'a Asked,
    base_url: &'a str,
) -> SignInResult<(Cow<'a, str>, super::AudienceClass)> {
    if asked.scope.len() > SCOPE_BYTES_MAX {
        return Err(SignInError::Malformed("scope"));
    }
    let resource = match &asked.resource {
        Some(resource) if resource.len() > SCOPE_BYTES_MAX => {
            return Err(SignInError::Malformed("resource"));
        }
        Some(resource) => Cow::Borrowed(resource.as_str()),
        None => Cow::Owned(format!("{base_url}/")),
    };
    let class = class_of(&resource, base_url).ok_or_else(|| {
        SignInError::UnknownResource(
            resource
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
        )
    })?;
    Ok((resource, class))
}

/// Refuses what is too long to be a name.
pub(super) fn check_length(field: &'static str, text: &str) -> SignInResult<()> {
    if text.is_empty() {
        return Err(SignInError::Missing(field));
    }
    if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(SignInError::Malformed(field));
    }
    Ok(())
}
