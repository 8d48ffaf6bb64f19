//! The limits of tags, which hold for every resource alike.

use domain::resource::Document;
use domain::{Error, ErrorKind, Result};
use serde_json::Value;

use super::Shape;

/// How many tags a resource may have.
pub(crate) const TAGS_MAX: usize = 50;
/// How long a tag's name may be, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 512;
/// How long the name of a storage account's tag may be, in characters.
pub(crate) const STORAGE_NAME_CHARS_MAX: usize = 128;
/// How long a tag's value may be, in characters.
pub(crate) const VALUE_CHARS_MAX: usize = 256;

/// Checks the tags of a checked body.
pub(crate) fn check(shape: Shape, body: &Value) -> Result<()> {
    let at = match shape {
        Shape::TagsPatch => "/properties/tags",
        _ => "/tags",
    };
    let name_chars_max = match shape {
        Shape::StorageAccount => STORAGE_NAME_CHARS_MAX,
        _ => NAME_CHARS_MAX,
    };
    match body.pointer(at).and_then(Value::as_object) {
        Some(tags) => check_all(tags, name_chars_max),
        None => Ok(()),
    }
}

/// Checks tags that came without a resource around them, their values' type included.
pub fn check_tags(tags: &Document) -> Result<()> {
    if let Some((name, _)) = tags
        .iter()
        .find(|(_, value)| !value.is_string() && !value.is_null())
    {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        return Err(Error::bad_request(format!(
            "The value of tag '{shown}' must be a string."
        )));
    }
    check_all(tags, NAME_CHARS_MAX)
}

fn check_all(tags: &Document, name_chars_max: usize) -> Result<()> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(
            "TooManyTags",
            format!(
                "Too many tags on the resource. Requested tag count - '{}', max limit on tags - '{TAGS_MAX}'.",
                tags.len()
            ),
        ));
    }
    let mut seen = std::collections::HashSet::new();
    for (name, value) in tags {
        check_name(name, name_chars_max)?;
        if !seen.insert(name.to_lowercase()) {
            return Err(invalid(
                "InvalidTagName",
                format!(
                    "The tag name '{name}' is there more than once. Tag names do not differ by case."
                ),
            ));
        }
        let chars = value.as_str().map_or(0, |text| text.chars().count());
        if chars > VALUE_CHARS_MAX {
            return Err(invalid(
                "TagValueTooLong",
                format!(
                    "Tag value too large. The value of tag '{name}' exceeds the maximum length of '{VALUE_CHARS_MAX}' characters."
                ),
            ));
        }
    }
    Ok(())
}

fn check_name(name: &str, chars_max: usize) -> Result<()> {
    if name.trim().is_empty() {
        return Err(invalid(
            "InvalidTagName",
            "The tag name is empty.".to_owned(),
        ));
    }
    if name.chars().count() > chars_max {
        let shown: String = name.chars().take(40).collect();
        return Err(invalid(
            "InvalidTagName",
            format!(
                "The tag name '{shown}…' exceeds the maximum length of '{chars_max}' characters."
            ),
        ));
    }
    if name
        .chars()
        .any(|c| c.is_control() || matches!(c, '<' | '>' | '%' | '&' | '\\' | '?' | '/'))
    {
        return Err(invalid(
            "InvalidTagNameCharacters",
            format!(
                "The tag names '{name}' have reserved characters '<,>,%,&,\\,?,/' or control characters."
            ),
        ));
    }
    Ok(())
}

fn invalid(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::Invalid, code, message)
}
