//! Machines: rows, disks and power, over a driver that runs guests.

pub mod driver;
pub mod settings;
pub mod simulated;
pub mod spec;
