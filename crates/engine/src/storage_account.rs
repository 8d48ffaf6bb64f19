//! Storage accounts: keys, endpoints, name availability.
//!
//! Keys live in the row's `internal` document only: no view shows them, no log has them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, ErrorKind, Resource, ResourceId, Result};
use serde_json::{Value, json};

use crate::audit::{self, Deed};
use crate::error::catalog as db;
use crate::resources::not_found;
use crate::{Ctx, Engine};

/// Length of an account key, in bytes.
const KEY_BYTES: usize = 64;
const KEY_NAMES: [&str; 2] = ["key1", "key2"];
const KEYS: &str = "keys";
const LIST_KEYS: &str = "Microsoft.Storage/storageAccounts/listKeys/action";
const REGENERATE_KEY: &str = "Microsoft.Storage/storageAccounts/regenerateKey/action";

/// Adds what only the server can: the keys of a new account.
pub(crate) fn complete(row: &mut Resource) -> Result<()> {
    if row.kind != domain::Kind::StorageAccount || row.internal.contains_key(KEYS) {
        return Ok(());
    }
    let keys = KEY_NAMES
        .iter()
        .map(|name| fresh_key(name, row.changed_ms))
        .collect::<Result<Vec<_>>>()?;
    row.internal.insert(KEYS.to_owned(), Value::Array(keys));
    Ok(())
}

fn fresh_key(name: &str, now_ms: i64) -> Result<Value> {
    let mut key = [0_u8; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| {
        tracing::error!(%error, "no randomness");
        Error::internal()
    })?;
    Ok(json!({ "name": name, "value": STANDARD.encode(key), "createdMs": now_ms }))
}

/// Returns the decoded keys of an account.
pub(crate) fn keys_of(row: &Resource) -> Vec<Vec<u8>> {
    let keys = row.internal.get(KEYS).and_then(Value::as_array);
    keys.into_iter()
        .flatten()
        .filter_map(|key| key.get("value").and_then(Value::as_str))
        .filter_map(|text| STANDARD.decode(text).ok())
        .collect()
}

/// Returns an account as its service shows it; endpoints lie below `base_url`.
pub fn storage_account_view(row: &Resource, base_url: &str) -> Value {
    let text = |ms: i64| arm::time::format_zulu(ms);
    let mut properties = row.properties.clone();
    let member = |on: bool| json!({ "enabled": on, "keyType": "Account", "lastEnabledTime": text(row.created_ms) });
    let defaults = [
        ("minimumTlsVersion", json!("TLS1_2")),
        ("allowBlobPublicAccess", json!(false)),
        ("allowSharedKeyAccess", json!(true)),
        ("supportsHttpsTrafficOnly", json!(true)),
        ("accessTier", json!("Hot")),
        ("publicNetworkAccess", json!("Enabled")),
        (
            "networkAcls",
            json!({ "bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow" }),
        ),
        (
            "encryption",
            json!({ "services": { "blob": member(true), "file": member(true) }, "keySource": "Microsoft.Storage" }),
        ),
        ("privateEndpointConnections", json!([])),
    ];
    for (name, value) in defaults {
        properties.entry(name).or_insert(value);
    }
    let created = |key: &Value| {
        key.get("createdMs")
            .and_then(Value::as_i64)
            .unwrap_or(row.created_ms)
    };
    let mut key_times = serde_json::Map::new();
    for key in row
        .internal
        .get(KEYS)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = key.get("name").and_then(Value::as_str).unwrap_or_default();
        key_times.insert(name.to_owned(), json!(text(created(key))));
    }
    let server = [
        ("keyCreationTime", Value::Object(key_times)),
        ("provisioningState", json!(row.state.as_str())),
        ("creationTime", json!(text(row.created_ms))),
        (
            "primaryEndpoints",
            json!({ "blob": format!("{base_url}/blob/{}/", row.id.name()) }),
        ),
        ("primaryLocation", json!(row.location)),
        ("statusOfPrimary", json!("available")),
    ];
    for (name, value) in server {
        properties.insert(name.to_owned(), value);
    }
    let mut out = serde_json::Map::new();
    out.insert("id".to_owned(), json!(row.id.to_string()));
    out.insert("name".to_owned(), json!(row.id.name()));
    out.insert("type".to_owned(), json!(row.id.type_name()));
    out.insert("location".to_owned(), json!(row.location));
    out.insert(
        "tags".to_owned(),
        Value::Object(row.tags.clone().unwrap_or_default()),
    );
    out.extend(row.top.clone());
    out.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(out)
}

