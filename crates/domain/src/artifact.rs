//! What galleries hold besides images: applications, scripts, access control profiles, and their versions.
//!
//! A version of an application or script is a file (and perhaps a configuration) that is captured and
//! replicated as image content is; a version of a profile is its row alone. Regions, counts and dates
//! follow the rules of image versions. Source: `API.md` 3.4, 3.5.

pub mod access_profile;
pub mod application;
pub mod script;

use serde_json::Value;

use crate::image_version::VersionNumber;
use crate::plan::{
    PutContext, canonical, check_end_of_life, drop_query, is_entity_name, properties, same, start,
    take, take_once, text,
};
use crate::resource::Document;
use crate::{
    Error, ErrorKind, Kind, ProvisioningState, Regions, Resource, ResourceId, Result, image_version,
};

/// The largest file of a version, in bytes. Source: the limits of VM applications.
pub const FILE_BYTES_MAX: u64 = 2 << 30;
const SYSTEMS: [&str; 2] = ["Windows", "Linux"];

/// A file that a version is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Which of the version's files: the slot of its replicas.
    pub slot: &'static str,
    /// The URL of the blob, without its query.
    pub url: String,
    /// The property that names it.
    pub target: String,
}

/// Decides a PUT of any of these kinds.
pub fn plan_put(
    kind: Kind,
    ctx: &mut PutContext<'_>,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    match kind {
        Kind::GalleryApplication => application::plan_put(ctx, id, body, stored),
        Kind::GalleryApplicationVersion => application::plan_version(ctx, id, body, stored),
        Kind::GalleryScript => script::plan_put(ctx, id, body, stored),
        Kind::GalleryScriptVersion => script::plan_version(ctx, id, body, stored),
        Kind::AccessProfile => access_profile::plan_put(ctx, id, body, stored),
        Kind::AccessProfileVersion => access_profile::plan_version(ctx, id, body, stored),
        _ => Err(Error::internal()),
    }
}

/// Returns the files that a version is made of.
pub fn files(row: &Resource) -> Vec<File> {
    let members: &[(&str, &str)] = match row.kind {
        Kind::GalleryApplicationVersion => &[
            ("package", "mediaLink"),
            ("configuration", "defaultConfigurationLink"),
        ],
        Kind::GalleryScriptVersion => &[("script", "scriptLink")],
        _ => &[],
    };
    let profile = row.properties.get("publishingProfile");
    let source = profile.and_then(|p| p.get("source"));
    let read = |(slot, name): &(&'static str, &str)| {
        let url = source?.get(name)?.as_str().filter(|url| !url.is_empty())?;
        Some(File {
            slot,
            url: url.to_owned(),
            target: format!(
                "{}.properties.publishingProfile.source.{name}",
                row.kind.wire_name()
            ),
        })
    };
    members.iter().filter_map(read).collect()
}

/// Whether a version has captured its files.
pub fn has_content(row: &Resource) -> bool {
    row.internal.contains_key("images")
}

/// Returns the short names of the regions that a version of any kind is to be in.
pub fn target_regions(row: &Resource, regions: &Regions) -> Vec<String> {
    if row.kind != Kind::AccessProfileVersion {
        return image_version::target_regions(row, regions);
    }
    let listed = row
        .properties
        .get("targetLocations")
        .and_then(Value::as_array);
    let names: Vec<String> = listed
        .into_iter()
        .flatten()
        .filter_map(|r| r.get("name").and_then(Value::as_str))
        .map(|name| regions.short(name))
        .collect();
    match names.is_empty() {
        true => vec![row.location.clone()],
        false => names,
    }
}

/// What is said of a kind that versions belong to.
pub(crate) struct Words {
    /// The name of its name in errors.
    pub name: &'static str,
    /// Members that never change, the first of them required.
    pub fixed: &'static [&'static str],
    /// Members that may change.
    pub free: &'static [&'static str],
    /// The member that holds the system.
    pub system: &'static str,
}

