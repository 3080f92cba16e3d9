//! THE table: every hypercall and every sub-operation that exists, declared once.
//!
//! [`for_each_hypercall!`](crate::for_each_hypercall) hands all rows to a *visitor*, a macro of the user's own. So do the macros of
//! the sub-operations, one per call that has any: [`for_each_event_operation!`](crate::for_each_event_operation) and its like, in
//! the files of the folder `table/`. All rows have one form:
//!
//! ```text
//! /// What it does. Errors: `EINVAL` if ...
//! 14 update_va_mapping(va: u64, entry: RawEntry, flags: u64) since 1 by any;
//! 32 event_channel_op(command: u32, argument: u64) since 1 by any, operations event;
//! ```
//!
//! - The number is what goes into RAX, or what the call's first argument names as its sub-operation.
//! - Arguments are typed; each has a register of its own, in the order RDI, RSI, RDX, R10, R8. Those of a sub-operation are the ones
//!   behind what chose it. [`In`], [`InOut`] and [`Out`] are addresses of one structure, [`GuestPtr`] of a list.
//! - `since` is the version of the interface that introduced the row, as query 0 of hypercall 56 tells it.
//! - `by any` or `by dom0` says who may call. `any` acts on the caller itself; where an operation names another domain, only the
//!   management domain may (`EPERM`).
//! - `operations event` says that sub-operations are in [`event`], as rows of `for_each_event_operation!`.
//! - The doc text tells errors in the order in which they are looked for. What every call that reads or writes memory may answer is
//!   not repeated: `EFAULT`. What is not in the table is answered with `ENOSYS`.
//!
//! A visitor for names, and one that makes a dispatcher which does not compile when a row has no handler:
//!
//! ```
//! use hypercall_abi::table::prelude::*;
//!
//! macro_rules! names {
//!     ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
//!         since $since:literal by $who:ident $(, operations $module:ident)?;)*) => {
//!         fn name(number: u64) -> Option<&'static str> {
//!             match number {
//!                 $($number => Some(stringify!($name)),)*
//!                 _ => None,
//!             }
//!         }
//!     };
//! }
//! hypercall_abi::for_each_hypercall!(names);
//! assert_eq!(name(13), Some("multicall"));
//! assert_eq!(name(11), None);
//!
//! mod handler {
//!     use hypercall_abi::table::prelude::*;
//!     pub fn write(count: u32, buffer: GuestPtr<u8>) -> u64 { u64::from(count) + buffer.address() }
//!     pub fn read(_count: u32, _buffer: GuestPtr<u8>) -> u64 { 0 }
//! }
//!
//! macro_rules! dispatcher {
//!     ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
//!         since $since:literal by $who:ident;)*) => {
//!         fn dispatch(operation: u32, registers: [u64; 4]) -> Option<u64> {
//!             let mut rest = registers.into_iter();
//!             match operation {
//!                 $($number => Some(handler::$name($(<$type>::from_register(rest.next()?)),*)),)*
//!                 _ => None,
//!             }
//!         }
//!     };
//! }
//! hypercall_abi::for_each_console_operation!(dispatcher);
//! assert_eq!(dispatch(0, [2, 40, 0, 0]), Some(42));
//! ```
//!
//! [`In`]: crate::In
//! [`InOut`]: crate::InOut
//! [`Out`]: crate::Out
//! [`GuestPtr`]: crate::GuestPtr

pub mod assist;
pub mod callback;
pub mod console;
pub mod control;
pub mod event;
pub mod grant;
pub mod memory;
pub mod mmu;
pub mod mmuext;
pub mod nmi;
pub mod physdev;
pub mod prelude;
mod row;
pub mod sched;
pub mod segment;
pub mod vcpu;
pub mod version;

use row::hypercall_rows;
pub use row::{Argument, HypercallRow, OperationRow, Who};

