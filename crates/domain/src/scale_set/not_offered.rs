//! What the service does to scale sets elsewhere and this one does not, with what to do instead.

use crate::Error;

/// Something that is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetNotOffered {
    /// `performMaintenance`.
    PerformMaintenance,
    /// `setOrchestrationServiceState`, which suspends automatic repairs and lets them go on.
    SetOrchestrationServiceState,
    /// `simulateEviction`.
    SimulateEviction,
    /// `forceRecoveryServiceFabricPlatformUpdateDomainWalk`.
    UpdateDomainWalk,
    /// `extensionRollingUpgrade`.
    ExtensionUpgrade,
    /// `approveRollingUpgrade`.
    ApproveUpgrade,
}

impl SetNotOffered {
    /// Everything.
    pub const ALL: [Self; 6] = [
        Self::PerformMaintenance,
        Self::SetOrchestrationServiceState,
        Self::SimulateEviction,
        Self::UpdateDomainWalk,
        Self::ExtensionUpgrade,
        Self::ApproveUpgrade,
    ];

    /// Returns the verb that asks for it, the last part of its path and of its action.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::PerformMaintenance => "performMaintenance",
            Self::SetOrchestrationServiceState => "setOrchestrationServiceState",
            Self::SimulateEviction => "simulateEviction",
            Self::UpdateDomainWalk => "forceRecoveryServiceFabricPlatformUpdateDomainWalk",
            Self::ExtensionUpgrade => "extensionRollingUpgrade",
            Self::ApproveUpgrade => "approveRollingUpgrade",
        }
    }

    /// Returns the refusal for a set or a machine of it.
    pub fn refusal(self, name: &str) -> Error {
        let reason = match self {
            Self::PerformMaintenance => {
                "no maintenance is planned for it. Redeploy its machines to start their processes anew"
            }
            Self::SetOrchestrationServiceState => {
                "this service repairs no machines by itself, so there is nothing to suspend. Reimage or delete a machine that is \
                 unwell"
            }
            Self::SimulateEviction => {
                "this service evicts no machines, whatever their priority. Deallocate it instead"
            }
            Self::UpdateDomainWalk => {
                "it belongs to no Service Fabric cluster. Its machines are upgraded by its own upgrade policy"
            }
            Self::ExtensionUpgrade => {
                "this service has no agent in its guests. Put what extensions would do into the image"
            }
            Self::ApproveUpgrade => "no rolling upgrade of it waits for an approval",
        };
        let verb = self.verb();
        Error::conflict(
            "OperationNotAllowed",
            format!("Operation '{verb}' is not allowed on '{name}': {reason}."),
        )
    }
}
