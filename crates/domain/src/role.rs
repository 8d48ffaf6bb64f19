//! Built-in roles and what they allow. Source: `API.md` 11, `reference/builtin-roles.json`.
//!
//! An action is allowed when a permission has it in `actions` and not in `notActions`; `*` stands
//! for any text, case does not matter.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One block of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Permission {
    /// What is allowed on resources.
    pub actions: Vec<String>,
    /// What of that is taken away.
    pub not_actions: Vec<String>,
    /// What is allowed on data.
    pub data_actions: Vec<String>,
    /// What of that is taken away.
    pub not_data_actions: Vec<String>,
}

/// A role definition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// GUID.
    pub id: String,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it allows.
    pub permissions: Vec<Permission>,
}

static BUILT_IN: LazyLock<Vec<Role>> = LazyLock::new(|| {
    let text = include_str!("../data/builtin-roles.json");
    let named: BTreeMap<String, Role> =
        serde_json::from_str(text).expect("the embedded table is tested");
    named
        .into_iter()
        .map(|(name, role)| Role { name, ..role })
        .collect()
});

/// Returns all built-in roles, by name.
pub fn built_in() -> &'static [Role] {
    &BUILT_IN
}

/// Returns a built-in role by its GUID, its name, or a full id that ends in its GUID.
pub fn find(named: &str) -> Option<&'static Role> {
    let last = named.rsplit('/').next().unwrap_or(named);
    built_in()
        .iter()
        .find(|r| r.id.eq_ignore_ascii_case(last) || r.name.eq_ignore_ascii_case(named))
}

/// Returns a built-in role by its GUID, or a full id that ends in it.
pub fn find_by_id(id: &str) -> Option<&'static Role> {
    let last = id.rsplit('/').next().unwrap_or(id);
    built_in().iter().find(|r| r.id.eq_ignore_ascii_case(last))
}

impl Role {
    /// Whether the role allows an action on resources.
    pub fn allows(&self, action: &str) -> bool {
        self.permissions
            .iter()
            .any(|p| any_matches(&p.actions, action) && !any_matches(&p.not_actions, action))
    }

    /// Whether the role allows an action on data.
    pub fn allows_data(&self, action: &str) -> bool {
        self.permissions.iter().any(|p| {
            any_matches(&p.data_actions, action) && !any_matches(&p.not_data_actions, action)
        })
    }
}

fn any_matches(patterns: &[String], action: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| matches(pattern.as_bytes(), action.as_bytes()))
}

/// Matches with `*` for any text, without case, in linear time.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern
            .get(p)
            .is_some_and(|c| c.eq_ignore_ascii_case(&text[t]))
        {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            p = after;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_roles_behave_as_their_tables_say() {
        let share = "Microsoft.Compute/galleries/share/action";
        let read = "Microsoft.Compute/galleries/images/versions/read";
        let write = "microsoft.compute/galleries/IMAGES/versions/write";
        for (role, can_share, can_read, can_write) in [
            ("Owner", true, true, true),
            ("Contributor", false, true, true),
            ("Reader", false, true, false),
            ("Compute Gallery Sharing Admin", true, false, false),
            ("Compute Gallery Image Reader", false, true, false),
            ("Compute Gallery Artifacts Publisher", false, true, true),
            ("Virtual Machine Contributor", false, false, false),
        ] {
            let found = find(role).unwrap();
            assert_eq!(
                find(&format!(
                    "/providers/Microsoft.Authorization/roleDefinitions/{}",
                    found.id
                ))
                .unwrap()
                .name,
                role
            );
            assert_eq!(
                (found.allows(share), found.allows(read), found.allows(write)),
                (can_share, can_read, can_write),
                "{role}"
            );
        }
        assert!(find("no such role").is_none());
    }

    #[test]
    fn stars_match_any_text_and_nothing_else_does() {
        for (pattern, text, is_match) in [
            ("*", "anything/at/all", true),
            ("*/read", "Microsoft.Compute/disks/read", true),
            ("*/read", "Microsoft.Compute/disks/read/action", false),
            (
                "Microsoft.Compute/galleries/*",
                "microsoft.compute/GALLERIES/write",
                true,
            ),
            (
                "Microsoft.Compute/galleries/*",
                "Microsoft.Compute/gallerie",
                false,
            ),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                is_match,
                "{pattern} {text}"
            );
        }
    }
}
