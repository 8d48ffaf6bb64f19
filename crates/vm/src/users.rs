//! Whom guests run as when this process is root: each as a user of its own, out of a range of ids that
//! belongs to nobody else.
//!
//! Who owns a machine's `run` directory is the record of it: nobody but root can change that. An id is
//! free when no machine beside it has it and no process of this host runs as it.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::directory::{Directory, RUN};
use crate::error::VmError;
use crate::process::in_directory;
use crate::sandbox::User;

/// Users that all machines run as together: the product's own, else nobody.
const NAMES: [&str; 2] = ["vitrine", "nobody"];
/// Ids that neither distributions nor systemd give to anybody (systemd, `UIDS-GIDS`: unused).
const USUAL: UserRange = UserRange {
    first: 1_900_000_000,
    last: 1_900_065_535,
};
/// Below are users of the system and people.
const FIRST_MIN: u32 = 10_000;
/// `nobody`, and what 16 bits know as no id at all.
const RESERVED: [u32; 2] = [65534, 65535];

/// A range of ids of users and groups, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    first: u32,
    last: u32,
}

/// Whom guests run as when this process is root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Users {
    /// Each as a user of its own, from 1900000000 to 1900065535; all as one where this host lacks those ids.
    #[default]
    Auto,
    /// Each as a user of its own out of a range, or an error where this host lacks it.
    Range(UserRange),
    /// All as one: `vitrine`, else `nobody`.
    Shared,
}

impl FromStr for Users {
    type Err = VmError;

    /// Reads `auto`, `shared` or `FIRST-LAST`.
    fn from_str(text: &str) -> Result<Self, VmError> {
        match text {
            "auto" => return Ok(Self::Auto),
            "shared" => return Ok(Self::Shared),
            _ => {}
        }
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        let (first, last): (u32, u32) = range.ok_or_else(|| {
            VmError::Invalid(format!(
                "guests run as 'auto', 'shared' or FIRST-LAST, not {text:?}"
            ))
        })?;
        let is_reserved = RESERVED.iter().any(|id| (first..=last).contains(id));
        if first < FIRST_MIN || first > last || last == u32::MAX || is_reserved {
            return Err(VmError::Invalid(format!(
                "ids of guests begin at {FIRST_MIN} or later and leave {RESERVED:?} out, not {text:?}"
            )));
        }
        Ok(Self::Range(UserRange { first, last }))
    }
}

/// What was found to be possible.
#[derive(Clone, Debug)]
pub(crate) enum Runners {
    /// This process has no privileges: guests run as its own user.
    Ourselves,
    /// All as one user.
    One(User),
    /// Each as a user of its own; the lock is held while one is chosen.
    Each(UserRange, Arc<Mutex<()>>),
}

impl Runners {
    /// Decides by who this process is and which ids its user namespace knows.
    pub(crate) fn find(users: Users) -> Result<Self, VmError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let range = match users {
            Users::Shared => None,
            Users::Auto => Some(USUAL),
            Users::Range(range) => Some(range),
        };
        let map = |name| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let is_there = |range: &UserRange| {
            ["uid_map", "gid_map"]
                .into_iter()
                .all(|name| range.is_mapped(&map(name)))
        };
        match range.filter(is_there) {
            Some(range) => return Ok(Self::Each(range, Arc::default())),
            None if matches!(users, Users::Range(_)) => {
                return Err(VmError::Invalid(
                    "this host (or container) does not have the range of ids that guests are to run as"
                        .to_owned(),
                ));
            }
            None => {}
        }
        User::find(&NAMES).map(Self::One).ok_or_else(|| {
            VmError::Invalid("root needs another user to run machines as".to_owned())
        })
    }

    /// Returns a user for what is not a machine's.
    pub(crate) fn any(&self) -> Option<User> {
        match self {
            Self::Ourselves => None,
            Self::One(user) => Some(*user),
            Self::Each(range, _) => Some(user(range.last)),
        }
    }

    /// Names the directory of a machine as it is.
    pub(crate) fn directory(&self, path: &Path) -> Directory {
        let owner = match self {
            Self::Each(..) => owner(path),
            _ => self.any(),
        };
        Directory::new(path, owner)
    }

    /// Makes a machine's directory unless it is there, and gives it a user.
    ///
    /// One that it has and nobody else stays, and so does any while something runs there.
    pub(crate) fn claim(&self, path: &Path) -> io::Result<Directory> {
        let Self::Each(range, lock) = self else {
            let directory = self.directory(path);
            directory.ensure()?;
            return Ok(directory);
        };
        let _one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken(path)?;
        let now = owner(path);
        let is_good =
            |now: &User| (range.first..=range.last).contains(&now.uid) && !taken.contains(&now.uid);
        let run = path.join(RUN);
        let kept = now.filter(|now| is_good(now) || !in_directory(&run).is_empty());
        let chosen = match kept {
            Some(kept) => kept,
            None => user(free(*range, &taken, &running()).ok_or_else(|| {
                io::Error::other("every id of the range for guests is taken: name a larger one")
            })?),
        };
        let directory = Directory::new(path, Some(chosen));
        directory.ensure()?;
        if kept.is_none() {
            own(&run, chosen)?;
        }
        Ok(directory)
    }
}

