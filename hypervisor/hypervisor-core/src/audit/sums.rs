//! Accounts of domains, and conservation of frames.

use crate::frame::{OwnerId, Ram};
use crate::ids::Frames;
use crate::machine::Machine;

use super::invariant::Breach;
use super::recount::Recount;

/// The frames of the shared M2P defaults.
const DEFAULTS: u64 = 3;

impl Recount {
    /// The frames of all owners are counted: nobody works, so the sums must be right.
    pub(super) fn check_sums<M: Machine>(&mut self, ram: Ram<'_, M>) {
        let table = ram.frames;
        let counted = |owner| table.tally().counts().owned(owner);
        let (mut owned, mut overhead) = (0_u64, 0_u64);
        for (owner, account) in table.accounts() {
            let expected = Frames::new(counted(owner));
            let found = account
                .total()
                .get()
                .saturating_add(account.special().get());
            let found = Frames::new(found);
            if expected != found {
                let domid = account.domid();
                self.report.add(Breach::Account {
                    domid,
                    expected,
                    found,
                });
            }
            owned = owned.saturating_add(found.get());
            overhead = overhead.saturating_add(account.overhead().get());
        }
        let hypervisor = counted(OwnerId::HYPERVISOR);
        let free = table.free().get();
        let found = Frames::new(free.saturating_add(owned).saturating_add(hypervisor));
        let expected = table.total();
        if found != expected {
            self.report.add(Breach::Conservation { expected, found });
        } else if hypervisor != overhead.saturating_add(DEFAULTS) {
            let (expected, found) = (overhead.saturating_add(DEFAULTS), hypervisor);
            self.report.add(Breach::Overhead { expected, found });
        }
    }
}
