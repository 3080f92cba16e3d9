//! The control server: what clients ask of dom0, and the lives of the domains that it makes.
//!
//! A [`Manager`] holds all of dom0's state. Bytes of the control channel go in, frames come out; events of ports,
//! hypervisor and clock go in as what they are, hints to look. `work` does a bounded round of what there is to do and says
//! when it wants to be called again. Nothing in it waits, so no client and no guest holds up another.
//!
//! * `host`: what is needed of the machine; * `session`: frames to requests, streams and their ends;
//! * `query`: questions; `create`, `start`: a domain's way to its first instruction; `change`: memory and vCPUs; `moving`: memory
//!   between domains;
//!   `settings`: shares, maximum, name; `ending`: pause to destroy; `ended`: what becomes of a domain that has ended;
//!   `waiting`: for a state, or for a guest to take a key; `terminal`: consoles and the log; `grave`:
//!   what ended domains have printed; `recount`: the audit; `upload`, `files`: what
//!   domains are made of;
//! * `domain`: what dom0 knows of one; `words`: refusals as errors for people and programs.

mod change;
mod claims;
mod create;
mod domain;
mod domains;
mod ended;
mod ending;
mod files;
mod grave;
mod host;
mod manager;
mod moving;
mod query;
mod recount;
mod session;
mod settings;
mod size;
mod start;
mod stream;
mod terminal;
mod upload;
mod waiting;
mod words;

pub use host::{Attached, Host, HostError, Interfaces, LocalPort, Ring};
pub use manager::{Manager, Next, Setup};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
