//! Scopes: where a role, a lock or an action counts.
//!
//! `/` is the whole tenant; everything else is a subscription, a group or a resource, written as its
//! id. Scopes compare in lower case.

use crate::{Error, ResourceId, Result};

/// Returns a scope as people read it: single slashes, none at the end, ids in their canonical spelling.
pub fn clean(scope: &str) -> Result<String> {
    let segments: Vec<&str> = scope.split('/').filter(|s| !s.is_empty()).collect();
    let is_hostile = segments
        .iter()
        .any(|s| matches!(*s, "." | "..") || s.chars().any(char::is_control));
    let is_scope = match segments.as_slice() {
        [] => true,
        [first, _, rest @ ..] if first.eq_ignore_ascii_case("subscriptions") => rest.len() != 1,
        _ => false,
    };
    if !scope.starts_with('/')
        || !is_scope
        || is_hostile
        || scope.len() > crate::resource_id::ID_BYTES_MAX
    {
        let shown: String = scope.chars().take(200).collect();
        return Err(Error::bad_request(format!(
            "'{shown}' is not a scope: use '/' or '/subscriptions/…'."
        )));
    }
    match segments.as_slice() {
        [] => Ok("/".to_owned()),
        [_, subscription] => Ok(format!("/subscriptions/{subscription}")),
        _ => Ok(ResourceId::parse(scope)?.to_string()),
    }
}

/// Whether `scope` is `above` or below it; both in lower case.
pub fn covers(above: &str, scope: &str) -> bool {
    let above = above.trim_end_matches('/');
    scope
        .strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the subscription that a scope lies in; none of the tenant.
pub fn subscription_in(scope: &str) -> Option<&str> {
    let mut segments = scope.split('/').filter(|s| !s.is_empty());
    segments
        .next()
        .filter(|first| first.eq_ignore_ascii_case("subscriptions"))?;
    segments.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_itself_and_what_is_below_and_nothing_beside() {
        for (above, scope, is_covered) in [
            ("/", "/subscriptions/s", true),
            ("/", "/", true),
            ("/subscriptions/s", "/subscriptions/s", true),
            (
                "/subscriptions/s",
                "/subscriptions/s/resourcegroups/g",
                true,
            ),
            ("/subscriptions/s", "/subscriptions/s2", false),
            ("/subscriptions/s", "/", false),
            (
                "/subscriptions/s/resourcegroups/g",
                "/subscriptions/s",
                false,
            ),
            (
                "/subscriptions/s/resourcegroups/g",
                "/subscriptions/s/resourcegroups/gg",
                false,
            ),
            (
                "/subscriptions/s/resourcegroups/g",
                "/subscriptions/s/resourcegroups/g/providers/x",
                true,
            ),
        ] {
            assert_eq!(covers(above, scope), is_covered, "{above} {scope}");
        }
    }

    #[test]
    fn scopes_are_written_in_one_way() {
        for (sent, clean_one) in [
            ("/", Some("/")),
            ("//", Some("/")),
            ("/Subscriptions/S/", Some("/subscriptions/S")),
            (
                "/subscriptions/s/RESOURCEGROUPS/Rg",
                Some("/subscriptions/s/resourceGroups/Rg"),
            ),
            (
                "/subscriptions/s/resourcegroups/g/providers/microsoft.compute//GALLERIES/G",
                Some("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/G"),
            ),
            ("", None),
            ("x", None),
            ("/subscriptions", None),
            ("/subscriptions/s/resourceGroups", None),
            ("/subscriptions/s/../t", None),
            ("/providers/Microsoft.Management/managementGroups/m", None),
        ] {
            assert_eq!(clean(sent).ok().as_deref(), clean_one, "{sent}");
        }
    }

    #[test]
    fn the_subscription_of_a_scope_is_found_whatever_the_case() {
        assert_eq!(subscription_in("/SUBSCRIPTIONS/s/x"), Some("s"));
        assert_eq!(subscription_in("/"), None);
        assert_eq!(subscription_in("/providers/x"), None);
    }
}
