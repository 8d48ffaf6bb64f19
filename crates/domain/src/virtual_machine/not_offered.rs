//! What the service does to machines elsewhere and this one does not, with what to do instead.

use crate::Error;

/// Something that is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOffered {
    /// `runCommand` in a machine that is simulated.
    RunCommand,
    /// Commands as resources of a machine.
    RunCommandResource,
    /// Extensions, which an agent in the guest would install.
    Extension,
    /// `assessPatches`.
    AssessPatches,
    /// `installPatches`.
    InstallPatches,
    /// `simulateEviction`.
    SimulateEviction,
    /// `performMaintenance`.
    PerformMaintenance,
    /// `convertToManagedDisks`.
    ConvertToManagedDisks,
    /// `capture`, which copies unmanaged disks.
    Capture,
}

impl NotOffered {
    /// Everything.
    pub const ALL: [Self; 9] = [
        Self::RunCommand,
        Self::RunCommandResource,
        Self::Extension,
        Self::AssessPatches,
        Self::InstallPatches,
        Self::SimulateEviction,
        Self::PerformMaintenance,
        Self::ConvertToManagedDisks,
        Self::Capture,
    ];

    /// Returns the action on a machine that asks for it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::RunCommand => "runCommand/action",
            Self::RunCommandResource => "runCommands/write",
            Self::Extension => "extensions/write",
            Self::AssessPatches => "assessPatches/action",
            Self::InstallPatches => "installPatches/action",
            Self::SimulateEviction => "simulateEviction/action",
            Self::PerformMaintenance => "performMaintenance/action",
            Self::ConvertToManagedDisks => "convertToManagedDisks/action",
            Self::Capture => "capture/action",
        }
    }

    /// Returns the refusal for a machine.
    pub fn refusal(self, machine: &str) -> Error {
        let text = match self {
            Self::RunCommand => format!(
                "Commands cannot be run in VM '{machine}': it is simulated and has no guest. Start the server with '--machines \
                 qemu' to run guests."
            ),
            Self::RunCommandResource => format!(
                "Run commands of VM '{machine}' are not kept as resources: run one by the action runCommand ('az vm run-command \
                 invoke')."
            ),
            Self::Extension => format!(
                "Extensions cannot be installed in VM '{machine}': this service has none. Use a run command, ssh, or custom \
                 data when the machine is created; users and keys are changed in the guest."
            ),
            Self::AssessPatches | Self::InstallPatches => format!(
                "Patches of VM '{machine}' are not managed: this service does not look into its guests. Use the guest's own tools, \
                 or publish a new image version."
            ),
            Self::SimulateEviction => format!(
                "Operation 'simulateEviction' is not allowed on VM '{machine}': this service evicts no machines, whatever their \
                 priority. Deallocate it instead."
            ),
            Self::PerformMaintenance => format!(
                "Operation 'performMaintenance' is not allowed on VM '{machine}': no maintenance is planned for it. Redeploy it to \
                 start its process anew."
            ),
            Self::ConvertToManagedDisks => format!(
                "Operation 'convertToManagedDisks' is not allowed on VM '{machine}' since all its disks are managed already."
            ),
            Self::Capture => format!(
                "Capture operation is not supported on VM '{machine}' since its disks are managed. Create an image or an image \
                 version with the VM as its source instead."
            ),
        };
        Error::conflict("OperationNotAllowed", text)
    }
}
