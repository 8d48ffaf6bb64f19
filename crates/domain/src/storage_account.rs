//! Storage accounts. Source: `WIRE.md` 4.8.

use serde_json::{Value, json};

use crate::plan::{Claim, PutContext, properties, start, take, word};
use crate::{Error, ErrorKind, Kind, ProvisioningState, Resource, ResourceId, Result};

const SKUS: [&str; 8] = [
    "Standard_LRS",
    "Standard_GRS",
    "Standard_RAGRS",
    "Standard_ZRS",
    "Premium_LRS",
    "Premium_ZRS",
    "Standard_GZRS",
    "Standard_RAGZRS",
];

const KINDS: [&str; 5] = [
    "StorageV2",
    "Storage",
    "BlobStorage",
    "FileStorage",
    "BlockBlobStorage",
];
/// What only the server says; sent back, it is ignored.
const READ_ONLY: [&str; 17] = [
    "provisioningState",
    "primaryEndpoints",
    "primaryLocation",
    "statusOfPrimary",
    "secondaryEndpoints",
    "secondaryLocation",
    "statusOfSecondary",
    "lastGeoFailoverTime",
    "creationTime",
    "keyCreationTime",
    "failoverInProgress",
    "geoReplicationStats",
    "privateEndpointConnections",
    "blobRestoreStatus",
    "accountMigrationInProgress",
    "storageAccountSkuConversionStatus",
    "isSkuConversionBlocked",
];

/// Checks an account's name: part of a host name, so 3 to 24 lower-case letters and digits.
pub fn check_name(name: &str) -> Result<()> {
    let fits = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if (3..=24).contains(&name.len()) && fits {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "AccountNameInvalid",
        format!(
            "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in \
             length and use numbers and lower-case letters only."
        ),
    ))
}

/// Decides a PUT; an account is ready at once.
pub fn plan_put(
    ctx: &PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_name(id.name())?;
    let mut row = start(ctx, Kind::StorageAccount, id, body, stored)?;
    let sku = body
        .pointer("/sku/name")
        .and_then(Value::as_str)
        .unwrap_or("Standard_LRS");
    let sku = word(sku, &SKUS, "sku.name")?;
    let tier = if sku.starts_with("Premium") {
        "Premium"
    } else {
        "Standard"
    };
    if stored.is_none() || body.get("sku").is_some() {
        row.top
            .insert("sku".to_owned(), json!({ "name": sku, "tier": tier }));
    }
    plan_kind(&mut row, body)?;
    let mut sent = properties(body);
    for name in READ_ONLY {
        sent.shift_remove(name);
    }
    let names: Vec<&str> = sent.keys().map(String::as_str).collect();
    take(&mut row.properties, &sent, &names);
    row.state = ProvisioningState::Succeeded;
    Ok(row)
}

/// The kind is said once; the oldest may become the newest.
fn plan_kind(row: &mut Resource, body: &Value) -> Result<()> {
    let held = row
        .top
        .get("kind")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let sent = body
        .get("kind")
        .and_then(Value::as_str)
        .filter(|k| !k.is_empty());
    let kind = match sent {
        Some(sent) => word(sent, &KINDS, "kind")?,
        None if held.is_some() => return Ok(()),
        None => "StorageV2",
    };
    let may_become = |held: &str| {
        held == kind || (kind == "StorageV2" && ["Storage", "BlobStorage"].contains(&held))
    };
    if held.as_deref().is_some_and(|held| !may_become(held)) {
        return Err(Error::change_not_allowed("kind"));
    }
    row.top.insert("kind".to_owned(), json!(kind));
    Ok(())
}

/// Account names are unique in the installation: they are host names.
pub fn claim(row: &Resource) -> Claim {
    let name = row.id.name();
    Claim {
        scope: "storage-account".to_owned(),
        key: name.to_ascii_lowercase(),
        taken: Error::conflict(
            "StorageAccountAlreadyTaken",
            format!("The storage account named {name} is already taken."),
        ),
    }
}
