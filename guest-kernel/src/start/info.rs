//! What the loader told the kernel, kept for its whole life.

use core::fmt;

use hypercall_abi::start::{SIF_INITDOMAIN, SIF_MOD_START_PFN, StartInfo};
use hypercall_abi::{RawMfn, RawPort};
use spin::Once;

use crate::paging::{IMAGE_BASE, PAGE_SIZE, Pfn};

static BOOT: Once<Boot> = Once::new();

/// A copy of `start_info`, read with names that say what its numbers mean.
pub struct Boot {
    info: StartInfo,
}

/// Copies `start_info` to where it stays.
///
/// # Safety
/// `address` is that of a mapped `start_info` which nobody writes.
pub(super) unsafe fn remember(address: usize) -> &'static Boot {
    let pointer = core::ptr::with_exposed_provenance::<StartInfo>(address);
    BOOT.call_once(|| Boot {
        // SAFETY: the caller says that it is mapped and still; any bytes are a valid StartInfo.
        info: unsafe { pointer.read_unaligned() },
    })
}

/// What the loader told, once the kernel has started.
#[must_use]
pub fn boot_info() -> Option<&'static Boot> {
    BOOT.get()
}

impl Boot {
    /// Frames that the domain was given at start: PFN 0 up to this.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.info.nr_pages
    }

    /// True for the domain that the hypervisor itself started: it owns the machine's console and has no store to ask.
    #[must_use]
    pub fn is_first_domain(&self) -> bool {
        self.info.flags & SIF_INITDOMAIN != 0
    }

    /// The command line.
    #[must_use]
    pub fn command_line(&self) -> &str {
        let text = self
            .info
            .cmd_line
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    /// Frame and port of the console ring, if there is one.
    #[must_use]
    pub fn console(&self) -> Option<(RawMfn, RawPort)> {
        (!self.is_first_domain()).then_some((self.info.console_mfn, self.info.console_evtchn))
    }

    /// Frame and port of the xenstore ring, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<(RawMfn, RawPort)> {
        (self.info.store_evtchn != RawPort(0))
            .then_some((self.info.store_mfn, self.info.store_evtchn))
    }

    /// The frame that the hypervisor shares with the domain.
    #[must_use]
    pub fn shared_info(&self) -> RawMfn {
        RawMfn(self.info.shared_info >> 12)
    }

    /// First page and length in bytes of the ramdisk, if there is one.
    #[must_use]
    pub fn ramdisk(&self) -> Option<(Pfn, usize)> {
        let length = usize::try_from(self.info.mod_len)
            .ok()
            .filter(|&length| length > 0)?;
        let start = if self.info.flags & SIF_MOD_START_PFN != 0 {
            self.info.mod_start
        } else {
            self.info.mod_start.checked_sub(IMAGE_BASE as u64)? / PAGE_SIZE as u64
        };
        Some((Pfn(start), length))
    }

    /// The structure itself.
    #[must_use]
    pub fn start_info(&self) -> &StartInfo {
        &self.info
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot")
            .field("pages", &self.info.nr_pages)
            .field("flags", &self.info.flags)
            .finish()
    }
}
