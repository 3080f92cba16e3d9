//! What a domain owns, in numbers: the frame table's accounts, one slot per domain.
//!
//! They live beside the frames because the last reference to a frame may be dropped by anybody, and must then be taken off
//! its owner's total. A slot is reused only when its totals are 0, so an owner in a frame's word always means the account
//! that it was assigned by.

use hypercall_abi::control::host::most_overhead;
use thiserror::Error;

use crate::ids::{CpuSet, Frames, Mfn, PhysCpu};
use crate::sync::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use super::owner::OwnerId;

/// The limit of a domain that has none but its maximum.
const NO_LIMIT: u64 = u64::MAX;

/// Why frames were not charged, or an account not opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AccountError {
    /// The domain would have more frames than its maximum (I31).
    #[error("the domain is at its maximum of frames")]
    OverMaximum,
    /// All slots are taken.
    #[error("no account is free: too many domains")]
    NoSlot,
    /// The domain is being destroyed (I7).
    #[error("the domain is being destroyed")]
    Dying,
}

/// A domain's frames in numbers, and what the frame table must know of the domain beside them.
#[derive(Debug, Default)]
pub struct Account {
    open: AtomicBool,
    dying: AtomicBool,
    domid: AtomicU16,
    total: AtomicU64,
    maximum: AtomicU64,
    /// Up to here it may take more now; what is above is for its manager to admit first.
    limit: AtomicU64,
    special: AtomicU64,
    overhead: AtomicU64,
    /// Bit n: CPU n may hold translations of the domain (I28).
    dirty: AtomicU64,
    /// The L3 frame of the domain's M2P view; 0 before it is made. Frame 0 is never in the pool.
    view: AtomicU64,
}

impl Account {
    /// Claims a closed account.
    pub(super) fn open(&self, domid: u16, maximum: Frames) -> bool {
        if self.open.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.dying.store(false, Ordering::Relaxed);
        self.domid.store(domid, Ordering::Relaxed);
        self.maximum.store(maximum.get(), Ordering::Relaxed);
        self.limit.store(NO_LIMIT, Ordering::Relaxed);
        self.dirty.store(0, Ordering::Relaxed);
        true
    }

    /// Frees the slot. False, and nothing changed, while the domain still owns a frame.
    pub(super) fn close(&self) -> bool {
        let left = [&self.total, &self.special, &self.overhead];
        if left.iter().any(|n| n.load(Ordering::Acquire) != 0) {
            return false;
        }
        self.open.store(false, Ordering::Release);
        true
    }

    /// Whether a domain uses the slot.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The number of the domain.
    #[must_use]
    pub fn domid(&self) -> u16 {
        self.domid.load(Ordering::Relaxed)
    }

    /// Frames the domain owns, special pages and overhead apart.
    #[must_use]
    pub fn total(&self) -> Frames {
        Frames::new(self.total.load(Ordering::Acquire))
    }

    /// The most frames that the domain may own.
    #[must_use]
    pub fn maximum(&self) -> Frames {
        Frames::new(self.maximum.load(Ordering::Acquire))
    }

    /// Sets the maximum. Below the total it only stops further allocation.
    pub fn set_maximum(&self, maximum: Frames) {
        self.maximum.store(maximum.get(), Ordering::Release);
    }

    /// Sets up to how many frames the domain may take more now. Below the total it only stops further allocation.
    pub fn set_limit(&self, limit: Frames) {
        self.limit.store(limit.get(), Ordering::Release);
    }

    /// Frames that the domain can take yet without its manager: its own up to its limit, and overhead up to the most.
    #[must_use]
    pub fn promised(&self) -> Frames {
        if self.is_dying() {
            return Frames::new(0);
        }
        let maximum = self.maximum.load(Ordering::Acquire);
        let limit = self.limit.load(Ordering::Acquire);
        let most = if limit == NO_LIMIT { maximum } else { limit };
        let growth = most.saturating_sub(self.total().get());
        let taken = self.special().get().saturating_add(self.overhead().get());
        let overhead = most_overhead(maximum).saturating_sub(taken);
        Frames::new(growth.saturating_add(overhead))
    }

    /// Pages that the hypervisor shares with the domain.
    #[must_use]
    pub fn special(&self) -> Frames {
        Frames::new(self.special.load(Ordering::Acquire))
    }

    /// Frames that the hypervisor needs for the domain: its M2P view, and words that grow with its wishes.
    #[must_use]
    pub fn overhead(&self) -> Frames {
        Frames::new(self.overhead.load(Ordering::Acquire))
    }

