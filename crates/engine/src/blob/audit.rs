//! The audit of the blob plane: what is made, replaced and removed, and what a proof did not allow.
//!
//! Pages and staged blocks come by the thousand: the first of a caller to a blob is recorded, then
//! one every [`QUIET_MS`]. Whose signature does not hold is nobody: that is logged, not recorded,
//! because anybody could fill the chain with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use catalog::{Blob, Tx};
use domain::{Error, Result};
use serde_json::json;
use uuid::Uuid;

use super::session::{Proof, Session};
use crate::audit::{Deed, digest};
use crate::error::catalog as db;
use crate::{Caller, Ctx, Engine};

/// How long writes of one caller to the contents of one blob count as the same deed.
const QUIET_MS: i64 = 5 * 60 * 1000;
/// Writers that are remembered.
const WRITERS_MAX: usize = 10_000;
const DISK_WRITE_ACTION: &str = "Microsoft.Compute/disks/upload/action";

/// When a caller's write to a blob was recorded last; all of it can be lost.
#[derive(Default)]
pub(crate) struct Writers(Mutex<HashMap<String, i64>>);

impl Writers {
    fn is_due(&self, writer: &str, now_ms: i64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = 0..QUIET_MS;
        known
            .get(writer)
            .is_none_or(|at| !quiet.contains(&now_ms.saturating_sub(*at)))
    }

    fn note(&self, writer: String, now_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= WRITERS_MAX {
            known.clear();
        }
        known.insert(writer, now_ms);
    }
}

impl Session {
    /// Returns the session as one of a request that came from `client`.
    #[must_use]
    pub fn seen_from(mut self, client: &str, correlation_id: Uuid) -> Self {
        client.clone_into(&mut self.client);
        self.correlation_id = correlation_id;
        self
    }

    /// Returns who this is, for the audit.
    fn auditor(&self) -> Ctx {
        let caller = match &self.proof {
            Proof::Token(ctx) => ctx.caller.clone(),
            Proof::Sas(_) => unnamed("shared access signature", &self.tenant),
            Proof::Key => unnamed("account key", &self.tenant),
        };
        Ctx {
            caller,
            auxiliary: Vec::new(),
            api_version: String::new(),
            base_url: String::new(),
            client: self.client.clone(),
            correlation_id: self.correlation_id,
        }
    }

    /// Returns the id of a container, or of a blob in it.
    fn scope(&self, container: Option<&str>, blob: Option<&str>) -> String {
        let mut scope = format!("{}/blobServices/default", self.account.id);
        if let Some(container) = container {
            scope.push_str(&format!("/containers/{container}"));
        }
        if let Some(blob) = blob {
            scope.push_str(&format!("/blobs/{blob}"));
        }
        scope
    }
}

impl Engine {
    /// Records a change of a container, in the transaction that makes it.
    pub(super) async fn audit_container(
        &self,
        tx: &mut Tx,
        session: &Session,
        action: &str,
        name: &str,
        [before, after]: [&str; 2],
    ) -> Result<()> {
        let ctx = session.auditor();
        let deed = Deed {
            action,
            scope: &session.scope(Some(name), None),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        self.audit(tx, &ctx, deed).await
    }

    /// Records a change of a blob, in the transaction that makes it.
    pub(super) async fn audit_blob(
        &self,
        tx: &mut Tx,
        session: &Session,
        action: &str,
        before: Option<&Blob>,
        after: Option<&Blob>,
    ) -> Result<()> {
        let Some(blob) = after.or(before) else {
            return Ok(());
        };
        let ctx = session.auditor();
        let deed = Deed {
            action,
            scope: &session.scope(Some(&blob.container), Some(&blob.name)),
            before: before.map(of_blob).unwrap_or_default(),
            after: after.map(of_blob).unwrap_or_default(),
        };
        self.audit(tx, &ctx, deed).await
    }

    /// Records that a caller writes into a blob, in the transaction that says so; quiet for a while then.
    pub(super) async fn audit_content(
        &self,
        tx: &mut Tx,
        session: &Session,
        container: &str,
        blob: &str,
    ) -> Result<()> {
        let ctx = session.auditor();
        let scope = session.scope(Some(container), Some(blob));
        let writer = format!("{}\n{}\n{scope}", ctx.caller.name, ctx.client);
        if !self.writers().is_due(&writer, self.now_ms()) {
            return Ok(());
        }
        let deed = Deed {
            action: super::session::BLOB_WRITE_ACTION,
            scope: &scope,
            before: String::new(),
            after: String::new(),
        };
        self.audit(tx, &ctx, deed).await?;
        self.writers().note(writer, self.now_ms());
        Ok(())
    }

    /// Records that somebody writes through a disk's URL, before the first byte is written.
    pub(super) async fn audit_disk_write(
        &self,
        disk: &domain::Resource,
        url: &str,
        client: &str,
    ) -> Result<()> {
        let writer = format!("{url}\n{client}");
        if !self.writers().is_due(&writer, self.now_ms()) {
            return Ok(());
        }
        let known = self.known_subscription(disk.id.subscription()).await?;
        let ctx = Ctx {
            caller: unnamed(
                "disk access URL",
                &known.map(|s| s.tenant).unwrap_or_default(),
            ),
            auxiliary: Vec::new(),
            api_version: String::new(),
            base_url: String::new(),
            client: client.to_owned(),
            correlation_id: Uuid::new_v4(),
        };
        let deed = Deed {
            action: DISK_WRITE_ACTION,
            scope: &disk.id.to_string(),
            before: String::new(),
            after: String::new(),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        self.audit(&mut tx, &ctx, deed).await?;
        tx.commit().await.map_err(db)?;
        self.writers().note(writer, self.now_ms());
        Ok(())
    }

    /// Records what a verified proof did not allow.
    pub(super) async fn audit_not_permitted(
        &self,
        session: &Session,
        action: &str,
        container: Option<&str>,
        blob: Option<&str>,
        error: &Error,
    ) {
        let ctx = session.auditor();
        self.audit_refusal(&ctx, action, &session.scope(container, blob), error)
            .await;
    }
}

/// Somebody who is known by a proof, not by a name.
fn unnamed(proof: &str, tenant: &str) -> Caller {
    Caller {
        object_id: String::new(),
        tenant: tenant.to_owned(),
        app_id: String::new(),
        name: proof.to_owned(),
        groups: Vec::new(),
    }
}

fn of_blob(blob: &Blob) -> String {
    digest(
        &json!([
            blob.etag,
            blob.size_bytes,
            blob.kind.as_str(),
            blob.headers,
            blob.metadata,
            blob.layer.to_string(),
            blob.sequence,
        ])
        .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_recorded_first_and_again_when_it_was_quiet_long_enough() {
        let writers = Writers::default();
        for (now_ms, is_due) in [
            (0, true),
            (1, false),
            (QUIET_MS - 1, false),
            (QUIET_MS, true),
            (QUIET_MS + 1, false),
            // A clock that went back.
            (0, true),
        ] {
            assert_eq!(writers.is_due("a", now_ms), is_due, "{now_ms}");
            if is_due {
                writers.note("a".to_owned(), now_ms);
            }
        }
        assert!(writers.is_due("b", 1));
    }
}
