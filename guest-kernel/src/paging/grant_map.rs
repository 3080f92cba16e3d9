//! Frames that another domain lent, mapped in the area.

use alloc::vec::Vec;

use hypercall_abi::grant::{GNTMAP_HOST_MAP, GNTMAP_READONLY, MapGrantRef, UnmapGrantRef};
use hypercall_abi::{Errno, RawDomId, RawGrantRef};

use super::area::Addresses;
use super::{Access, PAGE_SIZE};
use crate::hypercall::grant::{GrantError, map, unmap};

/// Grants mapped side by side; dropping it unmaps them.
#[derive(Debug)]
pub(crate) struct GrantMapping {
    addresses: Addresses,
    /// Handles of those mapped, in order.
    handles: Vec<u32>,
}

impl GrantMapping {
    pub(crate) fn new(
        domain: RawDomId,
        references: &[RawGrantRef],
        access: Access,
    ) -> Result<Self, GrantError> {
        let addresses = Addresses::reserve(references.len()).map_err(|_| Errno::ENOMEM)?;
        let mut handles = Vec::new();
        handles
            .try_reserve_exact(references.len())
            .map_err(|_| Errno::ENOMEM)?;
        let mut mapping = Self { addresses, handles };
        let read_only = if access == Access::ReadOnly {
            GNTMAP_READONLY
        } else {
            0
        };
        for (address, &gref) in mapping.addresses.each().zip(references) {
            let mut element = MapGrantRef {
                host_addr: address as u64,
                flags: GNTMAP_HOST_MAP | read_only,
                gref,
                dom: domain,
                ..MapGrantRef::default()
            };
            // SAFETY: the address is reserved for this mapping and nothing is there.
            unsafe { map(&mut element) }?;
            mapping.handles.push(element.handle);
        }
        Ok(mapping)
    }

    pub(crate) fn address(&self) -> usize {
        self.addresses.start()
    }

    pub(crate) fn len(&self) -> usize {
        self.addresses.pages() * PAGE_SIZE
    }
}

impl Drop for GrantMapping {
    fn drop(&mut self) {
        for (address, &handle) in self.addresses.each().zip(&self.handles) {
            let mut element = UnmapGrantRef {
                host_addr: address as u64,
                handle,
                ..UnmapGrantRef::default()
            };
            // SAFETY: whoever used the memory holds it no more. The handle and its address are ours, so the
            // hypervisor has no reason to refuse.
            let _unmapped = unsafe { unmap(&mut element) };
        }
    }
}
