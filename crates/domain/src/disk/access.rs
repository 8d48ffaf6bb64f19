//! Who holds a disk, and URLs that read or write it. Source: `API.md` 3.7, `WIRE.md` 4.5.

use serde_json::{Value, json};

use crate::plan::{moment, word};
use crate::{Error, Resource, Result};

/// The longest access, in seconds: what the service's clients send at most.
const SECONDS_MAX: i64 = 4_294_967_295;

/// Who holds a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Nobody.
    Unattached,
    /// A URL reads it.
    ActiveSas,
    /// It waits for its content.
    ReadyToUpload,
    /// A URL writes it.
    ActiveUpload,
    /// A machine that holds a place has it.
    Attached,
    /// A deallocated machine has it.
    Reserved,
}

impl DiskState {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unattached => "Unattached",
            Self::ActiveSas => "ActiveSAS",
            Self::ReadyToUpload => "ReadyToUpload",
            Self::ActiveUpload => "ActiveUpload",
            Self::Attached => "Attached",
            Self::Reserved => "Reserved",
        }
    }

    /// Returns the state of a disk's row.
    pub fn of(row: &Resource) -> Self {
        let word = row
            .properties
            .get("diskState")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let all = [
            Self::ActiveSas,
            Self::ReadyToUpload,
            Self::ActiveUpload,
            Self::Attached,
            Self::Reserved,
        ];
        all.into_iter()
            .find(|s| s.as_str() == word)
            .unwrap_or(Self::Unattached)
    }
}

/// What a URL may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLevel {
    /// Download.
    Read,
    /// Upload.
    Write,
}

/// The body of `beginGetAccess`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// What the URL may do.
    pub access: AccessLevel,
    /// For how long.
    pub duration_seconds: i64,
}

impl AccessRequest {
    /// Reads a body that `arm` checked.
    pub fn parse(body: &Value) -> Result<Self> {
        let access = body
            .get("access")
            .and_then(Value::as_str)
            .ok_or_else(|| Error::required("grantAccessData.access"))?;
        let access = match word(access, &["Read", "Write"], "grantAccessData.access")? {
            "Write" => AccessLevel::Write,
            _ => AccessLevel::Read,
        };
        let seconds = body.get("durationInSeconds").and_then(Value::as_i64);
        let duration_seconds =
            seconds.ok_or_else(|| Error::required("grantAccessData.durationInSeconds"))?;
        let asks = |name: &str| body.get(name).and_then(Value::as_str);
        if let Some(format) = asks("fileFormat").filter(|f| !f.is_empty()) {
            let format = word(format, &["VHD", "VHDX"], "grantAccessData.fileFormat")?;
            if format != "VHD" {
                return Err(Error::invalid_parameter(
                    "grantAccessData.fileFormat",
                    "Disks are read and written as fixed VHDs here. Leave fileFormat out, or ask for 'VHD'.",
                ));
            }
        }
        if body
            .get("getSecureVMGuestStateSAS")
            .and_then(Value::as_bool)
            == Some(true)
        {
            return Err(Error::invalid_parameter(
                "grantAccessData.getSecureVMGuestStateSAS",
                "The disk has no guest state to read.",
            ));
        }
        if !(1..=SECONDS_MAX).contains(&duration_seconds) {
            return Err(Error::invalid_parameter(
                "grantAccessData.durationInSeconds",
                format!(
                    "The value {duration_seconds} of parameter durationInSeconds is out of range. The value must be between 1 and {SECONDS_MAX}, inclusive."
                ),
            ));
        }
        Ok(Self {
            access,
            duration_seconds,
        })
    }
}

/// Opens a disk for a URL.
pub fn begin_access(row: &mut Resource, request: &AccessRequest) -> Result<()> {
    if row
        .properties
        .get("networkAccessPolicy")
        .and_then(Value::as_str)
        == Some("DenyAll")
    {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "The {} {} has the network access policy 'DenyAll': it can be neither downloaded nor uploaded. Change the \
                 policy first.",
                row.kind.wire_name(),
                row.id.name()
            ),
        ));
    }
    let kind = row.kind.wire_name();
    let state = match (DiskState::of(row), request.access) {
        (DiskState::Unattached | DiskState::Reserved | DiskState::ActiveSas, AccessLevel::Read) => {
            DiskState::ActiveSas
        }
        (DiskState::Attached, AccessLevel::Read) => return Err(attached(row)),
        (DiskState::ReadyToUpload | DiskState::ActiveUpload, AccessLevel::Write) => {
            DiskState::ActiveUpload
        }
        (_, AccessLevel::Read) => return check_readable(row),
        (state, AccessLevel::Write) => {
            return Err(Error::conflict(
                "OperationNotAllowed",
                format!(
                    "The {kind} {} is in state '{}'. Only a {kind} with createOption 'Upload' can be opened for writing, until its \
                     upload ends.",
                    row.id.name(),
                    state.as_str()
                ),
            ));
        }
    };
    set_state(row, state);
    Ok(())
}

