//! Programs that sign in: by a secret, or by an assertion that their key signed.

use catalog::{Principal, PrincipalKind};
use domain::Result;
use secrecy::SecretString;

use super::error::{SignInError, SignInResult, db};
use super::grants::Place;
use super::secrets;
use crate::Engine;

impl Engine {
    /// Returns the application whose secret this is.
    pub(super) async fn client_by_secret(
        &self,
        place: &Place,
        client_id: &str,
        secret: SecretString,
    ) -> SignInResult<Principal> {
        let client = self.client(place, client_id).await?;
        if !self.is_secret_of(Some(&client), secret).await? {
            return Err(SignInError::WrongSecret(client_id.to_owned()));
        }
        Ok(client)
    }

    /// Returns an application that may sign in.
    pub(super) async fn client(&self, place: &Place, client_id: &str) -> SignInResult<Principal> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read
            .load_principal_by_app(place.filter(), client_id)
            .await
            .map_err(db)?;
        drop(read);
        let client = found
            .filter(|client| client.kind == PrincipalKind::ServicePrincipal)
            .ok_or_else(|| SignInError::UnknownClient {
                client: client_id.to_owned(),
                tenant: place.shown.clone(),
            })?;
        if !client.enabled {
            return Err(SignInError::DisabledClient(client_id.to_owned()));
        }
        Ok(client)
    }

    /// Whether a secret is this principal's; nobody's takes the same time.
    ///
    /// Failures are counted between two hashes, so a burst cannot outrun the limit.
    pub(super) async fn is_secret_of(
        &self,
        principal: Option<&Principal>,
        secret: SecretString,
    ) -> SignInResult<bool> {
        let hash = principal.and_then(|principal| principal.secret_hash.clone());
        let is_right = {
            let gate = &self.identity().hashing;
            let _turn = gate.acquire().await.map_err(|_| SignInError::Unavailable)?;
            if let Some(principal) = principal {
                self.check_failures(&principal.object_id)?;
            }
            let is_right = secrets::verify(secret, hash).await?;
            if let Some(principal) = principal.filter(|_| !is_right) {
                self.count_failure(&principal.object_id);
            }
            is_right
        };
        if let Some(principal) = principal.filter(|_| is_right) {
            self.clear_failures(&principal.object_id);
        }
        Ok(is_right)
    }

    /// Returns the hash of a new secret.
    pub(super) async fn hash_secret(&self, secret: SecretString) -> Result<String> {
        let gate = &self.identity().hashing;
        let _turn = gate
            .acquire()
            .await
            .map_err(|_| domain::Error::internal())?;
        secrets::hash(secret).await
    }
}