impl Engine {
    /// Returns the keys of an account.
    pub async fn storage_keys(&self, ctx: &Ctx, id: &ResourceId) -> Result<Value> {
        self.authorize(ctx, LIST_KEYS, &id.to_string()).await?;
        // Who has the keys can write: a read-only account does not give them away.
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let row = tx.load(id).await.map_err(db)?;
        let row = row.ok_or_else(|| not_found(id))?;
        let held = audit::of_row(&row);
        let deed = Deed {
            action: LIST_KEYS,
            scope: &row.id.to_string(),
            before: held.clone(),
            after: held,
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        Ok(keys_view(&row))
    }

    /// Makes one key of an account anew and returns all.
    pub async fn regenerate_storage_key(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        body: &Value,
    ) -> Result<Value> {
        self.authorize(ctx, REGENERATE_KEY, &id.to_string()).await?;
        let sent = body
            .get("keyName")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::required("keyName"))?;
        let name = KEY_NAMES
            .into_iter()
            .find(|name| name.eq_ignore_ascii_case(sent))
            .ok_or_else(|| {
                Error::invalid_parameter(
                    "keyName",
                    format!(
                        "The value '{sent}' of parameter keyName is invalid. Use key1 or key2."
                    ),
                )
            })?;
        let mut tx = self.catalog().write().await.map_err(db)?;
        crate::lock::check(&mut tx, domain::lock::Deed::Write, &id.to_string()).await?;
        let mut row = tx
            .load(id)
            .await
            .map_err(db)?
            .ok_or_else(|| not_found(id))?;
        let before = audit::of_row(&row);
        complete(&mut row)?;
        let fresh = fresh_key(name, self.now_ms())?;
        if let Some(keys) = row.internal.get_mut(KEYS).and_then(Value::as_array_mut) {
            keys.retain(|key| key.get("name").and_then(Value::as_str) != Some(name));
            keys.push(fresh);
            keys.sort_by_key(|key| key.get("name").and_then(Value::as_str).map(str::to_owned));
        }
        let deed = Deed {
            action: REGENERATE_KEY,
            scope: &row.id.to_string(),
            before,
            after: audit::of_row(&row),
        };
        self.audit(&mut tx, ctx, deed).await?;
        tx.update(&mut row).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(keys_view(&row))
    }

    /// Returns whether an account name is free.
    pub async fn check_storage_name(
        &self,
        ctx: &Ctx,
        subscription: &str,
        body: &Value,
    ) -> Result<Value> {
        self.authorize(
            ctx,
            "Microsoft.Storage/checkNameAvailability/read",
            &format!("/subscriptions/{subscription}"),
        )
        .await?;
        let name = body
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::required("name"))?;
        if let Err(error) = domain::storage_account::check_name(name) {
            return Ok(
                json!({ "nameAvailable": false, "reason": "AccountNameInvalid", "message": error.message }),
            );
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        match read.claimed("storage-account", name).await.map_err(db)? {
            None => Ok(json!({ "nameAvailable": true })),
            Some(_) => Ok(json!({
                "nameAvailable": false,
                "reason": "AlreadyExists",
                "message": format!("The storage account named {name} is already taken."),
            })),
        }
    }

    /// Returns the account of a host name or path segment.
    pub(crate) async fn load_account(&self, name: &str) -> Result<Resource> {
        let mut read = self.catalog().read().await.map_err(db)?;
        let owner = read
            .claimed("storage-account", &name.to_ascii_lowercase())
            .await
            .map_err(db)?;
        let owner = owner.ok_or_else(crate::blob::failure::account_not_found)?;
        let id = ResourceId::parse(&owner).map_err(|_| Error::internal())?;
        let row = read.load(&id).await.map_err(db)?;
        let row = row.ok_or_else(crate::blob::failure::account_not_found)?;
        if row.state == domain::ProvisioningState::Deleting {
            return Err(Error::new(
                ErrorKind::Conflict,
                "AccountBeingDeleted",
                "The storage account is being deleted.",
            ));
        }
        Ok(row)
    }
}

fn keys_view(row: &Resource) -> Value {
    let keys = row.internal.get(KEYS).and_then(Value::as_array);
    let shown: Vec<Value> = keys
        .into_iter()
        .flatten()
        .map(|key| {
            let created = key
                .get("createdMs")
                .and_then(Value::as_i64)
                .unwrap_or(row.created_ms);
            json!({
                "creationTime": arm::time::format_zulu(created),
                "keyName": key.get("name"),
                "value": key.get("value"),
                "permissions": "FULL",
            })
        })
        .collect();
    json!({ "keys": shown })
}
