//! Image definitions. Source: `API.md` 3.2, 5.2.

use serde_json::{Value, json};

use crate::plan::{
    Claim, PutContext, canonical, check_end_of_life, invalid_entity_name, is_entity_name,
    properties, same, since, start, take, take_once, text,
};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result, features, gallery};

const WIRE: &str = "galleryImage";
/// From this api-version on a definition is generation 2 and supports Trusted Launch unless it says otherwise.
const NEW_DEFAULTS: &str = "2025-03-03";
const MUTABLE: [&str; 6] = [
    "description",
    "releaseNoteUri",
    "endOfLifeDate",
    "recommended",
    "eula",
    "privacyStatementUri",
];

/// Decides a PUT.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    if !is_entity_name(id.name()) {
        return Err(invalid_entity_name("galleryImageName"));
    }
    let mut row = start(ctx, Kind::Image, id, body, stored)?;
    let mut sent = properties(body);
    canonical_words(&mut sent)?;
    let is_new = stored.is_none();
    if is_new {
        check_required(&sent)?;
        apply_defaults(ctx.api_version, &mut sent);
    }
    check_identifier(&sent)?;
    take_once(
        &mut row.properties,
        &sent,
        &["hyperVGeneration", "architecture"],
        is_new,
        WIRE,
    )?;
    plan_features(ctx, &mut row, &sent, is_new)?;
    take_once(
        &mut row.properties,
        &sent,
        &["osType", "osState"],
        is_new,
        WIRE,
    )?;
    plan_identifier(&mut row, &sent, is_new)?;
    take_once(&mut row.properties, &sent, &["purchasePlan"], is_new, WIRE)?;
    check_end_of_life(&sent, ctx.now_ms, "galleryImage.properties.endOfLifeDate").or_else(
        |error| {
            // Sent back as it is stored, a date that is over since changes nothing.
            if same(row.properties.get("endOfLifeDate"), &sent["endOfLifeDate"]) {
                Ok(())
            } else {
                Err(error)
            }
        },
    )?;
    check_recommended(&sent)?;
    take(&mut row.properties, &sent, &MUTABLE);
    if let Some(disallowed) = sent.get("disallowed") {
        // `disallowed: {}` says nothing and is not shown.
        if disallowed
            .get("diskTypes")
            .and_then(Value::as_array)
            .is_some_and(|types| !types.is_empty())
        {
            row.properties
                .insert("disallowed".to_owned(), disallowed.clone());
        }
    }
    Ok(row)
}

/// A PATCH of properties must repeat the type of system. Source: `API.md` 3.2.
pub(crate) fn check_patch(body: &Value) -> Result<()> {
    let sent = properties(body);
    if !sent.is_empty() && !sent.contains_key("osType") {
        return Err(Error::change_not_allowed("galleryImage.properties.osType"));
    }
    Ok(())
}

fn canonical_words(sent: &mut Document) -> Result<()> {
    canonical(
        sent,
        "osType",
        &["Windows", "Linux"],
        "galleryImage.properties.osType",
    )?;
    canonical(
        sent,
        "osState",
        &["Generalized", "Specialized"],
        "galleryImage.properties.osState",
    )?;
    canonical(
        sent,
        "hyperVGeneration",
        &["V1", "V2"],
        "galleryImage.properties.hyperVGeneration",
    )?;
    canonical(
        sent,
        "architecture",
        &["x64", "Arm64"],
        "galleryImage.properties.architecture",
    )
}

fn check_required(sent: &Document) -> Result<()> {
    for name in ["osType", "osState", "identifier"] {
        if !sent.contains_key(name) {
            return Err(Error::required(format!("galleryImage.properties.{name}")));
        }
    }
    Ok(())
}

fn apply_defaults(api_version: &str, sent: &mut Document) {
    let is_new_style = since(api_version, NEW_DEFAULTS);
    let has_security =
        features::security_type(sent.get("features")) != "Standard" || names_security(sent);
    let generation =
        if is_new_style && !names_security(sent) || has_security && !names_standard(sent) {
            "V2"
        } else {
            "V1"
        };
    let generation = text(sent, "hyperVGeneration")
        .unwrap_or(generation)
        .to_owned();
    if is_new_style && generation == "V2" && !names_security(sent) {
        let added = json!({ "name": "SecurityType", "value": "TrustedLaunchSupported" });
        let features = sent.entry("features").or_insert_with(|| json!([]));
        if let Some(features) = features.as_array_mut() {
            features.push(added);
        }
    }
    sent.entry("hyperVGeneration")
        .or_insert(Value::String(generation));
    sent.entry("architecture").or_insert_with(|| json!("x64"));
}

