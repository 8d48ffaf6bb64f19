//! A good pack of a store with changes, or bytes as they come; digests are made right again.
#![no_main]

#[path = "../stores.rs"]
mod stores;

use std::sync::LazyLock;

static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| stores::good("packs"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    blocks::fuzzing::pack(data);
    if let [first, changes @ ..] = data {
        let bytes = &GOOD[usize::from(*first) % GOOD.len()];
        blocks::fuzzing::pack(&stores::changed(bytes, changes));
    }
});
