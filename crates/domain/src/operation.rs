//! Long-running operations: what a worker does after a request was acknowledged.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Error, ResourceId};

/// Which URL family polls the operation. Source: `API.md` 1 and 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// `locations/{loc}/capsOperations/{id}`: galleries and their children.
    Caps,
    /// `locations/{loc}/DiskOperations/{id}`: disks and snapshots.
    Disk,
    /// `locations/{loc}/operations/{id}`: images and machines.
    Compute,
    /// `/subscriptions/{s}/operationresults/{id}`: resource groups.
    Group,
    /// `Microsoft.Network/locations/{loc}/operations/{id}`: networks.
    Network,
    /// `…/deployments/{name}/operationStatuses/{id}`: template deployments.
    Deployment,
}

/// What the worker has to make true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Create or update the resource as its row says.
    Put,
    /// Delete the resource (or soft-delete, as its row says).
    Delete,
    /// Open a disk or snapshot for download or upload.
    BeginAccess,
    /// Close it again.
    EndAccess,
    /// Change who a gallery is shared with.
    Share,
    /// Make true what a template says.
    Deploy,
    /// Start a machine.
    Start,
    /// Stop a machine that keeps its place.
    PowerOff,
    /// Stop a machine and give its place back.
    Deallocate,
    /// Boot a machine again.
    Restart,
    /// Start a machine anew, as on another host.
    Redeploy,
    /// Make a machine what its row says, once more.
    Reapply,
    /// Give a machine a new system disk from its image.
    Reimage,
    /// Run a command in a machine's guest; runs beside the machine's other operations.
    RunCommand,
    /// Delete some machines of a scale set.
    DeleteInstances,
    /// Give some machines of a scale set its model.
    UpdateInstances,
    /// Give all machines of a scale set its model, batch after batch.
    Upgrade,
}

/// Where the operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationState {
    /// Waiting for a worker, or with one.
    InProgress,
    /// Done.
    Succeeded,
    /// Given up; `error` says why.
    Failed,
    /// Overtaken by a later operation.
    Canceled,
}

/// An operation as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The id in the poll URL.
    pub id: Uuid,
    /// Which URL family polls it.
    pub family: Family,
    /// What has to be made true.
    pub work: Work,
    /// What it works on.
    pub resource: ResourceId,
    /// The region's short name in the poll URL.
    pub location: String,
    /// Where it is.
    pub state: OperationState,
    /// What the worker was asked beyond the row, and its checkpoint.
    pub step: Value,
    /// Why it failed.
    pub error: Option<Error>,
    /// The result that `Location` or `properties.output` shows.
    pub output: Option<Value>,
    /// How often a worker has begun it.
    pub attempts: i64,
    /// Not to be begun before, ms UTC.
    pub run_at_ms: i64,
    /// When it was accepted, ms UTC.
    pub started_ms: i64,
    /// When it ended, ms UTC.
    pub ended_ms: Option<i64>,
    /// Counts the claims; every write of a worker carries the one it holds.
    pub lease_generation: i64,
}
