//! Disks of a store over NBD: [`Reader`](crate::Reader) and [`Layer`](crate::Layer) are exports, and
//! [`NbdServer`] serves them by name.
//!
//! What was acknowledged to a client survives the end of the process, also the sudden one: a client
//! that connects again to the same path (QEMU's `reconnect-delay`) finds everything it wrote. Only a
//! flush, or a write with FUA, survives the machine.

mod exports;
mod server;

pub use server::{NbdOptions, NbdServer, NbdStream, Upgrade};
