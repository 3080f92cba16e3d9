//! A domain's memory as the paging code sees it: its account with the frame table and the lock of its page tables.

use crate::frame::{Account, AllocError, FrameTable, OwnerId, Ram};
use crate::ids::Frames;
use crate::machine::Machine;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Guard, Held, Ordering, Ranked, rank};

/// What paging needs to know of a domain. Everything else of the domain is none of its business.
#[derive(Debug)]
pub struct DomainMemory {
    owner: OwnerId,
    /// Held while the domain's tables or their types change.
    tables: Ranked<{ rank::PAGE_TABLES }, ()>,
    /// CPUs that wait for that.
    waiting: AtomicU32,
    devices: AtomicBool,
    /// Counts changes of entries above L1, and tables above L1 that are taken down, under the lock.
    shape: AtomicU64,
}

impl DomainMemory {
    /// Opens an account for a new domain and makes its M2P view.
    ///
    /// # Errors
    /// [`AllocError`]: no account or no frame is free; nothing is left behind.
    pub fn new<M: Machine>(
        ram: Ram<'_, M>,
        domid: u16,
        maximum: Frames,
    ) -> Result<Self, AllocError> {
        let owner = ram.frames.open_account(domid, maximum)?;
        if let Err(error) = ram.make_view(owner) {
            let closed = ram.frames.close_account(owner);
            debug_assert!(closed, "a new account is empty");
            return Err(error);
        }
        Ok(Self {
            owner,
            tables: Ranked::new(()),
            waiting: AtomicU32::new(0),
            devices: AtomicBool::new(false),
            // Not 0: a walk that was never noted is of no shape.
            shape: AtomicU64::new(1),
        })
    }

    /// How the frame table knows the domain.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The domain's numbers. `None` only after [`FrameTable::close_account`].
    #[must_use]
    pub fn account<'a>(&self, frames: &'a FrameTable) -> Option<&'a Account> {
        frames.account(self.owner)
    }

    /// Whether the domain may map device memory and use cache attributes.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        self.devices.load(Ordering::Relaxed)
    }

    /// Gives the right to devices: the first domain's, at boot.
    pub fn grant_devices(&self) {
        self.devices.store(true, Ordering::Relaxed);
    }

    /// Which page walk ends where, as a number that changes when any table above L1 does. Read under the lock of the tables.
    pub(crate) fn shape(&self) -> u64 {
        self.shape.load(Ordering::Relaxed)
    }

    /// An entry above L1 has changed.
    pub(crate) fn change_shape(&self) {
        self.shape.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another CPU waits for the lock: who has long work under it then stops at the next step.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Waits for the lock of the domain's page tables.
    pub fn lock_tables<'a, const TOP: u8>(
        &'a self,
        held: &'a mut Held<'_, TOP>,
    ) -> (Guard<'a, ()>, Held<'a, { rank::PAGE_TABLES }>) {
        self.tables.lock_noted(held, &self.waiting)
    }
}
