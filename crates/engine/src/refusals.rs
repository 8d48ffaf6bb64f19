//! Refused attempts on their way into the audit: each kind at once, its repetitions once a minute.
//!
//! Who is refused can ask again a thousand times a second; a transaction for each would let anybody with
//! a token fill the audit and hold the only writer. So of the same principal, action, scope, reason and address
//! the first refusal is recorded at once, and those that follow within a minute are counted and recorded as
//! one entry. Who varies the scope to get around that is counted by action alone after
//! [`KINDS_MAX`] kinds in a minute. What was counted and not yet recorded is lost when the server is killed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::audit::Entry;
use domain::{Error, Result};

use crate::error::catalog as db;
use crate::{Ctx, Engine};

/// How long repetitions are counted before they are recorded.
const WINDOW_MS: i64 = 60_000;
/// Kinds of refusals of one principal that are told apart within a window.
pub const KINDS_MAX: usize = 60;
/// Principals that are told apart; beyond them what was counted is recorded early.
const PRINCIPALS_MAX: usize = 10_000;

/// What this node has counted.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, Principal>>);

/// The refusals of one principal.
#[derive(Default)]
struct Principal {
    kinds: HashMap<Kind, Counted>,
}

/// What makes two refusals the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    action: String,
    /// In lower case; `/` where scopes are not told apart any more.
    scope: String,
    code: String,
    /// The address that it came from.
    client: String,
}

/// Refusals of one kind within a window.
struct Counted {
    since_ms: i64,
    /// Not recorded yet.
    count: i64,
    /// The last of them.
    last: Entry,
}

impl Refusals {
    /// Counts a refusal; returns the entry to record at once, and what has been counted long enough.
    fn note(&self, entry: Entry, now_ms: i64) -> Vec<Entry> {
        let mut all = self.lock();
        let mut due = Vec::new();
        if all.len() >= PRINCIPALS_MAX && !all.contains_key(&entry.principal) {
            due.extend(all.drain().flat_map(|(_, one)| one.into_entries()));
        }
        let mine = all.entry(entry.principal.clone()).or_default();
        due.extend(mine.take_due(now_ms));
        let mut entry = entry;
        let mut kind = Kind {
            action: entry.action.clone(),
            scope: entry.scope.to_ascii_lowercase(),
            code: entry.code.clone(),
            client: entry.client.clone(),
        };
        if mine.kinds.len() >= KINDS_MAX && !mine.kinds.contains_key(&kind) {
            "/".clone_into(&mut kind.scope);
            "/".clone_into(&mut entry.scope);
            kind.client.clear();
            entry.subscription.clear();
        }
        match mine.kinds.get_mut(&kind) {
            Some(counted) => {
                counted.count += 1;
                counted.last = entry;
            }
            None => {
                let counted = Counted {
                    since_ms: now_ms,
                    count: 0,
                    last: entry.clone(),
                };
                mine.kinds.insert(kind, counted);
                due.push(entry);
            }
        }
        due
    }

