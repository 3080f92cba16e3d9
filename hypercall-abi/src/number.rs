//! Numbers of the hypercalls: what a guest puts into RAX.

constants! {
    /// Sets entries of the virtual interrupt descriptor table.
    SET_TRAP_TABLE: u32 = 0 => "__HYPERVISOR_set_trap_table";
    /// Changes page-table entries by machine address.
    MMU_UPDATE: u32 = 1 => "__HYPERVISOR_mmu_update";
    /// Replaces the global descriptor table.
    SET_GDT: u32 = 2 => "__HYPERVISOR_set_gdt";
    /// Sets the kernel's stack for entries from user mode.
    STACK_SWITCH: u32 = 3 => "__HYPERVISOR_stack_switch";
    /// Sets the three classic callbacks.
    SET_CALLBACKS: u32 = 4 => "__HYPERVISOR_set_callbacks";
    /// Sets or clears the virtual CR0.TS.
    FPU_TASKSWITCH: u32 = 5 => "__HYPERVISOR_fpu_taskswitch";
    /// The old form of `SCHED_OP`.
    SCHED_OP_COMPAT: u32 = 6 => "__HYPERVISOR_sched_op_compat";
    /// The platform's privileged operations.
    PLATFORM_OP: u32 = 7 => "__HYPERVISOR_platform_op";
    /// Writes a debug register.
    SET_DEBUGREG: u32 = 8 => "__HYPERVISOR_set_debugreg";
    /// Reads a debug register.
    GET_DEBUGREG: u32 = 9 => "__HYPERVISOR_get_debugreg";
    /// Changes one descriptor by machine address.
    UPDATE_DESCRIPTOR: u32 = 10 => "__HYPERVISOR_update_descriptor";
    /// Memory reservations and maps.
    MEMORY_OP: u32 = 12 => "__HYPERVISOR_memory_op";
    /// Runs a list of hypercalls.
    MULTICALL: u32 = 13 => "__HYPERVISOR_multicall";
    /// Changes one L1 entry by virtual address.
    UPDATE_VA_MAPPING: u32 = 14 => "__HYPERVISOR_update_va_mapping";
    /// Arms the one-shot timer.
    SET_TIMER_OP: u32 = 15 => "__HYPERVISOR_set_timer_op";
    /// The old form of `EVENT_CHANNEL_OP`.
    EVENT_CHANNEL_OP_COMPAT: u32 = 16 => "__HYPERVISOR_event_channel_op_compat";
    /// Version, features and names.
    XEN_VERSION: u32 = 17 => "__HYPERVISOR_xen_version";
    /// The machine's console.
    CONSOLE_IO: u32 = 18 => "__HYPERVISOR_console_io";
    /// The old form of `PHYSDEV_OP`.
    PHYSDEV_OP_COMPAT: u32 = 19 => "__HYPERVISOR_physdev_op_compat";
    /// Grant tables.
    GRANT_TABLE_OP: u32 = 20 => "__HYPERVISOR_grant_table_op";
    /// Switches assists of the domain on and off.
    VM_ASSIST: u32 = 21 => "__HYPERVISOR_vm_assist";
    /// As `UPDATE_VA_MAPPING`, with a frame of another domain.
    UPDATE_VA_MAPPING_OTHERDOMAIN: u32 = 22 => "__HYPERVISOR_update_va_mapping_otherdomain";
    /// Returns from an exception; the frame is on the stack.
    IRET: u32 = 23 => "__HYPERVISOR_iret";
    /// vCPUs: start, stop, timers, registered areas.
    VCPU_OP: u32 = 24 => "__HYPERVISOR_vcpu_op";
    /// Sets the FS or a GS base.
    SET_SEGMENT_BASE: u32 = 25 => "__HYPERVISOR_set_segment_base";
    /// Pins, roots, flushes, the LDT.
    MMUEXT_OP: u32 = 26 => "__HYPERVISOR_mmuext_op";
    /// Security modules.
    XSM_OP: u32 = 27 => "__HYPERVISOR_xsm_op";
    /// The old form of registering the NMI callback.
    NMI_OP: u32 = 28 => "__HYPERVISOR_nmi_op";
    /// Yield, block, poll, shut down.
    SCHED_OP: u32 = 29 => "__HYPERVISOR_sched_op";
    /// Registers callbacks.
    CALLBACK_OP: u32 = 30 => "__HYPERVISOR_callback_op";
    /// Profiling.
    XENOPROF_OP: u32 = 31 => "__HYPERVISOR_xenoprof_op";
    /// Event channels.
    EVENT_CHANNEL_OP: u32 = 32 => "__HYPERVISOR_event_channel_op";
    /// Interrupts, I/O privilege, PCI.
    PHYSDEV_OP: u32 = 33 => "__HYPERVISOR_physdev_op";
    /// HVM parameters.
    HVM_OP: u32 = 34 => "__HYPERVISOR_hvm_op";
    /// Xen's own host management.
    SYSCTL: u32 = 35 => "__HYPERVISOR_sysctl";
    /// Xen's own domain management.
    DOMCTL: u32 = 36 => "__HYPERVISOR_domctl";
    /// Loading another kernel.
    KEXEC_OP: u32 = 37 => "__HYPERVISOR_kexec_op";
    /// Transcendent memory; gone.
    TMEM_OP: u32 = 38 => "__HYPERVISOR_tmem_op";
    /// Messages between domains.
    ARGO_OP: u32 = 39 => "__HYPERVISOR_argo_op";
    /// Virtual performance counters.
    XENPMU_OP: u32 = 40 => "__HYPERVISOR_xenpmu_op";
    /// Device models.
    DM_OP: u32 = 41 => "__HYPERVISOR_dm_op";
    /// The hypervisor's file system.
    HYPFS_OP: u32 = 42 => "__HYPERVISOR_hypfs_op";
    /// Machine checks.
    MCA: u32 = 48 => "__HYPERVISOR_arch_0";
    /// Paravane's own interface.
    PARAVANE_OP: u32 = 56 => "";
}

/// Numbers from here on have no call; the table's size.
pub const HYPERCALL_COUNT: u32 = 64;
