//! Storage accounts. Source: `WIRE.md` 4.8.

use serde_json::{Value, json};

use crate::plan::{Claim, PutContext, properties, start, take};
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
    let sku = crate::plan::word(sku, &SKUS, "sku.name")?;
    let tier = if sku.starts_with("Premium") {
        "Premium"
    } else {
        "Standard"
    };
    if stored.is_none() || body.get("sku").is_some() {
        row.top
            .insert("sku".to_owned(), json!({ "name": sku, "tier": tier }));
    }
    let kind = body
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("StorageV2");
    row.top
        .entry("kind")
        .or_insert_with(|| Value::String(kind.to_owned()));
    let sent = properties(body);
    let names: Vec<&str> = sent
        .keys()
        .map(String::as_str)
        .filter(|name| {
            !matches!(
                *name,
                "primaryEndpoints"
                    | "provisioningState"
                    | "creationTime"
                    | "statusOfPrimary"
                    | "primaryLocation"
            )
        })
        .collect();
    take(&mut row.properties, &sent, &names);
    row.state = ProvisioningState::Succeeded;
    Ok(row)
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
