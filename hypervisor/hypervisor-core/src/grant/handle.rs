//! Handles: what a domain has mapped of others.

use alloc::vec::Vec;

use super::entry::Access;
use super::status::Status;
use crate::ids::Mfn;

/// Mappings that a domain may have at once.
pub(super) const MAX_HANDLES: usize = 8192;
/// By how many the list grows.
const GROWTH: usize = 64;

/// A mapping of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The granter's number.
    pub(super) domid: u16,
    /// The granter's identity.
    pub(super) serial: u64,
    /// Which entry.
    pub(super) reference: u32,
    /// Which frame.
    pub(super) frame: Mfn,
    /// What for.
    pub(super) access: Access,
    /// A page-table entry was made; it may have been overwritten since.
    pub(super) host: bool,
    /// A device may use the frame: the references are this handle's.
    pub(super) device: bool,
    /// The entry was named by its own machine address.
    pub(super) by_entry: bool,
}

#[derive(Debug)]
enum Slot {
    /// Nobody's; the next one like it.
    Free(Option<u32>),
    /// Somebody is making it, or taking it down.
    Busy,
    /// In use.
    Mapped(Mapping),
}

/// A domain's handles.
#[derive(Debug, Default)]
pub(super) struct Handles {
    slots: Vec<Slot>,
    free: Option<u32>,
    /// The domain ends: no new ones.
    closed: bool,
}

impl Handles {
    /// Sets a handle aside.
    pub(super) fn reserve(&mut self) -> Result<u32, Status> {
        if self.closed {
            return Err(Status::NoSpace);
        }
        if self.free.is_none() {
            self.grow()?;
        }
        let handle = self.free.ok_or(Status::NoSpace)?;
        let slot = self.slot(handle).ok_or(Status::NoSpace)?;
        let Slot::Free(next) = *slot else {
            return Err(Status::NoSpace);
        };
        *slot = Slot::Busy;
        self.free = next;
        Ok(handle)
    }

    /// A handle that was set aside names a mapping.
    pub(super) fn set(&mut self, handle: u32, mapping: Mapping) {
        if let Some(slot) = self.slot(handle) {
            *slot = Slot::Mapped(mapping);
        }
    }

    /// A handle that was set aside is not needed.
    pub(super) fn release(&mut self, handle: u32) {
        let next = self.free;
        if let Some(slot) = self.slot(handle) {
            *slot = Slot::Free(next);
            self.free = Some(handle);
        }
    }

    /// Sets aside a handle in use, to take its mapping down.
    pub(super) fn take(&mut self, handle: u32) -> Result<Mapping, Status> {
        let slot = self.slot(handle).ok_or(Status::BadHandle)?;
        let Slot::Mapped(mapping) = *slot else {
            return Err(Status::BadHandle);
        };
        *slot = Slot::Busy;
        Ok(mapping)
    }

    /// Sets aside any handle in use; no new ones are given from now on.
    pub(super) fn take_any(&mut self) -> Option<(u32, Mapping)> {
        self.closed = true;
        let mapped = |slot: &Slot| matches!(slot, Slot::Mapped(_));
        let index = self.slots.iter().position(mapped)?;
        let handle = u32::try_from(index).ok()?;
        self.take(handle).ok().map(|mapping| (handle, mapping))
    }

    /// All mappings.
    pub(super) fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Mapped(mapping) => Some(mapping),
            Slot::Free(_) | Slot::Busy => None,
        })
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(handle).ok()?)
    }

    fn grow(&mut self) -> Result<(), Status> {
        let more = GROWTH.min(MAX_HANDLES.saturating_sub(self.slots.len()));
        self.slots
            .try_reserve_exact(more)
            .map_err(|_| Status::NoSpace)?;
        for _ in 0..more {
            let handle = u32::try_from(self.slots.len()).map_err(|_| Status::NoSpace)?;
            self.slots.push(Slot::Free(self.free));
            self.free = Some(handle);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_come_back_and_end_at_the_limit() {
        let mut handles = Handles::default();
        let given: Vec<u32> = core::iter::from_fn(|| handles.reserve().ok()).collect();
        assert_eq!(given.len(), MAX_HANDLES);
        assert_eq!(handles.reserve(), Err(Status::NoSpace));
        handles.release(given[7]);
        assert_eq!(handles.reserve(), Ok(given[7]));
    }

    #[test]
    fn only_a_mapping_in_use_can_be_taken_and_only_once() {
        let mut handles = Handles::default();
        let handle = handles.reserve().unwrap();
        assert_eq!(handles.take(handle), Err(Status::BadHandle));
        let mapping = Mapping {
            domid: 1,
            serial: 2,
            reference: 3,
            frame: Mfn::new(4),
            access: Access::Read,
            host: true,
            device: false,
            by_entry: false,
        };
        handles.set(handle, mapping);
        assert_eq!(handles.take(handle), Ok(mapping));
        assert_eq!(handles.take(handle), Err(Status::BadHandle));
        assert_eq!(handles.take(u32::MAX), Err(Status::BadHandle));
    }
}
