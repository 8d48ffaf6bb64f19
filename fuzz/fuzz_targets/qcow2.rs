//! A good qcow2 image with changes; its checksums are made right again.
#![no_main]

#[path = "../../crates/disk/tests/common/images.rs"]
mod images;
#[path = "../../crates/disk/tests/common/oracle.rs"]
mod oracle;

use std::sync::LazyLock;

static BASES: LazyLock<Vec<images::Base>> =
    LazyLock::new(|| images::bases().into_iter().skip(2).take(3 - 2).collect());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let [first, changes @ ..] = data {
        let base = &BASES[usize::from(*first) % BASES.len()];
        oracle::image(base.format, images::changed(base, changes));
    }
});
