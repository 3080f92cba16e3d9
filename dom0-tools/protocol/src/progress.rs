//! How far a request has got, while it goes on.
//!
//! Progress is news, not a log: a server that cannot send it at once sends the latest only.

use crate::codec::Payload;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Bytes of a file have arrived.
    Uploading,
    /// A domain is being built.
    Building,
    /// The guest's driver has not been seen yet.
    WaitingForDriver,
    /// The guest is on its way to the target.
    Changing,
    /// The guest has been asked to end.
    ShuttingDown,
    /// A domain's memory is being taken back.
    Destroying,
    /// All scroll-back has been sent; what follows is live.
    Live,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// vCPUs.
    Vcpus,
    /// Domains.
    Domains,
    /// Percent of a CPU.
    Percent,
}

/// One piece of news. For a change, `from` to `target` is the way and `now` the place on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// What the numbers count.
    pub unit: Unit,
    /// Where it began.
    pub from: u64,
    /// Where it is.
    pub now: u64,
    /// Where it is to end.
    pub target: u64,
    /// More in words, or empty.
    pub note: String,
}

impl Payload for Progress {
    const NAME: &'static str = "progress";
    const VARIANTS: Option<u32> = None;
}
