//! A hostile client of the NBD server.
#![no_main]

#[path = "../../crates/disk/tests/common/oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::nbd(data));
