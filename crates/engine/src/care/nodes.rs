//! Leases of periodic work, and who else works on a store.
//!
//! A directory has a lock: one process works on it. An object store has none, so every node that
//! opens one says so in the catalog, for a time, and again before that time is over. A sweep takes
//! only what no node can be writing: while another node is there it is put off, and while a sweep
//! runs no other node comes in. A node is there by the name of its data directory: one that was killed
//! and starts again is the same. See `docs/decisions/0008-sweeps-of-shared-stores.md`.

use std::time::Duration;

use domain::{Error, ErrorKind, Result};

use crate::Engine;
use crate::error::catalog as db;

/// How long a lease holds without being renewed.
const LEASE_MS: i64 = 120_000;
/// How often the lease of running work is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// How long a node counts as there after it last said so; longer than any call to an object store.
const PRESENT_MS: i64 = 600_000;
/// How long names of nodes that are gone are kept.
const FORGOTTEN_MS: i64 = 24 * 60 * 60 * 1000;

impl Engine {
    /// Runs work while this node holds the lease `name`; `None` when another node holds it, or it is lost.
    pub(crate) async fn with_lease<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        self.with_lease_of(self.node(), name, work).await
    }

    /// The same, as `owner`: one that was killed takes up its own lease again.
    pub(crate) async fn with_lease_of<T>(
        &self,
        owner: &str,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        if !self.take_lease(owner, name).await? {
            return Ok(None);
        }
        let outcome = tokio::select! {
            outcome = work => outcome.map(Some),
            () = self.keep_lease(owner, name) => Ok(None),
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.drop_lease(name, owner).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        outcome
    }

    async fn take_lease(&self, owner: &str, name: &str) -> Result<bool> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let taken = tx.take_lease(name, owner, now_ms, now_ms + LEASE_MS);
        let taken = taken.await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(taken)
    }

    /// Returns when the lease is lost.
    async fn keep_lease(&self, owner: &str, name: &str) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            // A catalog that does not answer for longer than a lease means that it is lost.
            if let Ok(false) = self.take_lease(owner, name).await {
                return;
            }
        }
    }

    /// Says that this node works on a region's store; refused while another node sweeps it.
    pub(crate) async fn enter_store(&self, region: &str) -> Result<()> {
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        let sweeping = tx.leases(&sweep_name(region), now_ms).await.map_err(db)?;
        if sweeping
            .iter()
            .any(|(name, owner)| *name == sweep_name(region) && owner != self.home())
        {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "StoreUnavailable",
                format!(
                    "Another node sweeps the store of the region '{region}'. Try again in a moment."
                ),
            ));
        }
        let name = present_name(region, self.home());
        tx.take_lease(&name, self.home(), now_ms, now_ms + PRESENT_MS)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Says again that this node works on the shared stores that it has open.
    pub(crate) async fn stay_in_stores(&self) -> Result<()> {
        let open: Vec<String> = self
            .stores()
            .map(|(region, _)| region.to_owned())
            .filter(|region| self.is_shared(region))
            .collect();
        let now_ms = self.now_ms();
        let mut tx = self.catalog().write().await.map_err(db)?;
        for region in open {
            let name = present_name(&region, self.home());
            tx.take_lease(&name, self.home(), now_ms, now_ms + PRESENT_MS)
                .await
                .map_err(db)?;
        }
        tx.prune_leases(now_ms - FORGOTTEN_MS).await.map_err(db)?;
        tx.commit().await.map_err(db)
    }

    /// Says that this node has left: others need not wait until its time is over.
    pub async fn leave(&self) {
        for (region, _) in self.stores().filter(|(region, _)| self.is_shared(region)) {
            let Ok(mut tx) = self.catalog().write().await else {
                return;
            };
            let name = present_name(region, self.home());
            if tx.drop_lease(&name, self.home()).await.is_ok() {
                drop(tx.commit().await);
            }
        }
    }

    /// Refuses to sweep a store that other nodes may be writing to.
    pub(crate) async fn check_alone(&self, region: &str) -> Result<()> {
        if !self.is_shared(region) {
            return Ok(());
        }
        let mut read = self.catalog().read().await.map_err(db)?;
        let prefix = present_name(region, "");
        let there = read.leases(&prefix, self.now_ms()).await.map_err(db)?;
        let others = there
            .iter()
            .filter(|(_, owner)| owner != self.home())
            .count();
        if others == 0 {
            return Ok(());
        }
        Err(Error::conflict(
            "StoreShared",
            format!(
                "{others} other nodes work on the object store of the region '{region}'. A sweep could take what they are \
                 writing, so it is put off. Stop all nodes but one for the time of the sweep; a node that ended without \
                 saying so counts for ten minutes."
            ),
        ))
    }
}

/// Returns the lease that is held while a region's content is being removed.
pub(crate) fn sweep_name(region: &str) -> String {
    format!("sweep:{region}")
}

/// Returns the lease that says that a node works on a region's store; a prefix of all without a node.
pub(crate) fn present_name(region: &str, node: &str) -> String {
    format!("node:{region}:{node}")
}