/// Refuses to read what waits for its content.
pub fn check_readable(row: &Resource) -> Result<()> {
    let state = DiskState::of(row);
    if !matches!(state, DiskState::ReadyToUpload | DiskState::ActiveUpload) {
        return Ok(());
    }
    Err(Error::conflict(
        "OperationNotAllowed",
        format!(
            "The {} {} is in state '{}' and has no content yet. Upload its content and end that access before reading it.",
            row.kind.wire_name(),
            row.id.name(),
            state.as_str()
        ),
    ))
}

/// Returns the state after every URL is closed: a disk that nobody wrote still waits.
pub fn closed_state(row: &Resource) -> DiskState {
    match DiskState::of(row) {
        DiskState::ReadyToUpload => DiskState::ReadyToUpload,
        DiskState::Attached => DiskState::Attached,
        _ if holder(row).is_some() => DiskState::Reserved,
        _ => DiskState::Unattached,
    }
}

/// Records who holds the disk.
pub fn set_state(row: &mut Resource, state: DiskState) {
    row.properties
        .insert("diskState".to_owned(), json!(state.as_str()));
}

/// Returns the machine that has the disk.
pub fn holder(row: &Resource) -> Option<&str> {
    row.top.get("managedBy").and_then(Value::as_str)
}

/// Whether the disk is a machine's.
pub fn is_held_by(row: &Resource, machine: &Resource) -> bool {
    holder(row).is_some_and(|held| held.eq_ignore_ascii_case(&machine.id.to_string()))
}

/// Gives a disk to a machine. Source: the service's `ConflictingUserInput`.
pub fn attach(row: &mut Resource, machine: &Resource, is_allocated: bool) -> Result<()> {
    if let Some(held) = holder(row)
        && !is_held_by(row, machine)
    {
        return Err(Error::conflict(
            "ConflictingUserInput",
            format!(
                "Disk '{}' cannot be attached as the disk is already owned by VM '{held}'.",
                row.id
            ),
        ));
    }
    check_closed(row)?;
    check_readable(row)?;
    row.top
        .insert("managedBy".to_owned(), json!(machine.id.to_string()));
    reserve(row, is_allocated);
    Ok(())
}

/// Records when the disk came to another owner.
pub fn note_owner(row: &mut Resource, now_ms: i64) -> Result<()> {
    row.properties
        .insert("LastOwnershipUpdateTime".to_owned(), moment(now_ms)?);
    Ok(())
}

/// Records whether the machine that has the disk holds a place.
pub fn reserve(row: &mut Resource, is_allocated: bool) {
    if DiskState::of(row) == DiskState::ActiveSas {
        return;
    }
    let state = if is_allocated {
        DiskState::Attached
    } else {
        DiskState::Reserved
    };
    set_state(row, state);
}

/// Takes a disk from its machine.
pub fn detach(row: &mut Resource) {
    row.top.shift_remove("managedBy");
    if matches!(
        DiskState::of(row),
        DiskState::Attached | DiskState::Reserved
    ) {
        set_state(row, DiskState::Unattached);
    }
}

fn attached(row: &Resource) -> Error {
    Error::conflict(
        "OperationNotAllowed",
        format!(
            "The {} {} is attached to the running VM {}. Deallocate the VM, or take a snapshot and open that.",
            row.kind.wire_name(),
            row.id.name(),
            holder(row).unwrap_or_default()
        ),
    )
}

/// Refuses to delete a disk that a machine or a URL holds.
pub fn check_delete(row: &Resource) -> Result<()> {
    if let Some(machine) = holder(row) {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!("Disk {} is attached to VM {machine}.", row.id.name()),
        ));
    }
    check_closed(row)
}

/// Refuses what a URL holds.
fn check_closed(row: &Resource) -> Result<()> {
    let kind = row.kind.wire_name();
    if matches!(
        DiskState::of(row),
        DiskState::ActiveSas | DiskState::ActiveUpload
    ) {
        return Err(Error::conflict(
            "OperationNotAllowed",
            format!(
                "There is an active shared access signature outstanding for {kind} {}. Call EndGetAccess before deleting or \
                 attaching the {kind}. To learn more, visit: aka.ms/revokeaccessapi.",
                row.id.name()
            ),
        ));
    }
    Ok(())
}
