//! One room per resource; a handler is named after its verb.

pub(crate) mod activity;
pub(crate) mod allowed_images;
pub(crate) mod care;
pub(crate) mod deployment;
pub(crate) mod digest;
pub(crate) mod disk_access;
pub(crate) mod disk_encryption_set;
pub(crate) mod gallery;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod invite;
pub(crate) mod lock;
pub(crate) mod moving;
pub(crate) mod network;
pub(crate) mod operation;
pub(crate) mod provider;
pub(crate) mod resource;
pub(crate) mod role;
pub(crate) mod scope;
pub(crate) mod shared;
pub(crate) mod storage_account;
pub(crate) mod subscription;
pub(crate) mod tags;
pub(crate) mod usage;
pub(crate) mod view;
pub(crate) mod virtual_machine;
