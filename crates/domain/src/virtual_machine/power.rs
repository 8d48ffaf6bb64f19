//! Power: which action is allowed in which state, and what it makes of it. Source: `API.md` 3.6, 10.

use serde_json::{Value, json};

use crate::operation::Work;
use crate::{Error, Kind, Resource, Result};

/// Whether a machine runs, as far as its row knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// It stands still and keeps its place on a node.
    Stopped,
    /// It stands still and keeps nothing but its disks.
    Deallocated,
}

impl Power {
    /// Every state.
    pub const ALL: [Self; 4] = [
        Self::Created,
        Self::Running,
        Self::Stopped,
        Self::Deallocated,
    ];

    /// Returns the word in rows and in `PowerState/…`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "unknown",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Deallocated => "deallocated",
        }
    }

    /// Returns the state that a row records.
    pub fn of(row: &Resource) -> Self {
        let word = row.internal.get("power").and_then(Value::as_str);
        Self::ALL
            .into_iter()
            .find(|power| Some(power.as_str()) == word)
            .unwrap_or(Self::Created)
    }

    /// Records the state.
    pub fn set(self, row: &mut Resource) {
        row.internal
            .insert("power".to_owned(), json!(self.as_str()));
    }

    /// Whether the machine holds a place: its disks are attached, not reserved.
    pub const fn is_allocated(self) -> bool {
        !matches!(self, Self::Deallocated)
    }
}

/// Whether the machine was marked as generalized.
pub fn is_generalized(row: &Resource) -> bool {
    row.internal.get("isGeneralized") == Some(&Value::Bool(true))
}

/// Whether nothing is put into the machine's system: its image or disk was specialized.
pub fn is_specialized(row: &Resource) -> bool {
    row.internal.get("isSpecialized") == Some(&Value::Bool(true))
}

/// Returns the verb of an action in paths and texts.
pub const fn verb(work: Work) -> &'static str {
    match work {
        Work::Start => "start",
        Work::PowerOff => "powerOff",
        Work::Deallocate => "deallocate",
        Work::Restart => "restart",
        Work::Redeploy => "redeploy",
        Work::Reapply => "reapply",
        Work::Reimage => "reimage",
        Work::RunCommand => "runCommand",
        Work::DeleteInstances => "delete",
        Work::UpdateInstances => "manualupgrade",
        _ => "update",
    }
}

/// Refuses an action that the machine's state does not allow.
pub fn check(row: &Resource, work: Work) -> Result<()> {
    let name = super::name(&row.id);
    let verb = verb(work);
    let refused = |why: &str| {
        Err(Error::conflict(
            "OperationNotAllowed",
            format!("Operation '{verb}' is not allowed on VM '{name}' since the VM is {why}."),
        ))
    };
    if is_generalized(row) && !matches!(work, Work::Deallocate | Work::PowerOff) {
        return refused("generalized");
    }
    match (work, Power::of(row)) {
        (Work::Restart | Work::Redeploy, Power::Deallocated) => {
            refused("either deallocated or marked to be deallocated")
        }
        (Work::Restart, Power::Stopped) => refused("stopped. Start it instead"),
        // A set makes its machines anew, whatever came of the first try.
        (Work::Reimage, Power::Created) if row.kind == Kind::ScaleSetMachine => Ok(()),
        (work, Power::Created) if !matches!(work, Work::Put | Work::Reapply | Work::Deallocate) => {
            refused("not there yet: its creation did not end. Send the PUT again, or delete it")
        }
        _ => Ok(()),
    }
}

/// Returns the state after an action.
pub const fn after(work: Work, before: Power) -> Power {
    match (work, before) {
        (Work::Start | Work::Restart | Work::Redeploy | Work::Reimage, _) => Power::Running,
        (Work::PowerOff, Power::Running) => Power::Stopped,
        (Work::Deallocate, _) => Power::Deallocated,
        (_, before) => before,
    }
}

/// Marks a machine that stands still as generalized: it never starts again, images are made of it.
pub fn generalize(row: &mut Resource) -> Result<()> {
    match Power::of(row) {
        Power::Running => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "Operation 'generalize' is not allowed on VM '{}' since the VM is running. Deallocate it first.",
                row.id.name()
            ),
        )),
        Power::Created => Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "Operation 'generalize' is not allowed on VM '{}' since its creation did not end.",
                row.id.name()
            ),
        )),
        Power::Stopped | Power::Deallocated => {
            row.internal
                .insert("isGeneralized".to_owned(), Value::Bool(true));
            super::forget_secrets(row);
            Ok(())
        }
    }
}
