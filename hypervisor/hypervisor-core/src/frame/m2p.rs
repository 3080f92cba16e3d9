//! Each domain's own view of the machine-to-physical table (pv-abi 4.8).
//!
//! A guest reads at 0xffff800000000000 an array of its own frame numbers by machine frame. In Paravane it sees only its own
//! entries; all others are ~0. The view is a tree of read-only tables below the domain's L3 frame, made of three shared
//! defaults (a page of ones, an L1 and an L2 that lead only there) until the domain owns a frame in the part concerned;
//! then the path to it becomes the domain's own. These frames are the hypervisor's, counted as the domain's overhead, and
//! go when the domain goes. Entries change by compare-exchange, so no lock is needed; the hypervisor takes no decision from
//! the values (I30).

use crate::ids::{EntryIndex, Level, Mfn, Pfn};
use crate::machine::Machine;
use crate::sync::{AtomicU64, Ordering};

use super::account::{Account, AccountError};
use super::owner::OwnerId;
use super::pool::AllocError;
use super::table::{FrameTable, Ram};

const PRESENT: u64 = 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Numbers of the shared frames, set once at boot.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    ones: AtomicU64,
    l1: AtomicU64,
    l2: AtomicU64,
}

impl Defaults {
    pub(super) fn set(&self, ones: Mfn, l1: Mfn, l2: Mfn) {
        self.ones.store(ones.get(), Ordering::Relaxed);
        self.l1.store(l1.get(), Ordering::Relaxed);
        self.l2.store(l2.get(), Ordering::Relaxed);
    }
}

/// A place in the tree: a table of the view and what lies below its entries.
#[derive(Clone, Copy)]
enum Below {
    /// L2 tables, in the L3.
    L2,
    /// L1 tables.
    L1,
    /// Pages of the array.
    Page,
}

impl Below {
    /// Which entry leads to the number of `mfn`.
    fn index(self, mfn: u64) -> EntryIndex {
        let address = mfn << 3;
        match self {
            Self::L2 => EntryIndex::of_virtual(address, Level::L3),
            Self::L1 => EntryIndex::of_virtual(address, Level::L2),
            Self::Page => EntryIndex::of_virtual(address, Level::L1),
        }
    }
}

impl FrameTable {
    fn default_below(&self, below: Below) -> Mfn {
        let defaults = &self.view_defaults;
        let number = match below {
            Below::L2 => &defaults.l2,
            Below::L1 => &defaults.l1,
            Below::Page => &defaults.ones,
        };
        Mfn::new(number.load(Ordering::Relaxed))
    }

    fn view_entry(&self, target: Mfn) -> u64 {
        let no_execute = if self.no_execute() { NO_EXECUTE } else { 0 };
        target.address() | PRESENT | USER | ACCESSED | no_execute
    }

    /// The entry for slot 256 of `owner`'s kernel roots; 0 before the view is made.
    #[must_use]
    pub fn view_slot(&self, owner: OwnerId) -> u64 {
        let root = self.account(owner).map_or(0, Account::view);
        self.lookup(root).map_or(0, |root| self.view_entry(root))
    }
}