/// Hands the rows of all hypercalls to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_hypercall {
    ($visitor:ident) => {
        $visitor! {
            /// Sets entries of the virtual interrupt descriptor table, up to one whose address is 0. A null pointer clears the table.
            /// Entries before a failing one stay. Errors: `EINVAL` if an address is not canonical, or after 257 entries.
            0 set_trap_table(table: GuestPtr<TrapInfo>) since 1 by any;

            /// Changes page-table entries, or M2P entries, by machine address, in order up to the first error. `done` (may be null)
            /// receives how many were done. `foreign`: bits 15..0 name the owner of the frames mapped, bits 31..16 that of the
            /// tables (0 = the caller, else its number + 1). Errors: `ESRCH` no such domain; `EINVAL` the tables' owner has no
            /// vCPU; then those of the request.
            1 mmu_update(requests: GuestPtr<MmuUpdate>, count: u32, done: GuestPtr<u32>, foreign: u32) since 1 by any, operations mmu;

            /// Replaces the calling vCPU's global descriptor table by a list of frames. Errors: `EINVAL` if `entries` > 7168, or a
            /// frame is not the caller's or cannot become a page of descriptors; the old table is then still in force.
            2 set_gdt(frames: GuestPtr<RawMfn>, entries: u32) since 1 by any;

            /// Sets the kernel's stack for entries from user mode. Returns 0 always.
            3 stack_switch(ss: u64, sp: u64) since 1 by any;

            /// Sets the callbacks for events, failsafe and `syscall`, and clears their flags. A non-canonical address leaves its
            /// callback as it was. Returns 0 always.
            4 set_callbacks(event: u64, failsafe: u64, syscall: u64) since 1 by any;

            /// Sets (nonzero) or clears the virtual CR0.TS. Returns 0 always.
            5 fpu_taskswitch(set: u32) since 1 by any;

            /// Refused: the platform is the hypervisor's. Errors: `EPERM`.
            7 platform_op(argument: u64) since 1 by dom0;

            /// Writes a debug register. Errors: `EPERM` a breakpoint on an address of the hypervisor, or one that is not allowed;
            /// `EINVAL` upper bits set in 6 or 7; `ENODEV` no such register.
            8 set_debugreg(register: u32, value: u64) since 1 by any;

            /// Returns a debug register's value. Errors: `ENODEV` no such register.
            9 get_debugreg(register: u32) since 1 by any;

            /// Stores one descriptor at a machine address. Errors: `EINVAL` if the address is not a multiple of 8, the descriptor is
            /// not allowed (a gate or a system segment), or the frame is not the caller's or is a page table.
            10 update_descriptor(address: u64, descriptor: u64) since 1 by any;

            /// Memory reservations and maps. The low 6 bits of the command are the sub-operation, those above are the extent that a
            /// preempted call goes on with. Errors: `EINVAL` an extent where there is nothing to go on with.
            12 memory_op(command: u32, argument: u64) since 1 by any, operations memory;

            /// Runs a list of hypercalls in order and stores each one's result; their errors do not end the list. Errors in an entry:
            /// `EINVAL` a multicall, or `iret`.
            13 multicall(list: GuestPtr<MulticallEntry>, count: u32) since 1 by any;

            /// Changes the L1 entry that maps an address of the current address space, then flushes as `UVMF_*` say. Errors:
            /// `EINVAL` no L1 table there, or a bad entry; then those of the entry's frame: `EPERM`, `EBUSY`, `EACCES`.
            14 update_va_mapping(va: u64, entry: RawEntry, flags: u64) since 1 by any;

            /// Arms the calling vCPU's one-shot timer for a system time in nanoseconds; 0 stops it. Returns 0 always.
            15 set_timer_op(timeout: i64) since 1 by any;

            /// Version, names and features.
            17 xen_version(command: u32, argument: u64) since 1 by any, operations version;

            /// The console. The first domain's text goes to the machine's console as it is, that of others line by line with their
            /// number, escaped and rate-limited.
            18 console_io(command: u32, count: u32, buffer: GuestPtr<u8>) since 1 by any, operations console;

            /// Memory lent to other domains. Elements of a list are done in order, each with a status of its own. Errors: `EINVAL`
            /// if `count` >= 2^31; `ENOSYS` no such operation.
            20 grant_table_op(command: u32, list: u64, count: u32) since 1 by any, operations grant;

            /// Switches habits of the hypervisor. Errors: `EINVAL` no such type; `ENOSYS` no such command.
            21 vm_assist(command: u32, kind: u32) since 1 by any, operations assist;

            /// As `update_va_mapping`, with a frame of another domain. Errors: `ESRCH` no such domain (or the caller's own number);
            /// `EPERM` not privileged over it; then as there.
            22 update_va_mapping_otherdomain(va: u64, entry: RawEntry, flags: u64, domid: RawDomId) since 1 by any;

            /// Returns from an exception by the frame on the caller's stack (`IretContext`). Has no result; a frame that cannot be
            /// read, or user mode without a user root, crashes the domain.
            23 iret() since 1 by any;

            /// vCPUs of the caller. Errors: `ENOENT` no such vCPU, before all others.
            24 vcpu_op(command: u32, vcpu: u32, argument: u64) since 1 by any, operations vcpu;

            /// Sets a segment base. Errors: `EINVAL` no such base, or not canonical.
            25 set_segment_base(which: u32, base: u64) since 1 by any, operations segment;

            /// Pins, roots, flushes and the LDT, in order up to the first error. `done` (may be null) receives how many were done.
            /// `foreign` names the owner of the frames. Errors: `ESRCH` no such domain; `EPERM` not privileged over it, or an
            /// operation on oneself with another's frames; then those of the operation.
            26 mmuext_op(requests: GuestPtr<MmuextOp>, count: u32, done: GuestPtr<u32>, foreign: RawDomId) since 1 by any, operations mmuext;

            /// The old way to register the NMI callback.
            28 nmi_op(command: u32, argument: u64) since 1 by any, operations nmi;

            /// Giving up the CPU, waiting, shutting down.
            29 sched_op(command: u32, argument: u64) since 1 by any, operations sched;

            /// Callbacks.
            30 callback_op(command: u32, argument: u64) since 1 by any, operations callback;

            /// Event channels.
            32 event_channel_op(command: u32, argument: u64) since 1 by any, operations event;

            /// I/O privilege and interrupts of devices.
            33 physdev_op(command: u32, argument: u64) since 1 by any, operations physdev;

            /// Refused: the management interface is hypercall 56. Errors: `EACCES` another version of Xen's structure; `EPERM`.
            35 sysctl(argument: u64) since 1 by dom0;

            /// Refused: the management interface is hypercall 56. Errors: `EACCES` another version of Xen's structure; `EPERM`.
            36 domctl(argument: u64) since 1 by dom0;

            /// Refused. Errors: `EPERM`.
            37 kexec_op(operation: u64, argument: u64) since 1 by dom0;

            /// Refused: there are no virtual performance counters. Errors: `EOPNOTSUPP`.
            40 xenpmu_op(operation: u32, argument: u64) since 1 by any;

            /// Refused: machine checks are the hypervisor's. Errors: `EPERM`.
            48 mca(argument: u64) since 1 by dom0;

            /// Paravane's own interface: the query is open to every domain, all else is the management domain's. Errors:
            /// `ENOSYS` no such operation; `EPERM`; `EOPNOTSUPP` a newer version; `EINVAL` version 0, wrong size, flags or reserved
            /// fields not 0.
            56 paravane_op(operation: u32, argument: u64) since 1 by any, operations control;
        }
    };
}