    /// Whether the domain is being destroyed: then its frames give no new references.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Acquire)
    }

    /// Marks the domain as being destroyed.
    pub fn set_dying(&self) {
        self.dying.store(true, Ordering::Release);
    }

    /// CPUs that may hold translations of the domain.
    #[must_use]
    pub fn dirty(&self) -> CpuSet {
        CpuSet::from_bits(self.dirty.load(Ordering::SeqCst))
    }

    /// `cpu` is about to load a root of the domain.
    pub fn set_dirty(&self, cpu: PhysCpu) {
        self.dirty
            .fetch_or(CpuSet::only(cpu).bits(), Ordering::SeqCst);
    }

    /// `cpu` has flushed everything with a root loaded that is not the domain's (T7).
    pub fn clear_dirty(&self, cpu: PhysCpu) {
        self.dirty
            .fetch_and(!CpuSet::only(cpu).bits(), Ordering::SeqCst);
    }

    /// Charges `count` frames.
    pub(crate) fn charge(&self, count: u64) -> Result<(), AccountError> {
        if self.is_dying() {
            return Err(AccountError::Dying);
        }
        let maximum = self.maximum.load(Ordering::Acquire);
        let most = maximum.min(self.limit.load(Ordering::Acquire));
        let within = |total: u64| total.checked_add(count).filter(|&sum| sum <= most);
        self.total
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, within)
            .map(drop)
            .map_err(|_| AccountError::OverMaximum)
    }

    pub(super) fn discharge(&self, count: u64) {
        subtract(&self.total, count);
    }

    pub(super) fn add_special(&self) {
        self.special.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn remove_special(&self) {
        subtract(&self.special, 1);
    }

    pub(super) fn add_overhead(&self) {
        self.overhead.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn remove_overhead(&self) {
        subtract(&self.overhead, 1);
    }

    /// The L3 frame's number of the M2P view, 0 if there is none.
    pub(super) fn view(&self) -> u64 {
        self.view.load(Ordering::Acquire)
    }

    pub(super) fn set_view(&self, root: Option<Mfn>) {
        self.view.store(root.map_or(0, Mfn::get), Ordering::Release);
    }
}

fn subtract(counter: &AtomicU64, count: u64) {
    let before = counter.fetch_sub(count, Ordering::AcqRel);
    debug_assert!(before >= count, "more frames left an account than it had");
}

/// The account that a frame's owner means.
pub(super) fn find(accounts: &[Account], owner: OwnerId) -> Option<&Account> {
    accounts.get(owner.slot()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_over_the_maximum_changes_nothing() {
        let account = Account::default();
        assert!(account.open(3, Frames::new(4)));
        assert_eq!(account.charge(3), Ok(()));
        assert_eq!(account.charge(2), Err(AccountError::OverMaximum));
        assert_eq!(account.charge(u64::MAX), Err(AccountError::OverMaximum));
        assert_eq!(account.total(), Frames::new(3));
    }

    #[test]
    fn a_dying_domain_is_charged_nothing() {
        let account = Account::default();
        assert!(account.open(3, Frames::new(4)));
        account.set_dying();
        assert_eq!(account.charge(1), Err(AccountError::Dying));
    }

    #[test]
    fn what_a_domain_can_take_yet_is_promised_to_it() {
        let account = Account::default();
        assert!(account.open(3, Frames::new(1024)));
        let promised = |account: &Account| account.promised().get();
        let overhead = most_overhead(1024);
        assert_eq!(promised(&account), 1024 + overhead, "no limit");
        account.set_limit(Frames::new(100));
        assert_eq!(account.charge(30), Ok(()));
        account.add_special();
        account.add_overhead();
        assert_eq!(promised(&account), 70 + overhead - 2);
        account.set_limit(Frames::new(20));
        assert_eq!(promised(&account), overhead - 2, "it is to shrink");
        account.discharge(15);
        assert_eq!(promised(&account), 5 + overhead - 2, "it gave too much");
        account.set_dying();
        assert_eq!(promised(&account), 0);
    }

    #[test]
    fn a_slot_is_reused_only_when_nothing_is_left() {
        let account = Account::default();
        assert!(account.open(3, Frames::new(4)));
        assert_eq!(account.charge(1), Ok(()));
        assert!(!account.close());
        account.discharge(1);
        assert!(account.close());
        assert!(account.open(4, Frames::new(1)));
        assert!(!account.open(5, Frames::new(1)));
    }
}
