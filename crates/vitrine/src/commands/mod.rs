//! One file per verb.

pub mod audit;
pub mod backup;
pub mod care;
pub mod connect;
pub mod doctor;
pub mod exec;
pub mod export;
pub mod image;
pub mod principal;
pub mod publish;
pub mod publisher;
pub mod region;
pub mod routes;
pub mod schedule;
pub mod serve;
pub mod subject;
pub mod subscription;
pub mod tenant;
pub mod up;
pub mod usage;
pub mod vm;
