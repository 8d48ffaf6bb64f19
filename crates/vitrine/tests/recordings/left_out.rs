//! The exchanges that are not sent, each by its line: the list may only become shorter.

/// Exchanges that are not replayed for one reason.
pub struct LeftOut {
    /// The name that the document gives the reason.
    pub name: &'static str,
    /// The recordings and the lines in them.
    exchanges: &'static [(&'static str, &'static [usize])],
}

/// All exchanges that are not replayed.
pub const LEFT_OUT: [LeftOut; 2] = [
    LeftOut {
        name: "commands in the guest",
        exchanges: &[("gallery_e2e", &[24]), ("shared_gallery", &[20])],
    },
    LeftOut {
        name: "unmanaged disks",
        exchanges: &[("gallery_image_version_vhd", &[7, 13, 14, 15])],
    },
];

/// Returns the reason by which an exchange is not sent, if it is not.
pub fn kind_of(recording: &str, line: usize) -> Option<&'static str> {
    let is_named = |kind: &&LeftOut| {
        let mut exchanges = kind.exchanges.iter();
        exchanges.any(|(name, lines)| *name == recording && lines.contains(&line))
    };
    LEFT_OUT.iter().find(is_named).map(|kind| kind.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange;

    #[test]
    fn every_exchange_that_is_left_out_is_in_the_recordings() {
        let all = exchange::load_all();
        for (name, lines) in LEFT_OUT.iter().flat_map(|kind| kind.exchanges) {
            let recording = all.iter().find(|recording| recording.name == *name);
            let exchanges = &recording.unwrap_or_else(|| panic!("{name}")).exchanges;
            for line in *lines {
                assert!(exchanges.iter().any(|e| e.line == *line), "{name}:{line}");
            }
        }
    }
}
