//! Operations of `memory_op`.

use super::row::operation_rows;

/// Hands the rows of the operations of `memory_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_memory_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Gives a domain frames without PFNs and writes their numbers to the list, if there is one. Returns the extents
            /// done, never an error.
            0 increase_reservation(argument: In<MemoryReservation>) since 1 by any;
            /// Takes frames back; one still in use goes when its last use ends. Returns the extents done, never an error.
            1 decrease_reservation(argument: In<MemoryReservation>) since 1 by any;
            /// Returns the highest frame of the machine, plus 1.
            2 maximum_ram_page() since 1 by any;
            /// Returns the frames that a domain has. Errors: `ESRCH`; `EPERM`.
            3 current_reservation(argument: In<MemoryDomain>) since 1 by any;
            /// Returns the frames that a domain may have. Errors: `ESRCH`; `EPERM`.
            4 maximum_reservation(argument: In<MemoryDomain>) since 1 by any;
            /// Refused: there is no table of all frames; each domain has a view of its own. Errors: `EPERM`.
            5 machphys_mfn_list(argument: InOut<MachphysMfnList>) since 1 by any;
            /// Gives a domain zeroed frames for the PFNs in the list and overwrites them with the frames' numbers; sets the
            /// M2P. Returns the extents done, never an error.
            6 populate_physmap(argument: In<MemoryReservation>) since 1 by any;
            /// Refused: for translated guests. Errors: `ENOSYS` a foreign frame; `ESRCH`; `EACCES`.
            7 add_to_physmap(argument: In<AddToPhysmap>) since 1 by any;
            /// Copies the caller's memory map and writes the number of entries.
            9 memory_map(argument: InOut<MemoryMap>) since 1 by any;
            /// Copies the machine's memory map and writes the number of entries. Errors: `EPERM`.
            10 machine_memory_map(argument: InOut<MemoryMap>) since 1 by dom0;
            /// Swaps frames for others; writes at every exit how many extents are done. Errors: `EPERM` an order over the
            /// limit; `EINVAL` numbers that do not fit, or a frame that is not the caller's own or in use; `ESRCH`; `EPERM`;
            /// `ENOMEM`.
            11 exchange(argument: InOut<MemoryExchange>) since 1 by any;
            /// Tells where the M2P is.
            12 machphys_mapping(argument: Out<MachphysMapping>) since 1 by any;
            /// Refused: memory maps follow from what a domain may have. Errors: `EINVAL` more than 1024 entries; `ESRCH`;
            /// `EPERM`.
            13 set_memory_map(argument: In<ForeignMemoryMap>) since 1 by any;
            /// Returns the highest PFN that a domain says it uses. Errors: `ESRCH`; `EPERM`.
            14 maximum_gpfn(argument: In<MemoryDomain>) since 1 by any;
            /// Refused: for translated guests. Errors: `ESRCH`; `EACCES`.
            15 remove_from_physmap(argument: In<RemoveFromPhysmap>) since 1 by any;
            /// Returns 0: frames are not shared by their contents.
            18 get_sharing_freed_pages() since 1 by any;
            /// Returns 0: frames are not shared by their contents.
            19 get_sharing_shared_pages() since 1 by any;
            /// Refused: for translated guests. Errors: `EOPNOTSUPP` a range; `ESRCH`; `EACCES`.
            23 add_to_physmap_batch(argument: In<AddToPhysmapBatch>) since 1 by any;
            /// Refused: memory is promised by what a domain may have. Errors: `EINVAL` a list, an order, flags, or a domain that
            /// is not named by its number; `EPERM`; `EOPNOTSUPP` for the control domain.
            24 claim_pages(argument: In<MemoryReservation>) since 1 by dom0;
            /// Refused: there are no 32-bit guests. Errors: `EOPNOTSUPP`.
            25 machphys_compat_mfn_list(argument: In<MachphysMfnList>) since 1 by any;
            /// Refused: there is no virtual NUMA. Errors: `EINVAL` padding not 0; `ESRCH`; `EPERM`; `EOPNOTSUPP`.
            26 get_vnumainfo(argument: In<VnumaTopologyInfo>) since 1 by any;
            /// Refused: frames of another domain are mapped by its grants. Errors: `EINVAL` padding not 0, or frames beyond 32
            /// bits; `ESRCH`; `EPERM`; `EOPNOTSUPP` for the control domain.
            28 acquire_resource(argument: In<AcquireResource>) since 1 by dom0;
        }
    };
}

crate::for_each_memory_operation!(operation_rows);
