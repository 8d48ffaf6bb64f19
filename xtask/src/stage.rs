//! Stages of a run, each with its time.

use std::time::Instant;

/// Runs a stage and prints how long it took, whatever came of it.
pub fn stage<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    eprintln!("==> {name}");
    let start = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "done" } else { "FAILED" };
    eprintln!(
        "==> {name}: {word} in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    outcome
}
