//! What was done and what was refused: entries of a chain that nobody can change unseen.

use serde_json::json;

/// One entry. Its hash covers all of it and the hash of the entry before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Counts from 1 without gaps.
    pub sequence: i64,
    /// Milliseconds since the epoch, UTC.
    pub at_ms: i64,
    /// The tenant of who asked.
    pub tenant: String,
    /// The subscription of the scope, in lower case; empty for the tenant.
    pub subscription: String,
    /// Object id of who asked.
    pub principal: String,
    /// The name that people know: user name or application id.
    pub caller: String,
    /// What was asked, `Microsoft.Compute/galleries/write`.
    pub action: String,
    /// On what, as written.
    pub scope: String,
    /// Why it was refused; empty when it was done.
    pub code: String,
    /// Correlation id of the request.
    pub correlation: String,
    /// The address that the request came from.
    pub client: String,
    /// Digest of the state before; empty when there was none.
    pub before: String,
    /// Digest of the state after; empty when there is none.
    pub after: String,
    /// How many more refusals of the same kind the entry stands for.
    pub repeats: i64,
}

impl Entry {
    /// Returns the text whose SHA-256 is the entry's hash; `previous` is the hash of the entry before.
    ///
    /// Repeats are in it only where there are any: entries from before there were hash as they did.
    pub fn text(&self, previous: &str) -> String {
        let mut members = json!([
            previous,
            self.sequence,
            self.at_ms,
            self.tenant,
            self.subscription,
            self.principal,
            self.caller,
            self.action,
            self.scope,
            self.code,
            self.correlation,
            self.client,
            self.before,
            self.after,
        ]);
        if let Some(members) = members.as_array_mut().filter(|_| self.repeats != 0) {
            members.push(json!(self.repeats));
        }
        members.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_and_the_entry_before_count() {
        let entry = Entry {
            sequence: 2,
            ..Entry::default()
        };
        let base = entry.text("p");
        let with = |change: fn(&mut Entry)| {
            let mut other = entry.clone();
            change(&mut other);
            other.text("p")
        };
        let others = [
            entry.text("q"),
            with(|e| e.sequence = 3),
            with(|e| e.at_ms = 1),
            with(|e| e.tenant = "x".into()),
            with(|e| e.subscription = "x".into()),
            with(|e| e.principal = "x".into()),
            with(|e| e.caller = "x".into()),
            with(|e| e.action = "x".into()),
            with(|e| e.scope = "x".into()),
            with(|e| e.code = "x".into()),
            with(|e| e.correlation = "x".into()),
            with(|e| e.client = "x".into()),
            with(|e| e.before = "x".into()),
            with(|e| e.after = "x".into()),
            with(|e| e.repeats = 1),
            // Nothing moves from one member to the next unseen.
            with(|e| {
                e.before = "\",\"x".into();
            }),
        ];
        let mut all: std::collections::BTreeSet<String> = others.into_iter().collect();
        assert_eq!(all.len(), 16);
        assert!(all.insert(base));
    }
}