/// Decides a PUT of an application, script or profile.
pub(crate) fn plan_definition(
    ctx: &mut PutContext<'_>,
    kind: Kind,
    words: &Words,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<Resource> {
    if !is_entity_name(id.name()) {
        return Err(crate::plan::invalid_entity_name(words.name));
    }
    let mut row = start(ctx, kind, id, body, stored)?;
    let mut sent = properties(body);
    let wire = kind.wire_name();
    let target = format!("{wire}.properties.{}", words.system);
    canonical(&mut sent, words.system, &SYSTEMS, &target)?;
    if stored.is_none() {
        for name in words.fixed {
            let said = text(&sent, name).filter(|word| !word.is_empty());
            said.ok_or_else(|| Error::required(format!("{wire}.properties.{name}")))?;
        }
    }
    take_once(
        &mut row.properties,
        &sent,
        words.fixed,
        stored.is_none(),
        wire,
    )?;
    let held_end = stored.and_then(|s| s.properties.get("endOfLifeDate"));
    if let Some(ends) = sent.get("endOfLifeDate")
        && !same(held_end, ends)
    {
        check_end_of_life(
            &sent,
            ctx.now_ms,
            &format!("{wire}.properties.endOfLifeDate"),
        )?;
    }
    take(&mut row.properties, &sent, words.free);
    Ok(row)
}

/// Checks a version's name; the same three numbers as of an image version.
pub(crate) fn check_version_name(kind: Kind, name: &str) -> Result<()> {
    let wire = kind.wire_name();
    name.parse::<VersionNumber>().map(|_| ()).map_err(|_| {
        let shown = kind.shown_name().to_lowercase();
        Error::invalid_parameter(
            format!("{wire}Name"),
            format!(
                "The {shown} name is invalid. The {shown} name should follow Major(int).Minor(int).Patch(int) format, for \
                 e.g: 1.0.0, 2018.12.1 etc."
            ),
        )
    })
}

/// Starts a version; whether everything may be said anew.
pub(crate) fn begin_version(
    ctx: &mut PutContext<'_>,
    kind: Kind,
    id: &ResourceId,
    body: &Value,
    stored: Option<&Resource>,
) -> Result<(Resource, Document, bool)> {
    check_version_name(kind, id.name())?;
    let row = start(ctx, kind, id, body, stored)?;
    let is_new = stored.is_none_or(|s| s.state == ProvisioningState::Failed && !has_content(s));
    Ok((row, properties(body), is_new))
}

/// Plans regions, counts and dates as of an image version, and the profile's own members before them.
pub(crate) fn plan_publishing(
    ctx: &PutContext<'_>,
    row: &mut Resource,
    sent: &Document,
    own: Document,
    is_new: bool,
) -> Result<()> {
    refuse_encryption(row.kind, sent)?;
    image_version::plan_publishing(ctx, row, sent, is_new)
        .map_err(|error| reword(error, row.kind))?;
    let planned = row.properties.shift_remove("publishingProfile");
    let mut profile = own;
    if let Some(Value::Object(planned)) = planned {
        for (name, value) in planned {
            profile.entry(name).or_insert(value);
        }
    }
    let profile = Value::Object(profile);
    row.properties
        .insert("publishingProfile".to_owned(), profile);
    plan_safety(row, sent);
    Ok(())
}

fn plan_safety(row: &mut Resource, sent: &Document) {
    let held = row.properties.shift_remove("safetyProfile");
    let mut kept = match held {
        Some(Value::Object(kept)) => kept,
        _ => Document::new(),
    };
    if let Some(Value::Object(profile)) = sent.get("safetyProfile") {
        take(&mut kept, profile, &["allowDeletionOfReplicatedLocations"]);
    }
    kept.entry("allowDeletionOfReplicatedLocations")
        .or_insert(Value::Bool(false));
    row.properties
        .insert("safetyProfile".to_owned(), Value::Object(kept));
}

fn refuse_encryption(kind: Kind, sent: &Document) -> Result<()> {
    let profile = sent.get("publishingProfile");
    let regions = profile.and_then(|p| p.get("targetRegions"));
    let regions = regions.and_then(Value::as_array);
    let mut asked = regions
        .into_iter()
        .flatten()
        .filter_map(|r| r.get("encryption"));
    if asked.all(crate::plan::is_nothing) {
        return Ok(());
    }
    let shown = kind.shown_name();
    let mut shown = shown.to_lowercase();
    if let Some(first) = shown.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Err(Error::invalid_parameter(
        format!(
            "{}.properties.publishingProfile.targetRegions.encryption",
            kind.wire_name()
        ),
        format!("{shown} resources currently don't support encryption."),
    ))
}

/// The rules of regions are those of image versions; their sentences name what was written.
pub fn reword(mut error: Error, kind: Kind) -> Error {
    let wire = kind.wire_name();
    let mut title = wire.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let shown = kind.shown_name().to_lowercase();
    let texts = [
        ("GalleryImageVersion", title.as_str()),
        ("galleryImageVersion", wire),
        ("allery image version", shown.get(1..).unwrap_or_default()),
        ("The image version", &format!("The {shown}")),
        ("of image version", &format!("of {shown}")),
    ];
    for (of_image, ours) in texts {
        error.message = error.message.replace(of_image, ours);
        error.target = error.target.map(|target| target.replace(of_image, ours));
    }
    error
}

/// Takes `source`: its links are said once, and shown without their queries.
pub(crate) fn plan_source(
    row: &Resource,
    sent: &Document,
    links: &[&str],
    is_new: bool,
) -> Result<Option<Value>> {
    let wire = row.kind.wire_name();
    let target = format!("{wire}.properties.publishingProfile.source");
    let profile = |members: &Document| {
        let profile = members.get("publishingProfile")?.as_object()?;
        profile.get("source").cloned()
    };
    let held = profile(&row.properties);
    let Some(Value::Object(mut source)) = profile(sent) else {
        return match is_new {
            true => Err(Error::required(target)),
            false => Ok(held),
        };
    };
    for name in links {
        drop_query(&mut source, name);
    }
    let first = links.first().copied().unwrap_or_default();
    let link = text(&source, first).filter(|link| !link.is_empty());
    let Some(link) = link else {
        return Err(Error::required(format!("{target}.{first}")));
    };
    if is_new {
        check_link(link, &format!("{target}.{first}"))?;
        return Ok(Some(Value::Object(source)));
    }
    let held_members = held.as_ref().and_then(Value::as_object);
    for (name, value) in &source {
        if !same(held_members.and_then(|h| h.get(name)), value) {
            return Err(Error::change_not_allowed(format!("{target}.{name}")));
        }
    }
    Ok(held)
}

fn check_link(link: &str, target: &str) -> Result<()> {
    let is_url = link
        .get(..8)
        .is_some_and(|head| head.eq_ignore_ascii_case("https://"));
    if is_url {
        return Ok(());
    }
    let shown: String = link.chars().take(200).collect();
    Err(Error::invalid_parameter(
        target,
        format!(
            "The link '{shown}' is invalid. It must be the https URL of a blob, with a SAS where the blob is private."
        ),
    ))
}

/// Returns `sent.publishingProfile.{name}`, else what is stored there.
pub(crate) fn member(row: &Resource, sent: &Document, name: &str) -> Option<Value> {
    let of = |members: &Document| members.get("publishingProfile")?.get(name).cloned();
    of(sent).or_else(|| of(&row.properties))
}

/// Checks a list of things that have names: each has one, none twice.
pub(crate) fn check_names(list: Option<&Value>, target: &str) -> Result<()> {
    let items = list.and_then(Value::as_array);
    let mut seen: Vec<String> = Vec::new();
    for item in items.into_iter().flatten() {
        let name = item.get("name").and_then(Value::as_str);
        let name = name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::required(format!("{target}.name")))?;
        let key = name.to_lowercase();
        if seen.contains(&key) {
            return Err(Error::invalid_parameter(
                format!("{target}.name"),
                format!(
                    "The name '{name}' is there more than once. Names must be unique, whatever their case."
                ),
            ));
        }
        seen.push(key);
    }
    Ok(())
}

/// Refuses a word outside an enum, in a value that is kept as it was sent otherwise.
pub(crate) fn spell(
    members: &mut Value,
    name: &str,
    allowed: &[&'static str],
    target: &str,
) -> Result<()> {
    match members.as_object_mut() {
        Some(members) => canonical(members, name, allowed, target),
        None => Ok(()),
    }
}

/// The refusal of a file that is none or too large.
pub fn check_file_size(file: &File, size_bytes: u64) -> Result<()> {
    if (1..=FILE_BYTES_MAX).contains(&size_bytes) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "InvalidParameter",
        format!(
            "The blob '{}' has {size_bytes} bytes. A file of a version must have at least one byte and at most {FILE_BYTES_MAX}.",
            file.url
        ),
    )
    .at(file.target.as_str()))
}
