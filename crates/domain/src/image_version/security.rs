//! The security profile of a version: signatures of UEFI, set once. Source: `API.md` 3.3.

use serde_json::Value;

use super::WIRE;
use crate::plan::{PutContext, is_nothing, is_part, word};
use crate::resource::Document;
use crate::{Error, Resource, Result, features};

const TEMPLATES: [&str; 3] = [
    "NoSignatureTemplate",
    "MicrosoftUefiCertificateAuthorityTemplate",
    "MicrosoftWindowsTemplate",
];
const KEY_TYPES: [&str; 2] = ["sha256", "x509"];

/// Fills in the security profile; later only what is there already may be said.
pub(super) fn plan(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let Some(profile) = sent.get("securityProfile").filter(|p| !is_nothing(p)) else {
        return Ok(());
    };
    if !is_new {
        // An older client knows, and sends back, only a part.
        return if is_part(row.properties.get("securityProfile"), profile) {
            Ok(())
        } else {
            Err(Error::change_not_allowed(format!("{WIRE}.securityProfile")))
        };
    }
    if let Some(settings) = profile.get("uefiSettings").filter(|s| !is_nothing(s)) {
        check_uefi(ctx, settings)?;
    }
    row.properties
        .insert("securityProfile".to_owned(), profile.clone());
    Ok(())
}

fn check_uefi(ctx: &PutContext<'_>, settings: &Value) -> Result<()> {
    let target = format!("{WIRE}.securityProfile.uefiSettings");
    let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    for name in items(settings.get("signatureTemplateNames"))
        .iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        word(
            name,
            &TEMPLATES,
            &format!("{target}.signatureTemplateNames"),
        )?;
    }
    let signatures = settings.get("additionalSignatures");
    let mut keys: Vec<Value> = Vec::new();
    keys.extend(signatures.and_then(|s| s.get("pk")).cloned());
    for list in ["kek", "db", "dbx"] {
        keys.extend(
            items(signatures.and_then(|s| s.get(list)))
                .into_iter()
                .flatten(),
        );
    }
    for kind in keys
        .iter()
        .filter_map(|k| k.get("type").and_then(Value::as_str))
    {
        word(
            kind,
            &KEY_TYPES,
            &format!("{target}.additionalSignatures.type"),
        )?;
    }
    let Some(definition) = ctx.parent else {
        return Ok(());
    };
    if features::security_type(definition.properties.get("features")) == "Standard" {
        return Err(Error::invalid_parameter(
            target,
            "UEFI settings are only supported for images whose security type supports Trusted Launch or confidential machines.",
        ));
    }
    Ok(())
}
