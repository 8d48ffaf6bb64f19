//! The disks of one machine, served over NBD.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use blocks::nbd::NbdServer;
use blocks::{Layer, Trouble};
use domain::Result;

use crate::machine::spec::{DiskSlot, DiskSpec};

/// The server's socket in a machine's directory.
pub(super) const SOCKET: &str = "nbd.sock";

/// A server, and what it serves.
pub(super) struct Served {
    server: NbdServer,
    layers: Mutex<BTreeMap<DiskSlot, (String, Layer)>>,
    /// The server's socket is named through it.
    _reach: vm::Reach,
}

/// Returns the name of a disk's export: the same at every start, another for every content.
pub(super) fn export(disk: &DiskSpec) -> String {
    disk.id.to_string()
}

impl Served {
    pub(super) fn new(server: NbdServer, reach: vm::Reach) -> Self {
        Self {
            server,
            layers: Mutex::default(),
            _reach: reach,
        }
    }

    /// Serves a disk; nothing to do when it is served.
    pub(super) fn add(&self, disk: &DiskSpec) -> io::Result<()> {
        let name = export(disk);
        match self.server.add(&name, Arc::new(disk.layer.clone())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            added => added?,
        }
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(disk.slot, (name, disk.layer.clone()));
        Ok(())
    }

    /// Serves a disk no more; what was written to it is durable when this returns.
    pub(super) async fn remove(&self, slot: DiskSlot) -> Result<()> {
        let found = {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.remove(&slot)
        };
        let Some((name, layer)) = found else {
            return Ok(());
        };
        self.server.remove(&name).await;
        layer.flush().await.map_err(crate::error::blocks)
    }

    /// Returns why requests to its disks fail now.
    pub(super) fn troubles(&self) -> Vec<(DiskSlot, Trouble)> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let all = layers.iter();
        all.filter_map(|(slot, (_, layer))| Some((*slot, layer.trouble()?)))
            .collect()
    }

    /// Serves nothing any more; what was written is durable when this returns.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        let layers = self.layers.into_inner();
        for (name, layer) in layers.unwrap_or_else(PoisonError::into_inner).into_values() {
            if let Err(error) = layer.flush().await {
                tracing::error!(%error, "disk {name} cannot be made durable");
            }
        }
    }
}
