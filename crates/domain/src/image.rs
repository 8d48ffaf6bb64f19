//! Image definitions. Source: `API.md` 3.2, 5.2.

use serde_json::{Value, json};

use crate::plan::{
    Claim, PutContext, canonical, check_end_of_life, drop_nothing, invalid_entity_name,
    is_entity_name, is_nothing, properties, refuse_scripts, same, since, start, take, take_once,
    text, word,
};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result, disk, features, gallery, gallery_kind};

const WIRE: &str = "galleryImage";
/// From this api-version on a definition is generation 2 and supports Trusted Launch unless it says otherwise.
const NEW_DEFAULTS: &str = "2025-03-03";
/// What a portal shows as a link.
const LINKS: [&str; 3] = ["releaseNoteUri", "eula", "privacyStatementUri"];
const MUTABLE: [&str; 6] = [
    "description",
    "releaseNoteUri",
    "endOfLifeDate",
    "recommended",
    "eula",
    "privacyStatementUri",
];

/// Refuses a disk of a type that the definition of its image does not allow; `shown` is how the caller names
/// the image. Source: `API.md` 10.
pub fn check_disk_type(definition: &Resource, disk: &Resource, shown: &str) -> Result<()> {
    let sku = disk.top.get("sku").and_then(|sku| sku.get("name"));
    let disallowed = definition.properties.get("disallowed");
    let types = disallowed.and_then(|d| d.get("diskTypes"));
    let types = types.and_then(Value::as_array);
    let is_refused = |sku: &&Value| types.is_some_and(|types| types.contains(sku));
    let Some(sku) = sku.filter(is_refused).and_then(Value::as_str) else {
        return Ok(());
    };
    Err(Error::invalid_parameter(
        "disk.sku.name",
        format!(
            "The disk type '{sku}' is not allowed for disks made from the gallery image '{shown}'."
        ),
    ))
}

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
    drop_nothing(
        &mut sent,
        &[
            "purchasePlan",
            "recommended",
            "hyperVGeneration",
            "architecture",
        ],
    );
    canonical_words(&mut sent)?;
    let is_new = stored.is_none();
    if is_new {
        check_required(&sent)?;
        check_identifier(&sent)?;
        apply_defaults(ctx.api_version, &mut sent);
        check_generation(&sent)?;
    }
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
    check_plan(ctx, &sent, is_new)?;
    take_once(&mut row.properties, &sent, &["purchasePlan"], is_new, WIRE)?;
    // Sent back as it is stored, a date that is over since changes nothing.
    if !sent
        .get("endOfLifeDate")
        .is_some_and(|ends| same(row.properties.get("endOfLifeDate"), ends))
    {
        check_end_of_life(&sent, ctx.now_ms, "galleryImage.properties.endOfLifeDate")?;
    }
    check_recommended(&sent)?;
    refuse_scripts(&sent, &LINKS, "galleryImage.properties")?;
    take(&mut row.properties, &sent, &MUTABLE);
    plan_disallowed(&mut row, &sent)?;
    Ok(row)
}

/// `disallowed: {}` says nothing and is not shown; an empty list takes back what was there.
fn plan_disallowed(row: &mut Resource, sent: &Document) -> Result<()> {
    let types = sent
        .get("disallowed")
        .and_then(|d| d.get("diskTypes"))
        .and_then(Value::as_array);
    let Some(types) = types else { return Ok(()) };
    let mut known: Vec<&str> = Vec::new();
    for name in types.iter().filter_map(Value::as_str) {
        let name = word(
            name,
            &disk::SKUS,
            "galleryImage.properties.disallowed.diskTypes",
        )?;
        if !known.contains(&name) {
            known.push(name);
        }
    }
    if known.is_empty() {
        row.properties.shift_remove("disallowed");
    } else {
        row.properties
            .insert("disallowed".to_owned(), json!({ "diskTypes": known }));
    }
    Ok(())
}

/// Images with a Marketplace plan are not for everyone. Source: `API.md` 4.
fn check_plan(ctx: &PutContext<'_>, sent: &Document, is_new: bool) -> Result<()> {
    if !is_new {
        return Ok(());
    }
    gallery_kind::check_plan(ctx.parent.map_or("Private", gallery::permissions), sent)
}

/// A PATCH of properties must repeat the type of system. Source: `API.md` 3.2.
pub(crate) fn check_patch(body: &Value) -> Result<()> {
    let sent = properties(body);
    if !sent.is_empty() && !sent.contains_key("osType") {
        return Err(Error::change_not_allowed("galleryImage.properties.osType"));
    }
    Ok(())
}

/// A PATCH that names one bound of a recommendation leaves the others.
pub(crate) fn complete_patch(body: &mut Value, stored: &Resource) {
    let Some(sent) = body
        .pointer_mut("/properties/recommended")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let kept = stored
        .properties
        .get("recommended")
        .and_then(Value::as_object);
    for (name, bounds) in kept.into_iter().flatten() {
        let now = sent.entry(name.clone()).or_insert_with(|| json!({}));
        let (Some(now), Some(bounds)) = (now.as_object_mut(), bounds.as_object()) else {
            continue;
        };
        for (bound, value) in bounds {
            now.entry(bound.clone()).or_insert_with(|| value.clone());
        }
    }
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

/// Generation 1 and x64, unless something sent needs more; generation 2 and Trusted Launch since 2025.
fn apply_defaults(api_version: &str, sent: &mut Document) {
    let is_new_style = since(api_version, NEW_DEFAULTS);
    let security = security_sent(sent);
    let needs_second = security.is_some_and(|s| !s.eq_ignore_ascii_case("Standard"))
        || text(sent, "architecture") == Some("Arm64");
    let is_silent = security.is_none();
    let generation = match text(sent, "hyperVGeneration") {
        Some(sent) => sent.to_owned(),
        None if is_new_style || needs_second => "V2".to_owned(),
        None => "V1".to_owned(),
    };
    if is_new_style && is_silent && generation == "V2" {
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

fn check_generation(sent: &Document) -> Result<()> {
    if text(sent, "architecture") == Some("Arm64") && text(sent, "hyperVGeneration") == Some("V1") {
        return Err(Error::invalid_parameter(
            "galleryImage.properties.hyperVGeneration",
            "The architecture 'Arm64' is only supported for images of Hypervisor generation 'V2'.",
        ));
    }
    Ok(())
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
    let generation = text(&row.properties, "hyperVGeneration")
        .unwrap_or("V1")
        .to_owned();
    let kept = row
        .properties
        .get("features")
        .cloned()
        .unwrap_or_else(|| json!([]));
    let checked = features::parse(features, &kept)?;
    if !is_new {
        if features::are_same(&kept, &checked) {
            return Ok(());
        }
        if sent.get("allowUpdateImage").and_then(Value::as_bool) != Some(true) {
            return Err(Error::change_not_allowed(
                "galleryImage.properties.features",
            ));
        }
    }
    features::check(&checked, permissions, &generation)?;
    if is_nothing(&checked) {
        row.properties.shift_remove("features");
    } else {
        row.properties.insert("features".to_owned(), checked);
    }
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
