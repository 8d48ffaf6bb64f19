//! Taking over machines that another server has started.

use std::path::Path;

use serde_json::json;

use super::watch::{Keeper, leave, said, tidy};
use super::{End, Machine, Reason};
use crate::command::QMP_SOCKET;
use crate::error::VmError;
use crate::host::Host;
use crate::process::Identity;
use crate::qmp::Qmp;

/// What was found in a machine's directory.
pub enum Adopted {
    /// It runs, and is watched from here on.
    Running(Machine),
    /// It has ended, seen or not.
    Ended(End),
    /// No machine was ever started here.
    Absent,
}

impl Host {
    /// Takes over the machine of `dir`, if it still runs.
    ///
    /// The process must be the one that was started, by number, start time and start of the host;
    /// it must listen on the machine's monitor, and say that it is this machine.
    pub async fn adopt(&self, dir: &Path) -> Result<Adopted, VmError> {
        let directory = self.directory(dir);
        let record = directory
            .read_record()
            .map_err(VmError::io("reading the machine's record"))?;
        let Some(mut record) = record else {
            return Ok(Adopted::Absent);
        };
        let process = record.emulator.as_ref().and_then(Identity::open);
        let Some(process) = process else {
            tidy(&directory).await;
            leave(&record);
            let end = record.end.take().unwrap_or_else(|| End {
                reason: Reason::Unknown,
                said: said(&directory),
            });
            record.end = Some(end.clone());
            directory
                .write_record(&record)
                .map_err(VmError::io("writing the machine's record"))?;
            return Ok(Adopted::Ended(end));
        };
        let stream = directory.connect(QMP_SOCKET, process.pid).await?;
        let qmp = Qmp::open(stream).await?;
        let uuid = qmp.run("query-uuid", json!({})).await?;
        if uuid["UUID"].as_str() != Some(record.spec.id.to_string().as_str()) {
            return Err(VmError::Stranger { what: QMP_SOCKET });
        }
        let state = qmp.run("query-status", json!({})).await?;
        let is_shut_down = state["status"] == "shutdown";
        Ok(Adopted::Running(Machine::watched(
            directory,
            record,
            process,
            qmp,
            Keeper::Adopted,
            is_shut_down,
        )))
    }
}
