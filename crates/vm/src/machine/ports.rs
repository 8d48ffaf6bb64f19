//! Forwarded ports that come and go while the guest runs.

use serde_json::json;

use super::{Machine, Shared};
use crate::command::{forward_host, forward_words};
use crate::error::VmError;
use crate::spec::Forward;

impl Machine {
    /// Replaces the forwarded ports; `ports` has a list for each interface, in order.
    ///
    /// What is forwarded already stays open. When one cannot be opened, those before it are: ask again.
    pub async fn forward(&self, ports: Vec<Vec<Forward>>) -> Result<(), VmError> {
        let shared = &self.inner.shared;
        let mut record = shared.record.lock().await;
        let mut wanted = record.spec.clone();
        if wanted.nics.len() != ports.len() {
            return Err(VmError::Invalid(format!(
                "the machine has {} interfaces, not {}",
                wanted.nics.len(),
                ports.len()
            )));
        }
        for (nic, ports) in wanted.nics.iter_mut().zip(ports) {
            nic.forwards = ports;
        }
        wanted.check()?;
        for (number, nic) in wanted.nics.iter().enumerate() {
            let now = record.spec.nics[number].forwards.clone();
            for gone in now.iter().filter(|now| !nic.forwards.contains(now)) {
                let words = format!("hostfwd_remove net{number} {}", forward_host(gone));
                // "removed" or "not found": it is not there any more.
                monitor(shared, words).await?;
                record.spec.nics[number]
                    .forwards
                    .retain(|kept| kept != gone);
            }
        }
        for (number, nic) in wanted.nics.iter().enumerate() {
            let now = record.spec.nics[number].forwards.clone();
            for new in nic.forwards.iter().filter(|new| !now.contains(new)) {
                let words = forward_words(new, nic.network.guest);
                let said = monitor(shared, format!("hostfwd_add net{number} {words}")).await?;
                if !said.is_empty() {
                    return Err(VmError::Refused {
                        command: "hostfwd_add",
                        class: "GenericError".to_owned(),
                        reason: said,
                    });
                }
                record.spec.nics[number].forwards.push(*new);
            }
        }
        shared
            .directory
            .write_record(&record)
            .map_err(VmError::io("writing the machine's record"))
    }
}

/// Runs a command of the monitor for people, which alone has these; its words are all ours.
async fn monitor(shared: &Shared, words: String) -> Result<String, VmError> {
    let said = shared
        .qmp
        .run("human-monitor-command", json!({"command-line": words}))
        .await?;
    Ok(said.as_str().unwrap_or_default().trim().to_owned())
}
