//! Who signs in: tenants, principals, secrets, tokens.

use domain::{Error, Result};

use crate::{Caller, Engine};

/// What the first start makes.
#[derive(Clone, Debug, Default)]
pub struct BootstrapOptions {}

/// What the first start made; the secret is shown once.
pub struct Bootstrapped {
    /// The first tenant.
    pub tenant_id: String,
    /// The first subscription.
    pub subscription_id: String,
    /// The first principal's application id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl Engine {
    /// Makes the first tenant, subscription and principal in an empty catalog; `None` when there are some.
    pub async fn bootstrap(&self, _options: &BootstrapOptions) -> Result<Option<Bootstrapped>> {
        Err(Error::internal())
    }

    /// Returns who a bearer token of this gallery's own audience speaks for.
    pub async fn authenticate(&self, _token: &str) -> Result<Caller> {
        Err(Error::internal())
    }
}