impl<M: Machine> Ram<'_, M> {
    /// Makes the shared defaults.
    pub(super) fn make_view_defaults(self) -> Result<(), AllocError> {
        let ones = self.filled(u64::MAX)?;
        let l1 = self.filled(self.frames.view_entry(ones))?;
        let l2 = self.filled(self.frames.view_entry(l1))?;
        self.frames.view_defaults.set(ones, l1, l2);
        Ok(())
    }

    fn filled(self, value: u64) -> Result<Mfn, AllocError> {
        let mfn = self.allocate_one()?.assign(OwnerId::HYPERVISOR);
        EntryIndex::all().for_each(|index| self.machine.write_entry(mfn, index, value));
        Ok(mfn)
    }

    /// Makes `owner`'s view: all ~0.
    ///
    /// # Errors
    /// [`AllocError`]: no frame is left.
    pub fn make_view(self, owner: OwnerId) -> Result<(), AllocError> {
        let account = self.frames.account(owner).ok_or(AccountError::NoSlot)?;
        let root = self.allocate_one()?.assign(OwnerId::HYPERVISOR);
        account.add_overhead();
        let entry = self.frames.view_entry(self.frames.default_below(Below::L2));
        let last = Below::L2.index(self.frames.limit().get().saturating_sub(1));
        EntryIndex::all()
            .filter(|&index| index <= last)
            .for_each(|index| self.machine.write_entry(root, index, entry));
        account.set_view(Some(root));
        Ok(())
    }

    /// What `owner`'s view says of a frame.
    #[must_use]
    pub fn pfn(self, owner: OwnerId, mfn: Mfn) -> Pfn {
        let page = self.view_page(owner, mfn);
        page.map_or(Pfn::NONE, |page| {
            Pfn::new(
                self.machine
                    .read_entry(page, EntryIndex::of_address(mfn.get() << 3)),
            )
        })
    }

    /// Sets what `owner`'s view says of a frame, with new frames for the view where needed.
    ///
    /// # Errors
    /// [`AllocError`]: no frame is left; nothing that a guest sees has changed.
    pub fn set_pfn(self, owner: OwnerId, mfn: Mfn, pfn: Pfn) -> Result<(), AllocError> {
        self.set_pfns(owner, mfn, 1, |_| pfn)
    }

    /// Sets what `owner`'s view says of `count` frames in a row, by their place in it.
    ///
    /// # Errors
    /// [`AllocError`]: no frame is left; the first ones may have been set.
    pub fn set_pfns(
        self,
        owner: OwnerId,
        first: Mfn,
        count: u64,
        pfn: impl Fn(u64) -> Pfn,
    ) -> Result<(), AllocError> {
        let account = self.frames.account(owner).ok_or(AccountError::NoSlot)?;
        let root = self
            .frames
            .lookup(account.view())
            .ok_or(AllocError::NoMemory)?;
        let mut grown = false;
        let mut page = None;
        let done = (first.get()..).zip(0..count).try_for_each(|(number, at)| {
            let index = EntryIndex::of_address(number << 3);
            // A page of the view is for 512 frames.
            let known = page.filter(|_| !number.is_multiple_of(512));
            let table = known.map_or_else(
                || {
                    [Below::L2, Below::L1, Below::Page].into_iter().try_fold(
                        root,
                        |table, below| {
                            self.own_below(account, table, below, Mfn::new(number), &mut grown)
                        },
                    )
                },
                Ok,
            )?;
            page = Some(table);
            self.machine.write_entry(table, index, pfn(at).get());
            Ok(())
        });
        if grown {
            // The guest may have read the default at this address a moment ago.
            self.flush_all(account.dirty());
        }
        done
    }

    /// A frame without an owner has no number in anybody's view.
    pub(crate) fn clear_pfn(self, owner: OwnerId, mfn: Mfn) {
        if let Some(page) = self.view_page(owner, mfn) {
            let index = EntryIndex::of_address(mfn.get() << 3);
            self.machine.write_entry(page, index, u64::MAX);
        }
    }

    /// Frees `owner`'s view, in steps: true when all of it is gone. The domain owns nothing any more.
    pub fn drop_view_step(self, owner: OwnerId) -> bool {
        let Some(account) = self.frames.account(owner) else {
            return true;
        };
        let Some(root) = self.frames.lookup(account.view()) else {
            return true;
        };
        for (at_l2, l2) in self.all_own(root, Below::L2) {
            for (at_l1, l1) in self.all_own(l2, Below::L1) {
                for (at, page) in self.all_own(l1, Below::Page) {
                    self.free_below(account, l1, at, page, Below::Page);
                }
                self.free_below(account, l2, at_l1, l1, Below::L1);
                if self.machine.preempt_due() {
                    return false;
                }
            }
            self.free_below(account, root, at_l2, l2, Below::L2);
        }
        account.set_view(None);
        self.give_back(root);
        account.remove_overhead();
        true
    }

    /// The first page of `owner`'s own view for frames from `from` on, a multiple of 512, for the recount: the first frame
    /// that it is for, and the page. `tables` counts the tables of the view that begin there or on the way.
    pub(crate) fn next_view_page(
        self,
        owner: OwnerId,
        from: u64,
        tables: &mut u64,
    ) -> Option<(u64, Mfn)> {
        let root = self.frames.lookup(self.frames.account(owner)?.view())?;
        let mut at = from;
        while at < self.frames.limit().get() {
            let path = [(Below::L2, 27_u32), (Below::L1, 18), (Below::Page, 9)];
            let end = path.into_iter().try_fold(root, |table, (below, span)| {
                let own = self.own_at(table, below.index(at), below);
                // Where the domain has nothing of its own, all that the entry is for is passed over.
                let own = own.ok_or_else(|| (at >> span).saturating_add(1) << span)?;
                let begins = at.trailing_zeros() >= span;
                *tables = tables.saturating_add(begins.into());
                Ok(own)
            });
            match end {
                Ok(page) => return Some((at, page)),
                Err(beyond) => at = beyond,
            }
        }
        None
    }

    /// The page of `owner`'s own that has the number of `mfn`, if there is one.
    fn view_page(self, owner: OwnerId, mfn: Mfn) -> Option<Mfn> {
        let mut table = self.frames.lookup(self.frames.account(owner)?.view())?;
        for below in [Below::L2, Below::L1, Below::Page] {
            table = self.own_at(table, below.index(mfn.get()), below)?;
        }
        Some(table)
    }

    /// The domain's own frame below an entry, copied from the default if there is none yet.
    fn own_below(
        self,
        account: &Account,
        table: Mfn,
        below: Below,
        mfn: Mfn,
        grown: &mut bool,
    ) -> Result<Mfn, AllocError> {
        let index = below.index(mfn.get());
        if let Some(own) = self.own_at(table, index, below) {
            return Ok(own);
        }
        let default = self.frames.default_below(below);
        let own = self.allocate_one()?.assign(OwnerId::HYPERVISOR);
        self.machine.copy_frame(default, own);
        let (old, new) = (self.frames.view_entry(default), self.frames.view_entry(own));
        let entry = index.of(self.machine.words(table));
        match entry.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                account.add_overhead();
                *grown = true;
                Ok(own)
            }
            Err(now) => {
                // Another CPU was faster: its frame is in place.
                self.give_back(own);
                self.frames
                    .lookup((now & FRAME) >> 12)
                    .ok_or(AllocError::NoMemory)
            }
        }
    }

    /// The frame below an entry, if it is the domain's own.
    fn own_at(self, table: Mfn, index: EntryIndex, below: Below) -> Option<Mfn> {
        let entry = self.machine.read_entry(table, index);
        let target = self.frames.lookup((entry & FRAME) >> 12)?;
        (entry & PRESENT != 0 && target != self.frames.default_below(below)).then_some(target)
    }

    fn all_own(self, table: Mfn, below: Below) -> impl Iterator<Item = (EntryIndex, Mfn)> {
        EntryIndex::all().filter_map(move |index| Some((index, self.own_at(table, index, below)?)))
    }

    fn free_below(self, account: &Account, table: Mfn, at: EntryIndex, own: Mfn, below: Below) {
        let entry = self.frames.view_entry(self.frames.default_below(below));
        self.machine.write_entry(table, at, entry);
        self.give_back(own);
        account.remove_overhead();
    }
}
