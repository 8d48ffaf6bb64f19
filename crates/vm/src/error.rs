//! What can go wrong with a machine.

use std::io;

/// What a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The description asks for something that cannot be.
    Invalid,
    /// A program or firmware is not installed on this host.
    Missing,
    /// It is there already, or in use.
    Conflict,
    /// The machine is not running.
    NotRunning,
    /// Nobody in the guest answers.
    NoAgent,
    /// Something took longer than it may.
    Slow,
    /// The emulator or the system refused.
    Failed,
}

/// An error of a machine or of the host it runs on.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The description asks for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A program or file is not installed.
    #[error("{what} is not installed on this host: install the Debian package '{package}'")]
    Missing {
        /// The program or file.
        what: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// KVM was asked for and does not come up.
    #[error("KVM was asked for, and {reason}; set the accelerator to 'auto' or 'tcg'")]
    NoKvm {
        /// What the probe saw.
        reason: String,
    },
    /// A machine of this directory runs already.
    #[error("the machine runs already as process {pid}")]
    Running {
        /// Its process.
        pid: u32,
    },
    /// Another disk is attached at this place.
    #[error("another disk is attached as LUN {lun}")]
    LunInUse {
        /// The place.
        lun: u8,
    },
    /// The machine is not running.
    #[error("the machine is not running")]
    NotRunning,
    /// The emulator ended while it started.
    #[error("the emulator did not start ({how}): {said}")]
    Start {
        /// How it ended.
        how: String,
        /// The last lines that it said.
        said: String,
    },
    /// The emulator refused a command.
    #[error("the emulator refused {command}: {reason}")]
    Refused {
        /// The QMP command.
        command: &'static str,
        /// QMP's class of the error.
        class: String,
        /// Its words.
        reason: String,
    },
    /// The emulator or its guest did not do something in time.
    #[error("{what} took longer than {seconds} s")]
    Slow {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// What answers on the socket is not the process that was started.
    #[error("what listens on {what} is not this machine's process")]
    Stranger {
        /// The socket.
        what: &'static str,
    },
    /// The emulator broke the protocol.
    #[error("QMP: {0}")]
    Protocol(&'static str),
    /// No agent in the guest answers.
    #[error("no agent answers in the guest")]
    NoAgent,
    /// The agent in the guest refused a command.
    #[error("the agent in the guest refused {command}: {reason}")]
    AgentRefused {
        /// Its command.
        command: &'static str,
        /// Its words, safe to show.
        reason: String,
    },
    /// The agent in the guest broke the protocol.
    #[error("the agent in the guest {0}")]
    Agent(&'static str),
    /// The agent did not say whether it started a command.
    #[error("the agent in the guest did not say whether it started the command")]
    Unclear,
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

impl VmError {
    /// Returns what a caller decides by.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::Missing { .. } | Self::NoKvm { .. } => Kind::Missing,
            Self::Running { .. } | Self::LunInUse { .. } => Kind::Conflict,
            Self::NotRunning => Kind::NotRunning,
            Self::NoAgent => Kind::NoAgent,
            Self::Slow { .. } => Kind::Slow,
            Self::Start { .. }
            | Self::Refused { .. }
            | Self::Stranger { .. }
            | Self::Protocol(_)
            | Self::AgentRefused { .. }
            | Self::Agent(_)
            | Self::Unclear
            | Self::Io { .. } => Kind::Failed,
        }
    }

    /// Names what was tried when the system refused it.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Whether the emulator says that the thing named does not exist.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { class, reason, .. }
            if class == "DeviceNotFound" || reason.contains("Failed to find node"))
    }
}
