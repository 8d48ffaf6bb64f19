//! The roles of one principal, found by scope.
//!
//! A role counts at its scope and below, so a decision asks only the scopes above what is asked:
//! a handful of look-ups, however many roles a principal has.

use std::borrow::Cow;
use std::collections::HashMap;

use domain::role::Role;

/// Roles by the lower-case scope that they were given at.
#[derive(Default)]
pub(crate) struct HeldRoles(HashMap<String, Vec<Cow<'static, Role>>>);

impl HeldRoles {
    /// Adds a role at a scope in lower case.
    pub fn add(&mut self, scope: &str, role: Cow<'static, Role>) {
        self.0.entry(key(scope).to_owned()).or_default().push(role);
    }

    /// Whether a role at `scope` (in lower case) or above it passes.
    pub fn any_at(&self, scope: &str, passes: impl Fn(&Role) -> bool) -> bool {
        let scope = key(scope);
        let above = scope.match_indices('/').map(|(at, _)| &scope[..at]);
        above
            .chain([scope])
            .filter_map(|at| self.0.get(at))
            .flatten()
            .any(|role| passes(role))
    }

    /// Whether there is a role at the tenant, at `scope` (in lower case) or below it.
    pub fn touches(&self, scope: &str) -> bool {
        let is_below = |held: &str| domain::scope::covers(scope, held);
        self.0.keys().any(|held| held.is_empty() || is_below(held))
    }
}

/// Returns a scope without a slash at its end; the tenant is empty.
fn key(scope: &str) -> &str {
    scope.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_counts_exactly_where_its_scope_covers() {
        let scopes = [
            "/",
            "/subscriptions/s",
            "/subscriptions/s2",
            "/subscriptions/s/resourcegroups/g",
            "/subscriptions/s/resourcegroups/gg",
            "/subscriptions/s/resourcegroups/g/providers/microsoft.compute/disks/d",
        ];
        let role = domain::role::find("Reader").unwrap();
        for held in scopes {
            let mut roles = HeldRoles::default();
            roles.add(held, Cow::Borrowed(role));
            for asked in scopes {
                for asked in [
                    asked.to_owned(),
                    format!("{}/", asked.trim_end_matches('/')),
                ] {
                    assert_eq!(
                        roles.any_at(&asked, |_| true),
                        domain::scope::covers(held, asked.trim_end_matches('/')),
                        "{held} {asked}"
                    );
                }
                assert!(!roles.any_at(asked, |_| false));
            }
        }
    }

    #[test]
    fn a_subscription_is_touched_by_roles_above_at_and_below_it() {
        let role = domain::role::find("Reader").unwrap();
        for (held, is_touched) in [
            ("/", true),
            ("/subscriptions/s", true),
            ("/subscriptions/s/resourcegroups/g", true),
            ("/subscriptions/s2", false),
        ] {
            let mut roles = HeldRoles::default();
            roles.add(held, Cow::Borrowed(role));
            assert_eq!(roles.touches("/subscriptions/s"), is_touched, "{held}");
        }
    }
}
