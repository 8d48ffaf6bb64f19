//! Commands that an agent runs in the guest: which there are, what may be asked, what is answered.
//! Source: recordings of `az vm run-command invoke`; the service's own words from reports of its users.

use serde_json::{Map, Value, json};

use super::power::{Power, is_generalized};
use super::storage::PROFILE;
use crate::{Error, Resource, Result};

/// Longest script, lines together.
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;
/// Most parameters of a script.
pub const PARAMETERS_MAX: usize = 100;
/// Names and values of all parameters together: they are part of a command line.
pub const PARAMETERS_BYTES_MAX: usize = 32 << 10;
/// How long a script may run, in ms.
pub const RUN_MS_MAX: i64 = 90 * 60 * 1000;

const SCHEMA: &str = "http://schema.management.azure.com/schemas/2016-11-17/runcommands.json";

/// A command that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandId {
    /// `RunPowerShellScript`.
    PowerShell,
    /// `RunShellScript`.
    Shell,
}

impl CommandId {
    /// Every command.
    pub const ALL: [Self; 2] = [Self::PowerShell, Self::Shell];

    /// Finds a command by its id, whatever the case.
    pub fn find(id: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.as_str().eq_ignore_ascii_case(id))
            .ok_or_else(|| {
                Error::not_found(
                    "NotFound",
                    "The entity was not found in this Azure location.",
                )
            })
    }

    /// Returns its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PowerShell => "RunPowerShellScript",
            Self::Shell => "RunShellScript",
        }
    }

    /// Returns the system that it is for.
    pub const fn system(self) -> &'static str {
        match self {
            Self::PowerShell => "Windows",
            Self::Shell => "Linux",
        }
    }

    /// Returns what a list shows of it.
    pub fn summary(self) -> Value {
        let (label, script) = match self {
            Self::PowerShell => ("Executes a PowerShell script", "PowerShell"),
            Self::Shell => ("Executes a Linux shell script", "shell"),
        };
        json!({
            "$schema": SCHEMA,
            "id": self.as_str(),
            "osType": self.system(),
            "label": label,
            "description": format!(
                "Custom multiline {script} script should be defined in script property. Optional parameters can be set in \
                 parameters property."
            ),
        })
    }

    /// Returns all that is shown of it: also what it runs when no script is sent.
    pub fn document(self) -> Value {
        let parameter = |name: &str, value: &str| json!({ "name": name, "type": "string", "defaultValue": value });
        let mut shown = self.summary();
        shown["script"] = json!(self.sample());
        shown["parameters"] = json!([parameter("arg1", "value1"), parameter("arg2", "value2")]);
        shown
    }

    const fn sample(self) -> &'static [&'static str] {
        match self {
            Self::PowerShell => &[
                "param(",
                "    [string]$arg1,",
                "    [string]$arg2",
                ")",
                "Write-Host This is a sample script with parameters $arg1 $arg2",
            ],
            Self::Shell => &["echo This is a sample script with parameters $arg1 $arg2"],
        }
    }

    /// Returns the answer to a command that ran.
    ///
    /// As the service's, it does not say what the script returned.
    pub fn answer(self, out: &str, err: &str) -> Value {
        let status = |code: &str, message: String| json!({ "code": code, "level": "Info", "displayStatus": "Provisioning succeeded", "message": message });
        let statuses = match self {
            Self::Shell => vec![status(
                "ProvisioningState/succeeded",
                format!("Enable succeeded: \n[stdout]\n{out}\n[stderr]\n{err}"),
            )],
            Self::PowerShell => vec![
                status("ComponentStatus/StdOut/succeeded", out.to_owned()),
                status("ComponentStatus/StdErr/succeeded", err.to_owned()),
            ],
        };
        json!({ "value": statuses })
    }
}

/// What is asked of a guest.
///
/// Script and parameters are secret: nothing here prints them.
pub struct RunCommand {
    /// The command.
    pub id: CommandId,
    /// The script.
    pub script: String,
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
}

