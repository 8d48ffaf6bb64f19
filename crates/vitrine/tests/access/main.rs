//! Who may do what, over HTTP: roles, groups, locks, and what changes at once.

mod locks;
mod roles;
mod world;
