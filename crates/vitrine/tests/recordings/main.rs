//! Exchanges with the real service, replayed in order against this one and compared field by field.
//!
//! Every difference is declared with its reason in `docs/differences-from-azure.md`, which this test
//! reads: a difference that is not declared fails, and so does a declared one that is gone. The
//! marketplace that machines came from is made first (`marketplace.rs`), as are blobs of others (`stand_in.rs`).
//! Everything that was recorded is sent.

mod compare;
mod declared;
mod exchange;
mod marketplace;
mod replay;
mod stand_in;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use testkit::{Gallery, Options};

use declared::Declared;
use replay::Found;

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// The regions that the recordings use.
const REGIONS: &str = "westus,westus2,eastus,eastus2";

#[tokio::test]
async fn recorded_exchanges_are_answered_as_recorded() {
    let declared = declared::load();
    let mut report = String::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for recording in exchange::load_all() {
        let mut options = Options::new(BINARY);
        options.regions = REGIONS.to_owned();
        let server = Gallery::start(options).await;
        let found = replay::replay(&server, &recording).await;
        println!(
            "{}: {} sent, {} differences",
            recording.name,
            recording.exchanges.len(),
            found.len()
        );
        judge(&declared, found, &mut used, &mut report);
    }
    for one in &declared {
        if !used.contains(one.id.as_str()) {
            let _ = writeln!(report, "declared, but gone: {}", one.id);
        }
    }
    assert!(
        report.is_empty(),
        "docs/differences-from-azure.md:\n{report}"
    );
}

/// Marks the declared differences that occur and reports the others.
fn judge<'a>(
    declared: &'a [Declared],
    found: Vec<Found>,
    used: &mut BTreeSet<&'a str>,
    report: &mut String,
) {
    for found in found {
        let accepted = declared
            .iter()
            .find(|one| one.accepts(&found.place, &found.recorded, &found.ours));
        match accepted {
            Some(one) => {
                used.insert(&one.id);
            }
            None => {
                let _ = writeln!(
                    report,
                    "not declared: {} | {} | {} | {}",
                    found.at, found.place, found.recorded, found.ours
                );
            }
        }
    }
}
