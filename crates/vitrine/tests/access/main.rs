//! Who may do what, over HTTP: roles, groups, locks, and what changes at once.

mod directory;
mod locks;
mod roles;
mod world;
