//! Scale sets over plain HTTP, on the driver without guests.

mod addresses;
mod instances;
mod models;
mod verbs;
mod world;
