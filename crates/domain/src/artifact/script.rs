//! Gallery scripts and their versions. Source: `API.md` 3.5.

use serde_json::Value;

use super::{
    Words, begin_version, check_names, plan_definition, plan_publishing, plan_source, spell,
};
use crate::plan::PutContext;
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result};

const WORDS: Words = Words {
    name: "galleryScriptName",
    fixed: &["supportedOSType"],
    free: &[
        "description",
        "eula",
        "privacyStatementUri",
        "releaseNoteUri",
        "endOfLifeDate",
    ],
    system: "supportedOSType",
};
const TYPES: [&str; 5] = ["String", "Int", "Double", "Boolean", "Enum"];
const PARAMETERS: &str = "galleryScriptVersion.properties.publishingProfile.source.parameters";

/// Decides a PUT of a script.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    plan_definition(ctx, Kind::GalleryScript, &WORDS, id, body, stored)
}

/// Decides a PUT of a version.
pub fn plan_version(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    let kind = Kind::GalleryScriptVersion;
    let (mut row, mut sent, is_new) = begin_version(ctx, kind, id, body, stored)?;
    let parameters = sent
        .get_mut("publishingProfile")
        .and_then(|p| p.pointer_mut("/source/parameters"));
    if let Some(parameters) = parameters {
        plan_parameters(parameters)?;
    }
    let mut own = Document::new();
    if let Some(source) = plan_source(&row, &sent, &["scriptLink"], is_new)? {
        own.insert("source".to_owned(), source);
    }
    plan_publishing(ctx, &mut row, &sent, own, is_new)?;
    Ok(row)
}

fn plan_parameters(parameters: &mut Value) -> Result<()> {
    check_names(Some(&*parameters), PARAMETERS)?;
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        spell(parameter, "type", &TYPES, &format!("{PARAMETERS}.type"))?;
        let is_enum = parameter.get("type").and_then(Value::as_str) == Some("Enum");
        let values = parameter.get("enumValues").and_then(Value::as_array);
        if is_enum && values.is_none_or(Vec::is_empty) {
            return Err(Error::required(format!("{PARAMETERS}.enumValues")));
        }
    }
    Ok(())
}