impl RunCommand {
    /// Reads a request's body.
    pub fn parse(body: &Value) -> Result<Self> {
        let id = body.get("commandId").and_then(Value::as_str);
        let id = CommandId::find(id.ok_or_else(|| Error::required("commandId"))?)?;
        let lines = body.get("script").and_then(Value::as_array);
        let lines: Vec<&str> = match lines.filter(|lines| !lines.is_empty()) {
            Some(lines) => lines.iter().filter_map(Value::as_str).collect(),
            None => id.sample().to_vec(),
        };
        let script = lines.join("\n");
        if script.len() > SCRIPT_BYTES_MAX {
            return Err(Error::invalid_parameter(
                "script",
                format!("The script is longer than {SCRIPT_BYTES_MAX} bytes."),
            ));
        }
        let parameters = body.get("parameters").and_then(Value::as_array);
        let parameters: Vec<(String, String)> = parameters
            .into_iter()
            .flatten()
            .map(|parameter| {
                let text = |name: &str| {
                    parameter
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                (text("name"), text("value"))
            })
            .collect();
        check_parameters(&parameters)?;
        Ok(Self {
            id,
            script,
            parameters,
        })
    }

    /// Refuses what cannot be run in a machine now; `is_down` says that it stands still whatever its row says.
    pub fn check(&self, row: &Resource, is_down: bool) -> Result<()> {
        if Power::of(row) != Power::Running || is_down || is_generalized(row) {
            return Err(not_running());
        }
        let system = row
            .properties
            .get(PROFILE)
            .and_then(|p| p.pointer("/osDisk/osType"));
        let system = system.and_then(Value::as_str).unwrap_or("Linux");
        if system.eq_ignore_ascii_case(self.id.system()) {
            return Ok(());
        }
        Err(Error::invalid_parameter(
            "commandId",
            format!(
                "The run command '{}' is for {} and VM '{}' runs {system}.",
                self.id.as_str(),
                self.id.system(),
                row.id.name()
            ),
        ))
    }

    /// Returns all of it, to be sealed.
    pub fn to_secrets(&self) -> Map<String, Value> {
        let pairs = self
            .parameters
            .iter()
            .map(|(name, value)| json!([name, value]));
        let mut out = Map::new();
        out.insert("script".to_owned(), json!(self.script));
        out.insert("parameters".to_owned(), pairs.collect());
        out
    }

    /// Reads what [`Self::to_secrets`] has returned.
    pub fn from_secrets(id: CommandId, secrets: &Map<String, Value>) -> Option<Self> {
        let script = secrets.get("script")?.as_str()?.to_owned();
        let pairs = secrets.get("parameters")?.as_array()?.iter();
        let pair = |pair: &Value| {
            Some((
                pair.get(0)?.as_str()?.to_owned(),
                pair.get(1)?.as_str()?.to_owned(),
            ))
        };
        let parameters = pairs.map(pair).collect::<Option<_>>()?;
        Some(Self {
            id,
            script,
            parameters,
        })
    }
}

fn check_parameters(parameters: &[(String, String)]) -> Result<()> {
    let refused = |why: String| Err(Error::invalid_parameter("parameters", why));
    let bytes: usize = parameters
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if parameters.len() > PARAMETERS_MAX {
        return refused(format!("A script has at most {PARAMETERS_MAX} parameters."));
    }
    if bytes > PARAMETERS_BYTES_MAX {
        return refused(format!(
            "The parameters are longer than {PARAMETERS_BYTES_MAX} bytes."
        ));
    }
    let has_nul = |(name, value): &(String, String)| name.contains('\0') || value.contains('\0');
    if parameters.iter().any(has_nul) {
        return refused("The value of a parameter holds a null character.".to_owned());
    }
    Ok(())
}

fn not_running() -> Error {
    Error::conflict(
        "OperationNotAllowed",
        "Cannot modify extensions in the VM when the VM is not running.",
    )
}

/// Another command runs in the machine.
pub fn command_in_progress() -> Error {
    Error::conflict(
        "Conflict",
        "Run command extension execution is in progress. Please wait for completion before invoking a run command.",
    )
}

/// How a command failed whose request was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandFailure {
    /// Nobody in the guest answered: nothing was run.
    NoAgent,
    /// The agent refused to start it, with its words.
    Refused(String),
    /// Nobody knows whether it was started.
    Unclear,
    /// The agent stopped answering while it ran.
    Silent,
    /// The guest or its agent was started anew while it ran.
    Forgotten,
    /// The machine was stopped while it ran.
    Stopped,
    /// It ran for too long.
    TimedOut,
}

impl CommandFailure {
    /// Returns what is told of it.
    pub fn error(&self, id: CommandId, machine: &str) -> Error {
        let extension = format!("RunCommand{}", id.system());
        let failed = |why: &str| {
            Error::conflict(
                "VMExtensionProvisioningError",
                format!(
                    "VM '{machine}' has reported a failure when processing extension '{extension}'. Error message: \"{why}\""
                ),
            )
        };
        match self {
            Self::NoAgent => Error::conflict(
                "VMAgentStatusCommunicationError",
                format!(
                    "VM '{machine}' has not reported status for VM agent or extensions. Please verify the VM has a running VM \
                     agent: install the package 'qemu-guest-agent' in its image."
                ),
            ),
            Self::Refused(words) => failed(&format!(
                "The agent in the guest refused to run the script: {words}"
            )),
            Self::Unclear => failed(
                "The connection was lost while the script was handed over: whether it ran is not known. It is not run again.",
            ),
            Self::Silent => failed(
                "The agent in the guest stopped answering while the script ran: what came of it is not known.",
            ),
            Self::Forgotten => failed(
                "The guest or its agent was started anew while the script ran: what came of it is not known.",
            ),
            Self::Stopped => Error::conflict(
                "OperationPreempted",
                format!(
                    "The run command was cancelled: VM '{machine}' was stopped while the script ran."
                ),
            ),
            Self::TimedOut => Error::conflict(
                "VMExtensionProvisioningTimeout",
                format!(
                    "Provisioning of VM extension '{extension}' has timed out: the script ran for {} minutes and was ended.",
                    RUN_MS_MAX / 60_000
                ),
            ),
        }
    }
}
