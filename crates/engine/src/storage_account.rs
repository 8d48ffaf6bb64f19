//! Storage accounts: keys, endpoints, name availability.

use domain::{Error, Resource, ResourceId, Result};
use serde_json::Value;

use crate::{Ctx, Engine};

/// Returns an account as its service shows it; endpoints lie below `base_url`.
pub fn storage_account_view(_row: &Resource, _base_url: &str) -> Value {
    Value::Null
}

impl Engine {
    /// Returns the keys of an account.
    pub async fn storage_keys(&self, _ctx: &Ctx, _id: &ResourceId) -> Result<Value> {
        Err(Error::internal())
    }

    /// Makes one key of an account anew and returns all.
    pub async fn regenerate_storage_key(
        &self,
        _ctx: &Ctx,
        _id: &ResourceId,
        _body: &Value,
    ) -> Result<Value> {
        Err(Error::internal())
    }

    /// Returns whether an account name is free.
    pub async fn check_storage_name(
        &self,
        _ctx: &Ctx,
        _subscription: &str,
        _body: &Value,
    ) -> Result<Value> {
        Err(Error::internal())
    }
}
