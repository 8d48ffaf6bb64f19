//! Groups of tests that need more than Rust, and what is missing for them.

/// Tests that need the same thing from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Comparison with the disk tools of others.
    DiskTools,
    /// The fuzzing client of libnbd, which is built here.
    Fuzzer,
    /// Booting the tiny guest.
    Guest,
    /// Booting a whole Debian.
    Debian,
    /// The real Packer, which boots a whole Debian.
    Packer,
    /// The real Azure CLI and the Python SDK.
    Python,
    /// The real JavaScript SDK.
    Node,
    /// The catalog on PostgreSQL.
    Postgres,
    /// The block store on object stores of the network.
    Objects,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 9] = [
        Self::DiskTools,
        Self::Fuzzer,
        Self::Guest,
        Self::Debian,
        Self::Packer,
        Self::Python,
        Self::Node,
        Self::Postgres,
        Self::Objects,
    ];

    /// Returns the nextest filter expression of its tests: how a test says that it belongs here.
    ///
    /// An operator that matches no binary is an error to nextest, even while nobody has written such
    /// a test yet: `xtask` is there to match, and taken out again.
    pub const fn filter(self) -> &'static str {
        match self {
            Self::DiskTools => "test(/qemu|nbdinfo|nbdcopy/)",
            Self::Fuzzer => "test(/(^|::)libnbd_fuzzer::/)",
            Self::Guest => "(binary(/^(guest|xtask$)/) - package(xtask))",
            Self::Debian => "(binary(/^(debian|clients_packer|xtask$)/) - package(xtask))",
            Self::Packer => "(binary(/^(clients_packer|xtask$)/) - package(xtask))",
            Self::Python => "(binary(/^(clients_(az|python)|xtask$)/) - package(xtask))",
            Self::Node => "(binary(/^(clients_node|xtask$)/) - package(xtask))",
            Self::Postgres => "test(/(^|::)postgres(::|_)/)",
            Self::Objects => "test(/(^|::)objects_on_/)",
        }
    }
}

/// Something that could not be had.
#[derive(Debug)]
pub struct Gap {
    /// What is missing.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whose tests are left out.
    pub group: Group,
}

impl Gap {
    /// Returns the one line that tells it.
    pub fn line(&self) -> String {
        format!(
            "missing: {}: {}; left out: {}",
            self.what,
            self.why,
            self.group.filter()
        )
    }
}

/// Returns the filter that leaves groups out; none when there are none.
pub fn without(groups: &[Group]) -> Option<String> {
    let filters: Vec<&str> = Group::ALL
        .iter()
        .filter(|group| groups.contains(group))
        .map(|group| group.filter())
        .collect();
    (!filters.is_empty()).then(|| format!("not ({})", filters.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::{Group, without};

    #[test]
    fn a_group_is_left_out_once_however_often_it_is_named() {
        assert_eq!(without(&[]), None);
        let both = format!(
            "not ({} or {})",
            Group::Guest.filter(),
            Group::Node.filter()
        );
        assert_eq!(
            without(&[Group::Node, Group::Guest, Group::Node]),
            Some(both)
        );
    }
}
