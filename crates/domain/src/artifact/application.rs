//! VM applications and their versions. Source: `API.md` 3.4, recordings.

use serde_json::{Value, json};

use super::{
    Words, begin_version, check_names, member, plan_definition, plan_publishing, plan_source, spell,
};
use crate::plan::{PutContext, same};
use crate::resource::Document;
use crate::{Error, Kind, Resource, ResourceId, Result, gallery};

const WORDS: Words = Words {
    name: "galleryApplicationName",
    fixed: &["supportedOSType"],
    free: &[
        "description",
        "eula",
        "privacyStatementUri",
        "releaseNoteUri",
        "endOfLifeDate",
        "customActions",
    ],
    system: "supportedOSType",
};
const PARAMETER_TYPES: [&str; 3] = ["String", "ConfigurationDataBlob", "LogOutputBlob"];
const AFTER_REBOOT: [&str; 2] = ["None", "Rerun"];
/// The longest command and file name, in characters.
const TEXT_CHARS_MAX: usize = 4096;

/// Decides a PUT of an application; it is true at once.
pub fn plan_put(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_gallery(ctx.parent, stored)?;
    let kind = Kind::GalleryApplication;
    let mut row = plan_definition(ctx, kind, &WORDS, id, body, stored)?;
    let target = "galleryApplication.properties.customActions";
    plan_actions(row.properties.get_mut("customActions"), target)?;
    row.state = crate::ProvisioningState::Succeeded;
    Ok(row)
}

/// Galleries that others see hold no applications. Source: `API.md` 4.
fn check_gallery(gallery: Option<&Resource>, stored: Option<&Resource>) -> Result<()> {
    let permissions = gallery.map_or("Private", |g| gallery::permissions(g));
    if permissions == "Private" || stored.is_some() {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "VM applications are not supported in a gallery whose sharing permission is '{permissions}'. Use a private gallery."
        ),
    ))
}

fn plan_actions(actions: Option<&mut Value>, target: &str) -> Result<()> {
    let Some(actions) = actions else {
        return Ok(());
    };
    check_names(Some(&*actions), target)?;
    for action in actions.as_array_mut().into_iter().flatten() {
        let script = action.get("script").and_then(Value::as_str);
        if script.is_none_or(str::is_empty) {
            return Err(Error::required(format!("{target}.script")));
        }
        let target = format!("{target}.parameters");
        check_names(action.get("parameters"), &target)?;
        let parameters = action.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            spell(
                parameter,
                "type",
                &PARAMETER_TYPES,
                &format!("{target}.type"),
            )?;
        }
    }
    Ok(())
}

/// Decides a PUT of a version.
pub fn plan_version(
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    check_gallery(ctx.gallery, stored)?;
    let kind = Kind::GalleryApplicationVersion;
    let (mut row, sent, is_new) = begin_version(ctx, kind, id, body, stored)?;
    let mut own = Document::new();
    let links = ["mediaLink", "defaultConfigurationLink"];
    if let Some(source) = plan_source(&row, &sent, &links, is_new)? {
        own.insert("source".to_owned(), source);
    }
    plan_commands(&row, &sent, &mut own, is_new)?;
    let health = member(&row, &sent, "enableHealthCheck");
    if let Some(settings) = member(&row, &sent, "advancedSettings") {
        own.insert("advancedSettings".to_owned(), settings);
    }
    own.insert(
        "enableHealthCheck".to_owned(),
        health.unwrap_or_else(|| json!(false)),
    );
    if let Some(mut actions) = member(&row, &sent, "customActions") {
        plan_actions(Some(&mut actions), &at("customActions"))?;
        own.insert("customActions".to_owned(), actions);
    }
    plan_publishing(ctx, &mut row, &sent, own, is_new)?;
    Ok(row)
}

fn at(name: &str) -> String {
    format!("galleryApplicationVersion.properties.publishingProfile.{name}")
}

/// Commands and file names are said once: what is installed is not what it was if they change.
fn plan_commands(row: &Resource, sent: &Document, own: &mut Document, is_new: bool) -> Result<()> {
    for (name, members) in [
        ("manageActions", &["install", "remove", "update"][..]),
        (
            "settings",
            &[
                "packageFileName",
                "configFileName",
                "scriptBehaviorAfterReboot",
            ][..],
        ),
    ] {
        let profile = |members: &Document| members.get("publishingProfile")?.get(name).cloned();
        let held = profile(&row.properties).filter(|_| !is_new);
        let mut asked = profile(sent);
        if let Some(asked) = &mut asked {
            let reboot = at("settings.scriptBehaviorAfterReboot");
            spell(asked, "scriptBehaviorAfterReboot", &AFTER_REBOOT, &reboot)?;
        }
        for member in members {
            let asked = asked.as_ref().and_then(|a| a.get(*member));
            let target = at(&format!("{name}.{member}"));
            check_text(asked, &target)?;
            let held = held.as_ref().and_then(|h| h.get(*member));
            match asked {
                Some(asked) if !is_new && !same(held, asked) => {
                    return Err(Error::change_not_allowed(target));
                }
                None if is_new && ["install", "remove"].contains(member) => {
                    return Err(Error::required(target));
                }
                _ => {}
            }
        }
        if let Some(value) = held.or(asked) {
            own.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

fn check_text(value: Option<&Value>, target: &str) -> Result<()> {
    let chars = value
        .and_then(Value::as_str)
        .map_or(0, |text| text.chars().count());
    if chars <= TEXT_CHARS_MAX {
        return Ok(());
    }
    let name = target.rsplit('.').next().unwrap_or(target);
    Err(Error::invalid_parameter(
        target,
        format!(
            "The value of parameter '{name}' has {chars} characters, which is more than the maximum of {TEXT_CHARS_MAX}."
        ),
    ))
}
