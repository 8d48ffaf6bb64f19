//! Locks: what nobody may do at a scope or below it, whatever their roles.

use serde_json::Value;

use crate::scope::covers;
use crate::{Error, ErrorKind, Result};

const NOTES_CHARS_MAX: usize = 512;
const OWNERS_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 260;

/// What a lock forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing may be deleted.
    CanNotDelete,
    /// Nothing may be deleted or changed.
    ReadOnly,
}

impl Level {
    /// Returns the word on the wire and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CanNotDelete => "CanNotDelete",
            Self::ReadOnly => "ReadOnly",
        }
    }

    /// Returns the level of a word, whatever its case.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::CanNotDelete, Self::ReadOnly]
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(word))
    }
}

/// A lock at a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Lower-case id of the scope.
    pub scope: String,
    /// The scope as written.
    pub shown_scope: String,
    /// The name as written; unique at its scope whatever the case.
    pub name: String,
    /// What it forbids.
    pub level: Level,
    /// Why it is there.
    pub notes: Option<String>,
    /// Application ids of those to ask.
    pub owners: Vec<String>,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
}

/// What a caller is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Create, change, or act upon.
    Write,
    /// Delete, with everything below.
    Delete,
}

/// Decides what a PUT of a lock makes.
pub fn plan_put(
    scope: &str,
    name: &str,
    body: &Value,
    now_ms: i64,
    stored: Option<&Lock>,
) -> Result<Lock> {
    let is_name = !name.is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && !name.contains(['<', '>', '%', '&', ':', '\\', '?', '/'])
        && !name.chars().any(char::is_control);
    if !is_name {
        let shown: String = name.chars().take(200).collect();
        return Err(Error::new(
            ErrorKind::Invalid,
            "InvalidLockName",
            format!(
                "The lock name '{shown}' is invalid: use 1 to {NAME_CHARS_MAX} characters, without <, >, %, &, :, \\, ?, /."
            ),
        ));
    }
    let properties = body.get("properties").unwrap_or(&Value::Null);
    let level = properties
        .get("level")
        .and_then(Value::as_str)
        .and_then(Level::parse);
    let level = level
        .ok_or_else(|| invalid("The property 'level' must be 'CanNotDelete' or 'ReadOnly'."))?;
    let notes = match properties.get("notes") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.chars().count() <= NOTES_CHARS_MAX => Some(text.clone()),
        Some(_) => {
            return Err(invalid(
                "The property 'notes' must be a text of at most 512 characters.",
            ));
        }
    };
    Ok(Lock {
        scope: scope.to_ascii_lowercase(),
        shown_scope: stored.map_or(scope, |s| &s.shown_scope).to_owned(),
        name: stored.map_or(name, |s| &s.name).to_owned(),
        level,
        notes,
        owners: owners(properties)?,
        created_ms: stored.map_or(now_ms, |s| s.created_ms),
    })
}

fn owners(properties: &Value) -> Result<Vec<String>> {
    let list = match properties.get("owners") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(list) => list.as_array(),
    };
    let owners = list.and_then(|all| {
        let id = |one: &Value| {
            one.get("applicationId")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        all.iter().map(id).collect::<Option<Vec<_>>>()
    });
    owners
        .filter(|all| all.len() <= OWNERS_MAX && all.iter().all(|id| id.len() <= NAME_CHARS_MAX))
        .ok_or_else(|| {
            invalid("The property 'owners' must be a list of at most 20 {\"applicationId\": …}.")
        })
}

/// Refuses a deed that a lock forbids. `locks` may hold locks of anywhere: those at or above the scope
/// count, and for a delete those below it too.
pub fn check(deed: Deed, scope: &str, locks: &[Lock]) -> Result<()> {
    let key = scope.to_ascii_lowercase();
    let forbids = |lock: &&Lock| match deed {
        Deed::Write => lock.level == Level::ReadOnly && covers(&lock.scope, &key),
        Deed::Delete => covers(&lock.scope, &key) || covers(&key, &lock.scope),
    };
    let mut held: Vec<&str> = locks
        .iter()
        .filter(forbids)
        .map(|l| l.shown_scope.as_str())
        .collect();
    held.dedup();
    if held.is_empty() {
        return Ok(());
    }
    let verb = match deed {
        Deed::Write => "write",
        Deed::Delete => "delete",
    };
    Err(Error::conflict(
        "ScopeLocked",
        format!(
            "The scope '{scope}' cannot perform {verb} operation because following scope(s) are locked: '{}'. Please remove \
             the lock and try again.",
            held.join(",")
        ),
    ))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, "InvalidLockProperties", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lock(scope: &str, level: Level) -> Lock {
        Lock {
            scope: scope.to_ascii_lowercase(),
            shown_scope: scope.to_owned(),
            name: "l".to_owned(),
            level,
            notes: None,
            owners: Vec::new(),
            created_ms: 0,
        }
    }

    #[test]
    fn locks_count_downwards_and_keep_what_is_above_from_deletion() {
        use Deed::{Delete, Write};
        use Level::{CanNotDelete, ReadOnly};
        const G: &str = "/subscriptions/s/resourceGroups/G";
        const D: &str = "/subscriptions/s/resourceGroups/G/providers/Microsoft.Compute/disks/d";
        const OTHER: &str = "/subscriptions/s/resourceGroups/G2";
        for (level, at, deed, scope, is_free) in [
            (CanNotDelete, G, Write, D, true),
            (CanNotDelete, G, Delete, D, false),
            (CanNotDelete, G, Delete, G, false),
            (CanNotDelete, D, Delete, G, false),
            (CanNotDelete, D, Write, G, true),
            (ReadOnly, G, Write, D, false),
            (ReadOnly, G, Write, G, false),
            (ReadOnly, G, Delete, D, false),
            (ReadOnly, D, Write, G, true),
            (ReadOnly, G, Write, OTHER, true),
            (ReadOnly, G, Delete, OTHER, true),
        ] {
            let checked = check(deed, scope, &[lock(at, level)]);
            assert_eq!(
                checked.is_ok(),
                is_free,
                "{level:?} at {at}: {deed:?} {scope}"
            );
            if let Err(error) = checked {
                assert_eq!(error.code, "ScopeLocked");
                assert!(
                    error.message.contains(at) && error.message.contains(scope),
                    "{}",
                    error.message
                );
            }
        }
    }

    #[test]
    fn bodies_are_read_or_refused_with_the_code() {
        for (name, properties, code) in [
            (
                "l",
                json!({ "level": "readonly", "notes": "why", "owners": [{ "applicationId": "a" }] }),
                "",
            ),
            ("l", json!({ "level": "CanNotDelete" }), ""),
            ("l", json!({}), "InvalidLockProperties"),
            (
                "l",
                json!({ "level": "NotSpecified" }),
                "InvalidLockProperties",
            ),
            (
                "l",
                json!({ "level": "ReadOnly", "notes": "x".repeat(513) }),
                "InvalidLockProperties",
            ),
            (
                "l",
                json!({ "level": "ReadOnly", "owners": ["a"] }),
                "InvalidLockProperties",
            ),
            ("a<b", json!({ "level": "ReadOnly" }), "InvalidLockName"),
        ] {
            let made = plan_put(
                "/subscriptions/S",
                name,
                &json!({ "properties": properties }),
                7,
                None,
            );
            assert_eq!(
                made.err().map_or(String::new(), |e| e.code.into_owned()),
                code,
                "{name} {properties}"
            );
        }
    }
}
