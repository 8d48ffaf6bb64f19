//! The audit: every write in its own transaction, every refusal beside it, chained by hashes.
//!
//! What the chain promises: an entry that was changed, removed from the middle or put in between is
//! found by [`Engine::verify_audit`]. What it cannot see by itself: entries cut off its end; keep the
//! printed head hash elsewhere for that.

use catalog::{AuditFilter, Tx};
use domain::audit::Entry;
use domain::{Resource, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::error::catalog as db;
use crate::{Ctx, Engine};

/// Entries that one page of the activity log holds.
const PAGE_ENTRIES: usize = 200;
/// Entries that are looked through for one page.
const LOOKED_AT_MAX: usize = 20_000;
/// Entries read in one go.
const BATCH: usize = 1000;
const READ_EVENTS: &str = "Microsoft.Insights/eventtypes/values/read";

/// What was done.
pub(crate) struct Deed<'a> {
    /// The action, as roles name it.
    pub action: &'a str,
    /// On what.
    pub scope: &'a str,
    /// Digest of the state before; empty when there was none.
    pub before: String,
    /// Digest of the state after; empty when there is none.
    pub after: String,
}

/// A chain that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// How many entries hold together.
    pub entries: i64,
    /// The hash of the last of them.
    pub head: String,
    /// What is wrong with the next one; none when all is well.
    pub broken: Option<String>,
}

/// Which events the activity log shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityFilter {
    /// Not before this time.
    pub from_ms: i64,
    /// Not after this time.
    pub to_ms: i64,
    /// Only on this group.
    pub group: Option<String>,
    /// Only on this resource.
    pub resource: Option<String>,
    /// Only of this namespace.
    pub provider: Option<String>,
    /// Only of this request.
    pub correlation: Option<String>,
    /// Only by this user or application.
    pub caller: Option<String>,
    /// Only `Succeeded` or `Failed`.
    pub status: Option<String>,
}

impl Engine {
    /// Adds what was done to the chain, in the transaction that does it.
    pub(crate) async fn audit(&self, tx: &mut Tx, ctx: &Ctx, deed: Deed<'_>) -> Result<()> {
        let entry = Entry {
            before: deed.before,
            after: deed.after,
            ..self.entry(ctx, deed.action, deed.scope)
        };
        self.chain(tx, entry).await
    }

    /// Adds a change of a resource to the chain, in the transaction that makes it.
    pub(crate) async fn audit_row(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        action: &str,
        before: Option<&Resource>,
        after: &Resource,
    ) -> Result<()> {
        let deed = Deed {
            action,
            scope: &after.id.to_string(),
            before: before.map(of_row).unwrap_or_default(),
            after: of_row(after),
        };
        self.audit(tx, ctx, deed).await
    }

    /// Returns an entry of now, of which only the deed is missing.
    pub(crate) fn entry(&self, ctx: &Ctx, action: &str, scope: &str) -> Entry {
        Entry {
            at_ms: self.now_ms(),
            tenant: ctx.caller.tenant.clone(),
            subscription: domain::scope::subscription_in(scope)
                .unwrap_or_default()
                .to_ascii_lowercase(),
            principal: ctx.caller.object_id.clone(),
            caller: ctx.caller.name.clone(),
            action: action.to_owned(),
            scope: scope.to_owned(),
            correlation: ctx.correlation_id.to_string(),
            client: ctx.client.clone(),
            ..Entry::default()
        }
    }

    /// Adds an entry to the end of the chain.
    pub(crate) async fn chain(&self, tx: &mut Tx, mut entry: Entry) -> Result<()> {
        let last = tx.last_audit().await.map_err(db)?;
        let (sequence, previous) = last.map_or((0, String::new()), |(e, hash)| (e.sequence, hash));
        entry.sequence = sequence + 1;
        let hash = digest(&entry.text(&previous));
        tx.insert_audit(&entry, &hash).await.map_err(db)
    }

    /// Reads the whole chain and checks every link; `head` is a hash that must be one of them.
    pub async fn verify_audit(&self, head: Option<&str>) -> Result<AuditReport> {
        let mut report = AuditReport {
            entries: 0,
            head: String::new(),
            broken: None,
        };
        let mut has_head = head.is_none();
        loop {
            let mut read = self.catalog().read().await.map_err(db)?;
            let batch = read.audit_after(report.entries, BATCH).await.map_err(db)?;
            drop(read);
            if batch.is_empty() {
                if !has_head {
                    report.broken = Some("the head that was given is not in it".to_owned());
                }
                return Ok(report);
            }
            for (entry, hash) in batch {
                if entry.sequence != report.entries + 1 {
                    report.broken = Some(format!("entry {} is missing", report.entries + 1));
                    return Ok(report);
                }
                if digest(&entry.text(&report.head)) != hash {
                    report.broken = Some(format!("entry {} was changed", entry.sequence));
                    return Ok(report);
                }
                report.entries = entry.sequence;
                has_head |= head == Some(hash.as_str());
                report.head = hash;
            }
        }
    }

    /// Returns events of a subscription, newest first, and the place to go on from.
    pub async fn activity(
        &self,
        ctx: &Ctx,
        subscription: &str,
        filter: &ActivityFilter,
        before: Option<i64>,
    ) -> Result<(Vec<Entry>, Option<i64>)> {
        self.authorize(ctx, READ_EVENTS, &format!("/subscriptions/{subscription}"))
            .await?;
        let mut wanted = AuditFilter {
            subscription: subscription.to_ascii_lowercase(),
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
            before: before.unwrap_or(i64::MAX),
        };
        let mut events = Vec::new();
        let mut looked_at = 0;
        let mut read = self.catalog().read().await.map_err(db)?;
        loop {
            let batch = read.audit_of(&wanted, BATCH).await.map_err(db)?;
            let is_last = batch.len() < BATCH;
            looked_at += batch.len();
            for entry in batch {
                wanted.before = entry.sequence;
                if passes(&entry, filter) {
                    events.push(entry);
                }
                if events.len() == PAGE_ENTRIES {
                    return Ok((events, Some(wanted.before)));
                }
            }
            if is_last {
                return Ok((events, None));
            }
            if looked_at >= LOOKED_AT_MAX {
                return Ok((events, Some(wanted.before)));
            }
        }
    }
}

/// Returns the digest of all that a row says, for the audit.
pub(crate) fn of_row(row: &Resource) -> String {
    // What people chose as a secret must not be guessed from the digest.
    let mut internal = row.internal.clone();
    internal.shift_remove("secrets");
    digest(&json!([row.location, row.tags, row.top, row.properties, internal]).to_string())
}

/// Returns the SHA-256 of a text in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut out, byte| {
            // Writing into a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn passes(entry: &Entry, filter: &ActivityFilter) -> bool {
    let scope = entry.scope.to_ascii_lowercase();
    let is = |wanted: &Option<String>, held: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(held))
    };
    let status = if entry.code.is_empty() {
        "Succeeded"
    } else {
        "Failed"
    };
    let is_below = |wanted: &Option<String>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| domain::scope::covers(&wanted.to_ascii_lowercase(), &scope))
    };
    let group = scope.split('/').nth(4).unwrap_or_default();
    is(&filter.group, group)
        && is_below(&filter.resource)
        && is(
            &filter.provider,
            entry.action.split('/').next().unwrap_or_default(),
        )
        && is(&filter.correlation, &entry.correlation)
        && is(&filter.caller, &entry.caller)
        && is(&filter.status, status)
}
