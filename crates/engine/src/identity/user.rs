//! People who sign in with a name and a password.

use catalog::Principal;
use secrecy::SecretString;

use super::error::{SignInError, SignInResult, db};
use super::grants::{Place, check_length};
use crate::Engine;

impl Engine {
    /// Returns the user whose password this is.
    ///
    /// A name that is not there and a wrong password are the same answer after the same time; that
    /// an account is disabled is said only to who knows its password.
    pub(super) async fn user_by_password(
        &self,
        place: &Place,
        username: &str,
        password: SecretString,
    ) -> SignInResult<Principal> {
        check_length("username", username)?;
        let mut read = self.catalog().read().await.map_err(db)?;
        let found = read
            .load_principal_by_name(place.filter(), username.trim())
            .await
            .map_err(db)?;
        drop(read);
        let is_right = self.is_secret_of(found.as_ref(), password).await?;
        let user = found
            .filter(|_| is_right)
            .ok_or(SignInError::WrongPassword)?;
        if !user.enabled {
            return Err(SignInError::DisabledUser);
        }
        Ok(user)
    }
}
