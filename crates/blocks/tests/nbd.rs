//! Disks of a store over NBD: real clients (nbdinfo and nbdcopy of libnbd, qemu-img, qemu-io), a
//! process that is killed, TLS, the fuzzing client of libnbd, and clients that send what no client sends.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

#[path = "nbd/hostile.rs"]
mod hostile;
#[path = "nbd/killed.rs"]
mod killed;
#[path = "nbd/libnbd_fuzzer.rs"]
mod libnbd_fuzzer;
#[path = "nbd/programs.rs"]
mod programs;
#[path = "nbd/server.rs"]
mod server;
mod support;
#[path = "nbd/tls.rs"]
mod tls;
#[path = "nbd/world.rs"]
mod world;
