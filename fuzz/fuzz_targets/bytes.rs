//! Bytes as they are, read in the format that the first byte names.
#![no_main]

#[path = "../../crates/disk/tests/common/oracle.rs"]
mod oracle;

use disk::Format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    const FORMATS: [Format; 5] = [
        Format::Vhd,
        Format::DynamicVhd,
        Format::Qcow2,
        Format::Vmdk,
        Format::Vhdx,
    ];
    if let [first, bytes @ ..] = data {
        oracle::image(FORMATS[usize::from(*first) % FORMATS.len()], bytes.to_vec());
    }
});
