//! Limits of memory, processor time and number of processes by a control group (cgroup v2) of each
//! machine's own, below one that was handed over to this process.
//!
//! Who hands it over (`Delegate=` of systemd) sees to it that no process is in it itself.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::error::VmError;
use crate::spec::Spec;

/// What a machine is limited by.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Memory beyond the guest's: the emulator's code, translated code and buffers, and a TPM.
const OVERHEAD_MIB: u64 = 1 << 10;
/// Threads beyond the virtual processors: the emulator's loop, its workers, a TPM.
const THREADS: u64 = 128;
/// Microseconds of one processor in one period.
const PERIOD_US: u64 = 100_000;

/// A control group below which machines have theirs.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups(PathBuf);

impl Cgroups {
    /// Opens a control group that was handed over, and hands its controllers on.
    pub(crate) fn open(path: &Path) -> Result<Self, VmError> {
        let refused = |why: String| VmError::Invalid(format!("{}: {why}", path.display()));
        let known = std::fs::read_to_string(path.join("cgroup.controllers"));
        let known = known.map_err(|error| refused(format!("no control group (v2): {error}")))?;
        let lacks: Vec<&str> = CONTROLLERS
            .into_iter()
            .filter(|wanted| !known.split_whitespace().any(|one| one == *wanted))
            .collect();
        if !lacks.is_empty() {
            return Err(refused(format!(
                "the control group has no controller {}: hand it over (Delegate= of systemd)",
                lacks.join(", ")
            )));
        }
        let on = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        std::fs::write(path.join("cgroup.subtree_control"), on).map_err(|error| {
            refused(format!(
                "its controllers cannot be handed on ({error}): no process may be in it itself, and it must be writable"
            ))
        })?;
        Ok(Self(path.to_owned()))
    }

    /// Makes a machine's control group, or finds it, with its limits.
    pub(crate) fn make(&self, spec: &Spec) -> io::Result<PathBuf> {
        let path = self.path(spec.id);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        for (file, limit) in limits(spec) {
            std::fs::write(path.join(file), limit)?;
        }
        Ok(path)
    }

    /// Returns where a machine's control group is, or would be.
    pub(crate) fn path(&self, id: Uuid) -> PathBuf {
        self.0.join(name(id))
    }
}

fn name(id: Uuid) -> String {
    format!("vitrine-{id}")
}

fn limits(spec: &Spec) -> [(&'static str, String); 4] {
    let vcpus = u64::from(spec.vcpus);
    let memory = (u64::from(spec.memory_mib) + OVERHEAD_MIB) << 20;
    [
        ("memory.max", memory.to_string()),
        // All of it goes at once: half a machine is none.
        ("memory.oom.group", "1".to_owned()),
        // One processor beside the guest's for the emulator itself.
        (
            "cpu.max",
            format!("{} {PERIOD_US}", (vcpus + 1) * PERIOD_US),
        ),
        ("pids.max", (vcpus + THREADS).to_string()),
    ]
}

/// Moves a process into a machine's control group.
pub(crate) fn add(path: &Path, pid: u32) -> io::Result<()> {
    std::fs::write(path.join("cgroup.procs"), pid.to_string())
}

/// Removes a machine's control group; one that is not there, or none of ours, is fine.
pub(crate) fn remove(path: &Path, id: Uuid) -> io::Result<()> {
    if path.file_name() != Some(name(id).as_ref()) {
        return Ok(());
    }
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cgroups, add, name, remove};
    use crate::spec::tests::spec;

    #[test]
    fn a_machine_gets_the_limits_of_its_size() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(Cgroups::open(home.path()).is_err(), "no control group");
        let put = |name: &str, text: &str| std::fs::write(home.path().join(name), text);
        put("cgroup.controllers", "cpuset cpu io\n").expect("written");
        let error = Cgroups::open(home.path()).expect_err("two are missing");
        assert!(error.to_string().contains("memory, pids"), "{error}");
        put("cgroup.controllers", "cpuset cpu io memory pids\n").expect("written");
        let groups = Cgroups::open(home.path()).expect("all there");
        let handed = std::fs::read_to_string(home.path().join("cgroup.subtree_control"));
        assert_eq!(handed.expect("written"), "+cpu +memory +pids");

        let mut spec = spec();
        (spec.vcpus, spec.memory_mib) = (2, 512);
        let path = groups.make(&spec).expect("made");
        assert_eq!(groups.make(&spec).expect("there"), path);
        add(&path, 4711).expect("moved");
        for (file, holds) in [
            ("memory.max", (1536_u64 << 20).to_string()),
            ("memory.oom.group", "1".to_owned()),
            ("cpu.max", "300000 100000".to_owned()),
            ("pids.max", "130".to_owned()),
            ("cgroup.procs", "4711".to_owned()),
        ] {
            assert_eq!(
                std::fs::read_to_string(path.join(file)).expect("written"),
                holds,
                "{file}"
            );
        }
        // A plain directory keeps its files, a control group has none.
        for file in std::fs::read_dir(&path).expect("listed") {
            std::fs::remove_file(file.expect("there").path()).expect("removed");
        }
        remove(home.path(), spec.id).expect("not ours");
        assert!(path.exists() && path.ends_with(name(spec.id)));
        remove(&path, spec.id).expect("removed");
        remove(&path, spec.id).expect("removed already");
        assert!(!path.exists());
    }
}
