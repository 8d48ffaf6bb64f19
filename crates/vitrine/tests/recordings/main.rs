//! Exchanges with the real service, replayed in order against this one and compared field by field.
//!
//! Every difference is declared with its reason in `docs/differences-from-azure.md`, which this test
//! reads: a difference that is not declared fails, and so does a declared one that is gone. The
//! marketplace that machines came from is made first (`marketplace.rs`), as are blobs of others (`stand_in.rs`).
//! What is not sent is named line by line (`left_out.rs`); the document says how much it is, and why.

mod compare;
mod declared;
mod exchange;
mod left_out;
mod marketplace;
mod replay;
mod stand_in;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use testkit::{Gallery, Options};

use replay::Outcome;

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// The regions that the recordings use.
const REGIONS: &str = "westus,westus2,eastus,eastus2";

#[tokio::test]
async fn recorded_exchanges_are_answered_as_recorded() {
    let document = declared::load();
    let mut report = String::new();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for recording in exchange::load_all() {
        let mut options = Options::new(BINARY);
        options.regions = REGIONS.to_owned();
        let server = Gallery::start(options).await;
        let outcome = replay::replay(&server, &recording).await;
        println!(
            "{}: {} sent, {} differences, left out: {:?}",
            recording.name,
            outcome.sent,
            outcome.differences.len(),
            outcome.left_out
        );
        for (kind, count) in &outcome.left_out {
            *left_out.entry((*kind).to_owned()).or_default() += count;
        }
        judge(&document, outcome, &mut used, &mut report);
    }
    for declared in &document.differences {
        if !used.contains(declared.id.as_str()) {
            let _ = writeln!(report, "declared, but gone: {}", declared.id);
        }
    }
    if left_out != document.left_out {
        let _ = writeln!(
            report,
            "not replayed is {left_out:?}, but the document says {:?}",
            document.left_out
        );
    }
    assert!(
        report.is_empty(),
        "docs/differences-from-azure.md:\n{report}"
    );
}

/// Marks the declared differences that occur and reports the others.
fn judge<'a>(
    document: &'a declared::Document,
    outcome: Outcome,
    used: &mut BTreeSet<&'a str>,
    report: &mut String,
) {
    for found in outcome.differences {
        let declared = document
            .differences
            .iter()
            .find(|declared| declared.accepts(&found.place, &found.recorded, &found.ours));
        match declared {
            Some(declared) => {
                used.insert(&declared.id);
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
