//! One file per command: its arguments, its typed result, the result as text.

pub mod audit;
pub mod balloon;
pub mod completions;
pub mod console;
pub mod create;
pub mod destroy;
pub mod dmesg;
pub mod info;
pub mod list;
pub mod man;
pub mod max_memory;
pub mod r#move;
pub mod pause;
pub mod poweroff;
pub mod reboot;
pub mod rename;
pub mod sched;
pub mod show;
pub mod shutdown;
pub mod sysrq;
pub mod unpause;
pub mod vcpus;
pub mod version;
pub mod wait;

pub(crate) mod act;
mod context;

pub use context::Context;
