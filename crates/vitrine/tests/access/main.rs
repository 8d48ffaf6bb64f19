//! Who may do what, over HTTP: roles, groups, locks, and what changes at once.

mod audit;
mod clouds;
mod consumers;
mod deployments;
mod directory;
mod limits;
mod locks;
mod marketplace;
mod openid;
mod roles;
mod sets;
mod sharing;
mod world;