    /// Returns what has been counted long enough, or all of it.
    fn take(&self, now_ms: i64, is_all: bool) -> Vec<Entry> {
        let mut all = self.lock();
        if is_all {
            return all
                .drain()
                .flat_map(|(_, one)| one.into_entries())
                .collect();
        }
        let due = all.values_mut().flat_map(|one| one.take_due(now_ms));
        let due = due.collect();
        all.retain(|_, one| !one.kinds.is_empty());
        due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Principal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Principal {
    fn take_due(&mut self, now_ms: i64) -> Vec<Entry> {
        let is_over = |counted: &Counted| {
            // A clock that went back ends the window as well.
            !(0..WINDOW_MS).contains(&now_ms.saturating_sub(counted.since_ms))
        };
        let over = self.kinds.extract_if(|_, counted| is_over(counted));
        over.filter_map(|(_, counted)| counted.into_entry())
            .collect()
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.kinds.into_values().filter_map(Counted::into_entry)
    }
}

impl Counted {
    fn into_entry(self) -> Option<Entry> {
        (self.count > 0).then(|| Entry {
            repeats: self.count - 1,
            ..self.last
        })
    }
}

impl Engine {
    /// Adds a refused attempt to the chain, or counts it; a failure to do so is logged and changes no answer.
    pub async fn audit_refusal(&self, ctx: &Ctx, action: &str, scope: &str, error: &Error) {
        let mut entry = self.entry(ctx, action, scope);
        entry.code = error.code.to_string();
        let due = self.refusals().note(entry, self.now_ms());
        if let Err(error) = self.record_refusals(due).await {
            tracing::error!(%error, action, scope, "a refusal was not recorded");
        }
    }

    /// Records what was counted of refusals long enough, or all of it.
    pub async fn flush_refusals(&self, is_all: bool) -> Result<()> {
        let due = self.refusals().take(self.now_ms(), is_all);
        self.record_refusals(due).await
    }

    async fn record_refusals(&self, due: Vec<Entry>) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.catalog().write().await.map_err(db)?;
        for entry in due {
            self.chain(&mut tx, entry).await?;
        }
        tx.commit().await.map_err(db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(principal: &str, scope: &str) -> Entry {
        Entry {
            principal: principal.to_owned(),
            action: "a/write".to_owned(),
            scope: scope.to_owned(),
            code: "AuthorizationFailed".to_owned(),
            ..Entry::default()
        }
    }

    fn shown(entries: &[Entry]) -> Vec<(&str, &str, i64)> {
        let mut all: Vec<_> = entries
            .iter()
            .map(|e| (e.principal.as_str(), e.scope.as_str(), e.repeats))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_first_refusal_of_a_kind_is_recorded_at_once_and_the_rest_as_one() {
        let refusals = Refusals::default();
        assert_eq!(shown(&refusals.note(entry("p", "/x"), 0)), [("p", "/x", 0)]);
        for at_ms in 1..1000 {
            let same = entry("p", if at_ms % 2 == 0 { "/x" } else { "/X" });
            assert_eq!(shown(&refusals.note(same, at_ms)), []);
        }
        assert_eq!(shown(&refusals.note(entry("p", "/y"), 5)), [("p", "/y", 0)]);
        assert_eq!(shown(&refusals.note(entry("q", "/x"), 5)), [("q", "/x", 0)]);
        assert_eq!(shown(&refusals.take(WINDOW_MS - 1, false)), []);
        let due = refusals.take(WINDOW_MS, false);
        assert_eq!(shown(&due), [("p", "/X", 998)], "999 more");
        assert_eq!(
            shown(&refusals.note(entry("p", "/x"), WINDOW_MS)),
            [("p", "/x", 0)]
        );
    }

    #[test]
    fn varying_the_scope_does_not_fill_the_audit() {
        let refusals = Refusals::default();
        let recorded: usize = (0..10_000)
            .map(|n| {
                refusals
                    .note(entry("p", &format!("/s/{n}")), n / 1000)
                    .len()
            })
            .sum();
        assert_eq!(recorded, KINDS_MAX + 1);
        let rest = refusals.take(0, true);
        let counted: i64 = rest.iter().map(|e| e.repeats + 1).sum();
        assert_eq!(counted + i64::try_from(recorded).unwrap(), 10_000);
        assert_eq!(shown(&refusals.take(0, true)), []);
    }

    #[test]
    fn what_is_over_goes_with_the_next_refusal_of_the_same_principal() {
        let refusals = Refusals::default();
        refusals.note(entry("p", "/x"), 0);
        refusals.note(entry("p", "/x"), 1);
        let due = refusals.note(entry("p", "/y"), WINDOW_MS + 1);
        assert_eq!(shown(&due), [("p", "/x", 0), ("p", "/y", 0)]);
    }
}