impl UserRange {
    /// Whether a user namespace with this map knows every id.
    fn is_mapped(&self, map: &str) -> bool {
        let ranges = map.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u64>);
            let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
            Some((first.ok()?, count.ok()?))
        });
        let (wanted, end) = (u64::from(self.first), u64::from(self.last) + 1);
        ranges
            .into_iter()
            .any(|(first, count)| first <= wanted && end <= first + count)
    }
}

fn user(id: u32) -> User {
    User { uid: id, gid: id }
}

fn free(range: UserRange, taken: &BTreeSet<u32>, running: &BTreeSet<u32>) -> Option<u32> {
    (range.first..=range.last).find(|id| !taken.contains(id) && !running.contains(id))
}

/// Returns who owns a machine's working directory; none when there is none, or root does.
fn owner(path: &Path) -> Option<User> {
    let found = path.join(RUN).symlink_metadata().ok()?;
    (found.is_dir() && found.uid() != 0).then(|| User {
        uid: found.uid(),
        gid: found.gid(),
    })
}

/// Returns the ids of the machines beside one.
fn taken(path: &Path) -> io::Result<BTreeSet<u32>> {
    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("a machine's directory lies in another"));
    };
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut taken = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != name {
            taken.extend(owner(&entry.path()).map(|owner| owner.uid));
        }
    }
    Ok(taken)
}

/// Returns the ids that processes of this host run as.
fn running() -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
        .filter_map(|entry| entry.metadata().ok())
        .map(|found| found.uid())
        .collect()
}

/// Gives a directory and all in it to a user; no link is followed.
fn own(path: &Path, user: User) -> io::Result<()> {
    lchown(path, Some(user.uid), Some(user.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            own(&entry?.path(), user)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    use super::{Runners, UserRange, Users, free};

    const RANGE: UserRange = UserRange {
        first: 1_900_100_000,
        last: 1_900_100_002,
    };

    #[test]
    fn a_range_is_read_or_refused() {
        for (text, read) in [
            ("auto", Some(Users::Auto)),
            ("shared", Some(Users::Shared)),
            ("1900100000-1900100002", Some(Users::Range(RANGE))),
            ("", None),
            ("5", None),
            ("0-70000", None),
            ("9999-20000", None),
            ("20000-19999", None),
            ("60000-70000", None),
            ("70000-4294967295", None),
            ("70000-4294967296", None),
            ("-1-5", None),
        ] {
            assert_eq!(text.parse::<Users>().ok(), read, "{text:?}");
        }
    }

    #[test]
    fn a_namespace_knows_what_its_map_says() {
        for (map, knows) in [
            ("         0          0 4294967295\n", true),
            ("0 100000 65536\n", false),
            ("0 1000 1\n1 100000 1900100001\n", false),
            ("0 1000 1\n1900100000 100000 3\n", true),
            ("1900100000 100000 2\n", false),
            ("", false),
        ] {
            assert_eq!(RANGE.is_mapped(map), knows, "{map:?}");
        }
    }

    #[test]
    fn the_first_id_that_nobody_has_is_chosen() {
        let ids = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
        let first = RANGE.first;
        for (taken, running, chosen) in [
            (ids(&[]), ids(&[]), Some(first)),
            (ids(&[first]), ids(&[first + 1]), Some(first + 2)),
            (ids(&[first, first + 2]), ids(&[first + 1]), None),
        ] {
            assert_eq!(free(RANGE, &taken, &running), chosen);
        }
    }

    fn uid(path: &Path) -> u32 {
        path.symlink_metadata().expect("there").uid()
    }

    #[test]
    fn each_machine_has_a_user_of_its_own_and_keeps_it() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else can give files away: guests run as the user itself, and that is all there is to it.
            assert!(matches!(Runners::find(Users::Auto), Ok(Runners::Ourselves)));
            return;
        }
        let home = tempfile::tempdir().expect("a directory");
        let runners = Runners::Each(RANGE, std::sync::Arc::default());
        let claim = |name: &str| runners.claim(&home.path().join(name));
        let run = |name: &str| home.path().join(name).join("run");
        for (name, id) in [("a", 0), ("b", 1), ("a", 0), ("c", 2), ("b", 1)] {
            claim(name).expect("claimed");
            assert_eq!(uid(&run(name)), RANGE.first + id, "{name}");
        }
        assert!(claim("d").is_err(), "there are three ids");
        // What goes makes room; what belonged to all comes over with everything in it, links as links.
        std::fs::remove_dir_all(home.path().join("b")).expect("removed");
        let secret = home.path().join("secret");
        std::fs::write(&secret, "secret").expect("written");
        std::fs::create_dir_all(run("old").join("tpm")).expect("made");
        std::fs::write(run("old").join("tpm/state"), "state").expect("written");
        symlink(&secret, run("old").join("link")).expect("linked");
        std::os::unix::fs::chown(run("old"), Some(65534), Some(65534)).expect("given");
        claim("old").expect("claimed");
        for inside in ["", "tpm", "tpm/state", "link"] {
            assert_eq!(uid(&run("old").join(inside)), RANGE.first + 1, "{inside}");
        }
        assert_eq!(uid(&secret), 0);
    }
}
