//! The domains' views of the machine-to-physical table, page by page.
//!
//! Views change without a lock. What looks wrong may be a change under way, so it counts only if it still looks so while
//! nobody works.

use crate::frame::{Account, OwnerId, Ram};
use crate::ids::{EntryIndex, Frames, Mfn, Pfn};
use crate::machine::Machine;

use super::invariant::Breach;
use super::recount::{Holders, Recount};

/// Numbers in a page of a view.
const PAGE: u64 = 512;

/// How far the views are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// The owner's number.
    owner: u16,
    /// The first frame whose number is not looked at.
    at: u64,
    /// Tables of this view so far.
    tables: u64,
}

impl Recount {
    /// Looks at a page of a view. False when there is none left.
    pub(super) fn view_step<M: Machine>(
        &mut self,
        ram: Ram<'_, M>,
        holders: &impl Holders,
    ) -> bool {
        let Place { owner, at, .. } = self.view;
        let found = ram.frames.accounts().find(|(o, _)| o.get() >= owner);
        let Some((owner, account)) = found else {
            return false;
        };
        let at = if owner.get() == self.view.owner {
            at
        } else {
            0
        };
        let mut tables = if at == 0 { 0 } else { self.view.tables };
        if let Some((first, page)) = ram.next_view_page(owner, at, &mut tables) {
            if foreign(ram, owner, first, page).next().is_some() {
                holders.stand_still(&mut || self.view_numbers(ram, owner, first));
            }
            let at = first.saturating_add(PAGE);
            self.view = Place {
                owner: owner.get(),
                at,
                tables,
            };
            return true;
        }
        // The root is one more. A domain that ends gives its overhead back without an order that could be told from outside.
        let counted = tables
            .saturating_add(1)
            .saturating_add(holders.records(owner).get());
        if account.overhead().get() != counted && !account.is_dying() {
            holders.stand_still(&mut || self.view_tables(ram, holders, owner));
        }
        let owner = owner.get().saturating_add(1);
        self.view = Place {
            owner,
            ..Place::default()
        };
        true
    }

    /// Notes the numbers of a page that are wrong. Nobody works.
    fn view_numbers<M: Machine>(&mut self, ram: Ram<'_, M>, owner: OwnerId, first: u64) {
        let (Some(account), Some((found, page))) = (
            ram.frames.account(owner),
            ram.next_view_page(owner, first, &mut 0),
        ) else {
            return;
        };
        if found == first {
            let domid = account.domid();
            foreign(ram, owner, first, page)
                .for_each(|number| self.report.add(Breach::View { domid, number }));
        }
    }

    /// Counts the tables of a view and the other frames that the hypervisor needs for its domain. Nobody works.
    fn view_tables<M: Machine>(&mut self, ram: Ram<'_, M>, holders: &impl Holders, owner: OwnerId) {
        let alive = |account: &&Account| account.is_open() && !account.is_dying();
        let Some(account) = ram.frames.account(owner).filter(alive) else {
            return;
        };
        let (mut tables, mut at) = (u64::from(ram.frames.view_slot(owner) != 0), 0);
        while let Some((first, _)) = ram.next_view_page(owner, at, &mut tables) {
            at = first.saturating_add(PAGE);
        }
        let (domid, found) = (account.domid(), account.overhead());
        let expected = Frames::new(tables.saturating_add(holders.records(owner).get()));
        if found != expected {
            self.report.add(Breach::Account {
                domid,
                expected,
                found,
            });
        }
    }
}

/// Frames that have a number in a page for frames from `first` on, and are not `owner`'s.
fn foreign<M: Machine>(
    ram: Ram<'_, M>,
    owner: OwnerId,
    first: u64,
    page: Mfn,
) -> impl Iterator<Item = u64> {
    let numbers = EntryIndex::all().zip(first..);
    numbers
        .filter(move |&(index, _)| ram.machine.read_entry(page, index) != Pfn::NONE.get())
        .map(|(_, number)| number)
        .filter(move |&number| {
            let frame = ram.frames.lookup(number);
            frame.is_none_or(|mfn| ram.frames.holding(mfn).owner != owner)
        })
}
