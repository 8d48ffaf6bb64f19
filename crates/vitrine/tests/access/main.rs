//! Who may do what, over HTTP: roles, groups, locks, and what changes at once.

mod audit;
mod deployments;
mod directory;
mod locks;
mod roles;
mod sharing;
mod world;
