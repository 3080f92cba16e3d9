//! Domains: what owns memory, vCPUs, ports and grants.

pub mod account;
pub mod build;
pub mod crash;
pub mod create;
pub mod life;
mod pause;
mod record;
pub mod rights;
pub mod start;
pub mod stop;
pub mod table;
pub mod teardown;

pub use record::{Assist, Domain};
pub use table::{DomId, DomainTable};

#[cfg(test)]
mod tests;
