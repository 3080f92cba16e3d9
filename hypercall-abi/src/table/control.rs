//! Operations of `paravane_op`, hypercall 56; their structures are in [`control`](crate::control).

use super::row::operation_rows;

/// Hands the rows of the operations of `paravane_op` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_control_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Tells versions, calls and features. Errors: `EINVAL` no such topic; `ENOENT` past the last row.
            0 paravane_query(argument: InOut<Query>) since 1 by any;
            /// Tells what the machine has.
            0x100 host_info(argument: InOut<HostInfo>) since 1 by dom0;
            /// Tells what a CPU does. Errors: `ENOENT` no such CPU.
            0x101 cpu_info(argument: InOut<CpuInfo>) since 1 by dom0;
            /// Reads the hypervisor's log.
            0x102 log_read(argument: InOut<LogRead>) since 1 by dom0;
            /// Sets the clock that domains see as UTC.
            0x104 set_wallclock(argument: InOut<SetWallclock>) since 1 by dom0;
            /// Recounts all references and types beside running domains, a part with each call, and tells the first breach.
            /// Errors: `EBUSY` another vCPU is at it; `EINVAL` no such recount is under way; `ENOMEM`.
            0x105 audit(argument: InOut<Audit>) since 1 by dom0;
            /// Breaks one of the hypervisor's invariants in a domain, or mends it, so that a test sees the recount find it. Errors:
            /// `ENOSYS` in every hypervisor but one built with the feature `breach`; `EINVAL` no such invariant; `ESRCH`; `ENOMEM`.
            0x106 audit_breach(argument: InOut<AuditBreach>) since 1 by dom0;
            /// Tells what is free, and how much of it domains can take yet without being asked about.
            0x107 host_promises(argument: InOut<HostPromises>) since 2 by dom0;
            /// Creates an empty domain, paused once. Errors: `EINVAL` a number that is none, no vCPU or too many, no weight, no
            /// CPU; `EEXIST` the number is in use; `ENOSPC` no number left; `ENOMEM`.
            0x200 domain_create(argument: InOut<DomainCreate>) since 1 by dom0;
            /// Ends a domain; returns when all that it had is free. Errors: `ESRCH`; `EPERM` the caller itself; `EBUSY` others
            /// still map memory of it: it is dying, and the call can be repeated.
            0x201 domain_destroy(argument: InOut<DomainDestroy>) since 1 by dom0;
            /// Tells about the first domain from a number on. Errors: `ESRCH` there is none.
            0x202 domain_info(argument: InOut<DomainInfo>) since 1 by dom0;
            /// Stops a domain's vCPUs; returns when none runs. Errors: `ESRCH`; `EPERM` the caller itself; `EINVAL` dying.
            0x203 domain_pause(argument: InOut<DomainPause>) since 1 by dom0;
            /// Takes back one pause. Errors: `ESRCH`; `EPERM` the caller itself; `EINVAL` not paused, or dying.
            0x204 domain_unpause(argument: InOut<DomainUnpause>) since 1 by dom0;
            /// Sets how many frames a domain may have. Errors: `ESRCH`; `EINVAL` dying.
            0x205 domain_set_max(argument: InOut<DomainSetMax>) since 1 by dom0;
            /// Lets a domain that suspended itself go on where it stood. Errors: `ESRCH`; `EPERM` the caller itself; `EINVAL` not
            /// suspended.
            0x206 domain_resume(argument: InOut<DomainResume>) since 2 by dom0;
            /// Sets up to how many frames a domain may take more now; its maximum stays. Errors: `ESRCH`; `EINVAL` dying.
            0x207 domain_set_limit(argument: InOut<DomainSetLimit>) since 2 by dom0;
            /// Tells how often a domain has asked for each kind of thing. Errors: `ESRCH`.
            0x208 domain_counters(argument: InOut<DomainCounters>) since 2 by dom0;
            /// Fills frames. Errors: `ESRCH`; `EINVAL` too many, `done` beyond them, or not the domain's frame, or one in use
            /// as a table; `EBUSY` the domain is not building.
            0x300 memory_write(argument: InOut<MemoryWrite>) since 1 by dom0;
            /// Copies frames out. Errors: `ESRCH`; `EINVAL` too many, `done` beyond them, or not the domain's frame.
            0x301 memory_read(argument: InOut<MemoryRead>) since 1 by dom0;
            /// Gives a vCPU of a domain that is building its state. Errors: `ESRCH`; `ENOENT`; `EBUSY` not building; then as
            /// `vcpu_op` 0.
            0x400 vcpu_set_context(argument: InOut<VcpuSetContext>) since 1 by dom0;
            /// Tells what a vCPU does. Errors: `ESRCH`; `ENOENT`.
            0x401 vcpu_info(argument: InOut<VcpuRecord>) since 1 by dom0;
            /// Sets weight, cap and affinity. Errors: `ESRCH`; `EINVAL` no weight, or no CPU.
            0x500 sched_set(argument: InOut<SchedSet>) since 1 by dom0;
            /// Tells them. Errors: `ESRCH`.
            0x501 sched_get(argument: InOut<SchedGet>) since 1 by dom0;
            /// Writes an entry of a new domain's grant table. Errors: `ESRCH`; `EBUSY` not building; `EINVAL` not a reserved
            /// entry, or not the domain's frame.
            0x600 grant_seed(argument: InOut<GrantSeed>) since 1 by dom0;
            /// Reads PCI configuration space. Errors: `EINVAL` no such address.
            0x700 pci_read(argument: InOut<PciRead>) since 1 by dom0;
            /// Writes PCI configuration space. Errors: `EINVAL` no such address; `EACCES` a register of the hypervisor's.
            0x701 pci_write(argument: InOut<PciWrite>) since 1 by dom0;
            /// Makes an MSI-X entry an interrupt for `EVTCHNOP_bind_pirq`. Errors: `EINVAL` no such address; `ENODEV` no such
            /// device or entry, or no interrupt left.
            0x702 msix_bind(argument: InOut<MsixBind>) since 1 by dom0;
        }
    };
}

crate::for_each_control_operation!(operation_rows);
