//! The map of a guest's address space: which addresses and which L4 slots are the guest's (pv-abi 4.2, 4.3.5).

use hypercall_abi::mmu::{FIRST_HYPERVISOR_SLOT, HYPERVISOR_VIRT_END, LAST_HYPERVISOR_SLOT};

use crate::ids::EntryIndex;

/// End of the lower canonical half.
const LOWER_END: u64 = 1 << 47;

/// The slot of the M2P.
pub const VIEW_SLOT: u64 = FIRST_HYPERVISOR_SLOT;

/// Whether an L4 slot is the hypervisor's.
#[must_use]
pub fn is_hypervisor_slot(index: EntryIndex) -> bool {
    (FIRST_HYPERVISOR_SLOT..=LAST_HYPERVISOR_SLOT).contains(&u64::from(index.get()))
}

/// The hypervisor's L4 slots, ascending.
pub fn hypervisor_slots() -> impl Iterator<Item = EntryIndex> {
    EntryIndex::all().filter(|&index| is_hypervisor_slot(index))
}

/// Whether an address is the guest's to map.
#[must_use]
pub const fn is_guest(address: u64) -> bool {
    address < LOWER_END || address >= HYPERVISOR_VIRT_END
}

/// Whether all of `address..address + length` is the guest's, its end included. An empty range is judged by its start.
#[must_use]
pub const fn is_guest_range(address: u64, length: u64) -> bool {
    if address < LOWER_END {
        length <= LOWER_END.wrapping_sub(address)
    } else {
        // From the upper part to the very end of the address space.
        address >= HYPERVISOR_VIRT_END && length <= address.wrapping_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_slots_are_the_hypervisors() {
        let slots: std::vec::Vec<u16> = hypervisor_slots().map(EntryIndex::get).collect();
        assert_eq!((slots.len(), slots[0], slots[15]), (16, 256, 271));
    }

    #[test]
    fn ranges_end_where_the_guests_part_ends() {
        assert!(is_guest_range(0, LOWER_END));
        assert!(!is_guest_range(1, LOWER_END));
        assert!(is_guest_range(LOWER_END - 8, 8));
        assert!(!is_guest_range(LOWER_END - 8, 9));
        assert!(!is_guest_range(LOWER_END, 0));
        assert!(!is_guest_range(HYPERVISOR_VIRT_END - 8, 16));
        assert!(is_guest_range(
            HYPERVISOR_VIRT_END,
            u64::MAX - HYPERVISOR_VIRT_END
        ));
        assert!(is_guest_range(u64::MAX, 1));
        assert!(!is_guest_range(u64::MAX, 2));
        assert!(!is_guest_range(8, u64::MAX));
    }

    #[test]
    fn neither_the_hole_nor_the_hypervisors_part_is_the_guests() {
        for address in [0, LOWER_END - 1, HYPERVISOR_VIRT_END, u64::MAX] {
            assert!(is_guest(address));
        }
        for address in [LOWER_END, HYPERVISOR_VIRT_END - 1] {
            assert!(!is_guest(address));
        }
    }
}