fn security_sent(sent: &Document) -> Option<&str> {
    let all = sent.get("features").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .find(|f| {
            f.get("name")
                .and_then(Value::as_str)
                .is_some_and(|n| n.eq_ignore_ascii_case("SecurityType"))
        })
        .and_then(|f| f.get("value").and_then(Value::as_str))
}

fn names_security(sent: &Document) -> bool {
    security_sent(sent).is_some()
}

fn names_standard(sent: &Document) -> bool {
    security_sent(sent).is_some_and(|value| value.eq_ignore_ascii_case("Standard"))
}

fn check_identifier(sent: &Document) -> Result<()> {
    let Some(identifier) = sent.get("identifier") else {
        return Ok(());
    };
    for (name, most) in [("publisher", 128), ("offer", 64), ("sku", 64)] {
        let value = identifier
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if value.is_empty()
            || value.len() > most
            || !value.chars().all(fits)
            || value.ends_with('.')
        {
            let target = format!("galleryImage.properties.identifier.{name}");
            return Err(Error::invalid_parameter(
                target.clone(),
                format!(
                    "Asset name {target} is not valid. It cannot be empty. Allowed characters are uppercase or lowercase \
                     letters, digits, hyphen(-), period (.), underscore (_). Names are not allowed to end with period(.). \
                     The length of the name cannot exceed {most} characters."
                ),
            ));
        }
    }
    Ok(())
}

fn plan_identifier(row: &mut Resource, sent: &Document, is_new: bool) -> Result<()> {
    let Some(identifier) = sent.get("identifier") else {
        return Ok(());
    };
    if is_new {
        row.properties
            .insert("identifier".to_owned(), identifier.clone());
        return Ok(());
    }
    let stored = row.properties.get("identifier");
    for name in ["publisher", "offer", "sku"] {
        if let Some(value) = identifier.get(name)
            && !same(stored.and_then(|s| s.get(name)), value)
        {
            return Err(Error::change_not_allowed(format!(
                "galleryImage.properties.identifier.{name}"
            )));
        }
    }
    Ok(())
}

fn plan_features(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    is_new: bool,
) -> Result<()> {
    let Some(features) = sent.get("features") else {
        return Ok(());
    };
    let permissions = ctx.parent.map_or("Private", gallery::permissions);
    let generation = text(&row.properties, "hyperVGeneration").unwrap_or("V1");
    let checked = features::check(features, permissions, generation)?;
    if is_new {
        if checked.as_array().is_some_and(|list| !list.is_empty()) {
            row.properties.insert("features".to_owned(), checked);
        }
        return Ok(());
    }
    if same(row.properties.get("features"), &checked) {
        return Ok(());
    }
    if sent.get("allowUpdateImage").and_then(Value::as_bool) != Some(true) {
        return Err(Error::change_not_allowed(
            "galleryImage.properties.features",
        ));
    }
    row.properties.insert("features".to_owned(), checked);
    Ok(())
}

fn check_recommended(sent: &Document) -> Result<()> {
    let Some(recommended) = sent.get("recommended") else {
        return Ok(());
    };
    for name in ["vCPUs", "memory"] {
        let number = |bound: &str| {
            recommended
                .get(name)
                .and_then(|r| r.get(bound))
                .and_then(Value::as_i64)
        };
        let target = format!("galleryImage.properties.recommended.{name}");
        for bound in ["min", "max"] {
            if let Some(value) = number(bound).filter(|n| !(1..=1_000_000).contains(n)) {
                return Err(Error::invalid_parameter(
                    target,
                    format!(
                        "The value {value} of parameter {name}.{bound} is out of range. The value must be between 1 and 1000000, inclusive."
                    ),
                ));
            }
        }
        if let (Some(min), Some(max)) = (number("min"), number("max"))
            && min > max
        {
            return Err(Error::invalid_parameter(
                target.clone(),
                format!(
                    "The minimum value of {target} must not be greater than the maximum value of {target}."
                ),
            ));
        }
    }
    Ok(())
}

/// Publisher, offer and sku are unique in the gallery, whatever their case.
pub(crate) fn claim(row: &Resource) -> Claim {
    let identifier = row.properties.get("identifier");
    let part = |name: &str| {
        identifier
            .and_then(|i| i.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (publisher, offer, sku) = (part("publisher"), part("offer"), part("sku"));
    let gallery = row.id.parent().map(|g| g.key()).unwrap_or_default();
    Claim {
        scope: format!("image:{gallery}"),
        key: format!("{publisher}\n{offer}\n{sku}").to_ascii_lowercase(),
        taken: Error::conflict(
            "OperationNotAllowed",
            format!(
                "Gallery image: '{}' identified by (publisher:{publisher}, offer:{offer}, sku:{sku}) already exists. Choose a \
                 different publisher, offer, sku combination.",
                row.id.name()
            ),
        ),
    }
}