crate::for_each_hypercall!(hypercall_rows);

/// The row of a hypercall, if there is such a call.
#[must_use]
pub fn hypercall(number: u64) -> Option<&'static HypercallRow> {
    HYPERCALLS
        .iter()
        .find(|row| u64::from(row.number) == number)
}

/// All sub-operations with the hypercalls that they belong to, in the order in which query 2 of hypercall 56 numbers them. A call
/// without sub-operations is a row of its own.
pub fn operations() -> impl Iterator<Item = (&'static HypercallRow, Option<&'static OperationRow>)>
{
    HYPERCALLS.iter().flat_map(|call| {
        let alone = call.operations.is_empty().then_some((call, None));
        alone.into_iter().chain(
            call.operations
                .iter()
                .map(move |operation| (call, Some(operation))),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_numbers_are_unique() {
        assert!(HYPERCALLS.is_sorted_by(|a, b| a.number < b.number));
        for call in HYPERCALLS {
            assert!(
                call.operations.is_sorted_by(|a, b| a.number < b.number),
                "{}",
                call.name
            );
        }
    }

    #[test]
    fn numbers_are_those_of_the_headers() {
        for call in HYPERCALLS {
            let named = crate::number::CONSTANTS
                .iter()
                .find(|constant| constant.value == i128::from(call.number));
            assert!(
                named.is_some_and(|constant| constant.name.eq_ignore_ascii_case(call.name)),
                "{}",
                call.name
            );
        }
    }

    #[test]
    fn every_row_is_documented() {
        let text = |doc: &[&str]| !doc.is_empty() && doc.iter().all(|line| line.starts_with(' '));
        assert!(HYPERCALLS.iter().all(|call| text(call.doc)));
        assert!(
            operations()
                .filter_map(|(_, operation)| operation)
                .all(|operation| text(operation.doc))
        );
    }

    #[test]
    fn control_operations_take_the_structure_of_their_number() {
        fn check(operation: u32, name: &str) {
            let control = hypercall(56).map_or(&[][..], |call| call.operations);
            assert_eq!(
                control
                    .iter()
                    .find(|row| row.number == operation)
                    .map(|row| row.name),
                Some(name)
            );
        }
        macro_rules! numbers {
            ($($(#[doc = $doc:literal])* $number:literal $name:ident($argument:ident: InOut<$type:ident>)
                since $since:literal by $who:ident;)*) => {$(
                assert_eq!(<prelude::$type as crate::control::ControlArgument>::OPERATION, $number);
                check($number, stringify!($name));
            )*};
        }
        crate::for_each_control_operation!(numbers);
    }
}
