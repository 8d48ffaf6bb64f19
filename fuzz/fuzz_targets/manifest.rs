//! A good manifest of a store with changes, or bytes as they come; digests are made right again.
#![no_main]

#[path = "../stores.rs"]
mod stores;

use std::sync::LazyLock;

static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| stores::good("manifests"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    blocks::fuzzing::manifest(data);
    if let [first, changes @ ..] = data {
        let bytes = &GOOD[usize::from(*first) % GOOD.len()];
        blocks::fuzzing::manifest(&stores::changed(bytes, changes));
    }
});
