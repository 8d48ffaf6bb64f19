//! The driver without processes: for pipelines that need the API, not the guest.
//!
//! It keeps nothing: every node sees the same machine, which is what its row says.

use domain::Result;
use uuid::Uuid;

use super::driver::Stop;
use super::spec::MachineSpec;

/// What it says of itself, wherever a real guest would speak.
const WORDS: &str =
    "This machine is simulated: it has disks and states, but no process runs its guest.";

/// The driver without processes.
#[derive(Debug, Default)]
pub struct Simulated;

impl Simulated {
    /// Notes a start.
    pub(super) async fn start(&self, spec: &MachineSpec) -> Result<()> {
        tracing::info!(machine.id = %spec.id, "simulated start of {}", spec.name);
        Ok(())
    }

    /// Notes a stop.
    pub(super) async fn stop(&self, id: Uuid, how: Stop) -> Result<()> {
        tracing::info!(machine.id = %id, ?how, "simulated stop");
        Ok(())
    }

    /// Returns a line that says why there is no more.
    pub(super) async fn console(&self, _id: Uuid, bytes_max: usize) -> Result<Vec<u8>> {
        let mut line = format!("{WORDS}\n").into_bytes();
        line.truncate(bytes_max);
        Ok(line)
    }

    /// Returns what instance views say.
    pub(super) fn describe(&self) -> String {
        WORDS.to_owned()
    }
}
