//! What happens once: from the boot loader's information to running CPUs.

pub(crate) mod cmdline;
pub(crate) mod information;
pub(crate) mod inventory;
pub(crate) mod memory_map;
pub(crate) mod multiboot;
pub(crate) mod pvh;
pub(crate) mod smp;
pub(crate) mod start;
