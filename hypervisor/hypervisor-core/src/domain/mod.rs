//! Domains: what owns memory, vCPUs, ports and grants.

pub mod account;
pub mod build;
