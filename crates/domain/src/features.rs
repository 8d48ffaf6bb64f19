//! Features of an image definition. Source: `API.md` 4.

use serde_json::{Map, Value, json};

use crate::image_version::VersionNumber;
use crate::{Error, Result, gallery_kind};

const TARGET: &str = "galleryImage.properties.features";

/// A feature and the values it takes; booleans take any case.
const FEATURES: [(&str, &[&str]); 6] = [
    ("SecurityType", &SECURITY_TYPES),
    ("IsAcceleratedNetworkSupported", &BOOLEANS),
    ("IsHibernateSupported", &BOOLEANS),
    (
        "DiskControllerTypes",
        &[
            "SCSI",
            "NVMe",
            "SCSI, NVMe",
            "SCSI,NVMe",
            "NVMe, SCSI",
            "NVMe,SCSI",
        ],
    ),
    ("IsSecureBootSupported", &BOOLEANS),
    ("IsMeasuredBootSupported", &BOOLEANS),
];

const BOOLEANS: [&str; 2] = ["True", "False"];

const SECURITY_TYPES: [&str; 6] = [
    "Standard",
    "TrustedLaunchSupported",
    "TrustedLaunch",
    "ConfidentialVMSupported",
    "ConfidentialVM",
    "TrustedLaunchAndConfidentialVmSupported",
];

/// Names that mean a feature though the wire has another: the service's own documents use them.
const ALIASES: [(&str, &str); 1] = [("DiskControllerType", "DiskControllerTypes")];

/// Returns features in canonical spelling.
///
/// A feature that stays as it is in `kept` keeps its first version: older clients cannot say it.
pub fn parse(sent: &Value, kept: &Value) -> Result<Value> {
    let mut out: Vec<Value> = Vec::new();
    for item in sent.as_array().into_iter().flatten() {
        let mut feature = check_one(item)?;
        let name = feature.get("name").cloned();
        if let Some(first) = first_version(kept, &feature)
            && !feature.contains_key("startsAtVersion")
        {
            feature.insert("startsAtVersion".to_owned(), first);
        }
        if out.iter().any(|known| known.get("name") == name.as_ref()) {
            return Err(Error::invalid_parameter(
                TARGET,
                format!(
                    "The feature '{}' is given twice.",
                    name.as_ref().and_then(Value::as_str).unwrap_or_default()
                ),
            ));
        }
        out.push(Value::Object(feature));
    }
    Ok(Value::Array(out))
}

fn check_one(item: &Value) -> Result<Map<String, Value>> {
    let text = |name: &str| {
        item.get(name)
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
    };
    let name = text("name").ok_or_else(|| Error::required(format!("{TARGET}.name")))?;
    let name = ALIASES
        .iter()
        .find(|(alias, _)| alias.eq_ignore_ascii_case(name))
        .map_or(name, |(_, name)| name);
    let value = text("value").ok_or_else(|| Error::required(format!("{TARGET}.value")))?;
    let known = FEATURES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    let Some((name, values)) = known else {
        let all: Vec<&str> = FEATURES.iter().map(|(name, _)| *name).collect();
        return Err(Error::invalid_parameter(
            TARGET,
            format!(
                "The feature name '{name}' is invalid. The supported features are: {}.",
                all.join(", ")
            ),
        ));
    };
    let Some(value) = values
        .iter()
        .find(|known| known.eq_ignore_ascii_case(value))
    else {
        return Err(Error::invalid_parameter(
            TARGET,
            format!(
                "The value '{value}' of feature '{name}' is invalid. The supported values are: {}.",
                values.join(", ")
            ),
        ));
    };
    let mut feature = Map::new();
    feature.insert("name".to_owned(), json!(name));
    feature.insert("value".to_owned(), json!(value));
    if let Some(first) = text("startsAtVersion") {
        first.parse::<VersionNumber>().map_err(|error| {
            Error::invalid_parameter(format!("{TARGET}.startsAtVersion"), error.message)
        })?;
        feature.insert("startsAtVersion".to_owned(), json!(first));
    }
    Ok(feature)
}

fn first_version(kept: &Value, feature: &Map<String, Value>) -> Option<Value> {
    let same = |f: &&Value| {
        ["name", "value"]
            .iter()
            .all(|n| f.get(n) == feature.get(*n))
    };
    let known = kept.as_array().into_iter().flatten().find(same)?;
    known.get("startsAtVersion").cloned()
}

/// Whether two checked lists say the same, in any order.
pub fn are_same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_array(), b.as_array()) else {
        return false;
    };
    a.len() == b.len() && a.iter().all(|feature| b.contains(feature))
}

/// Returns the security type among features, `Standard` when there is none.
pub fn security_type(features: Option<&Value>) -> &str {
    value(features, "SecurityType").unwrap_or("Standard")
}

/// Returns the value of a feature in a checked list.
pub fn value<'a>(features: Option<&'a Value>, name: &str) -> Option<&'a str> {
    features
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|f| f.get("name").and_then(Value::as_str) == Some(name))
        .and_then(|f| f.get("value").and_then(Value::as_str))
}

/// Checks that a gallery and a generation can hold images of the features' security type.
pub fn check(features: &Value, permissions: &str, generation: &str) -> Result<()> {
    let security = security_type(Some(features));
    if security != "Standard" && generation != "V2" {
        return Err(Error::invalid_parameter(
            TARGET,
            format!(
                "The security type '{security}' is only supported for images of Hypervisor generation 'V2'."
            ),
        ));
    }
    gallery_kind::check_security(permissions, security)
}
