//! `event_channel_op`: ports, their bindings, and virtual interrupts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ids::{RawDomId, RawMfn, RawPort};

/// Argument of `EVTCHNOP_alloc_unbound`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnAllocUnbound {
    /// Whose port.
    pub dom: RawDomId,
    /// Who may bind to it.
    pub remote_dom: RawDomId,
    /// Out: the port.
    pub port: RawPort,
}
layout!(EvtchnAllocUnbound = "struct evtchn_alloc_unbound": 8 { dom @ 0, remote_dom @ 2, port @ 4 });

/// Argument of `EVTCHNOP_bind_interdomain`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnBindInterdomain {
    /// The other end's domain.
    pub remote_dom: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// The other end.
    pub remote_port: RawPort,
    /// Out: the caller's end.
    pub local_port: RawPort,
}
layout!(EvtchnBindInterdomain = "struct evtchn_bind_interdomain": 12 { remote_dom @ 0, remote_port @ 4, local_port @ 8 });

/// Argument of `EVTCHNOP_bind_virq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnBindVirq {
    /// `VIRQ_*`.
    pub virq: u32,
    /// vCPU to notify; 0 for a global one.
    pub vcpu: u32,
    /// Out: the port.
    pub port: RawPort,
}
layout!(EvtchnBindVirq = "struct evtchn_bind_virq": 12 { virq @ 0, vcpu @ 4, port @ 8 });

/// Argument of `EVTCHNOP_bind_pirq`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnBindPirq {
    /// The interrupt.
    pub pirq: u32,
    /// `BIND_PIRQ_WILL_SHARE` or 0.
    pub flags: u32,
    /// Out: the port.
    pub port: RawPort,
}
layout!(EvtchnBindPirq = "struct evtchn_bind_pirq": 12 { pirq @ 0, flags @ 4, port @ 8 });

/// Argument of `EVTCHNOP_bind_ipi`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnBindIpi {
    /// vCPU to notify.
    pub vcpu: u32,
    /// Out: the port.
    pub port: RawPort,
}
layout!(EvtchnBindIpi = "struct evtchn_bind_ipi": 8 { vcpu @ 0, port @ 4 });

/// Argument of `EVTCHNOP_close`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnClose {
    /// The port.
    pub port: RawPort,
}
layout!(EvtchnClose = "struct evtchn_close": 4 { port @ 0 });

/// Argument of `EVTCHNOP_send`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnSend {
    /// The caller's port.
    pub port: RawPort,
}
layout!(EvtchnSend = "struct evtchn_send": 4 { port @ 0 });

/// Argument of `EVTCHNOP_status`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnStatus {
    /// Whose port.
    pub dom: RawDomId,
    /// Ignored.
    pub pad0: u16,
    /// The port.
    pub port: RawPort,
    /// Out: `EVTCHNSTAT_*`.
    pub status: u32,
    /// Out: vCPU that is notified.
    pub vcpu: u32,
    /// Out: unbound and interdomain: the other domain (low 16 bits); pirq and virq: its number.
    pub detail: u32,
    /// Out: interdomain: the other port.
    pub remote_port: RawPort,
}
layout!(EvtchnStatus = "struct evtchn_status": 24 {
    dom @ 0, port @ 4, status @ 8, vcpu @ 12, detail = "u.virq" @ 16, remote_port = "u.interdomain.port" @ 20,
});

/// Argument of `EVTCHNOP_bind_vcpu`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnBindVcpu {
    /// The port.
    pub port: RawPort,
    /// vCPU to notify from now on.
    pub vcpu: u32,
}
layout!(EvtchnBindVcpu = "struct evtchn_bind_vcpu": 8 { port @ 0, vcpu @ 4 });

/// Argument of `EVTCHNOP_unmask`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnUnmask {
    /// The port.
    pub port: RawPort,
}
layout!(EvtchnUnmask = "struct evtchn_unmask": 4 { port @ 0 });

/// Argument of `EVTCHNOP_reset`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnReset {
    /// Whose ports.
    pub dom: RawDomId,
}
layout!(EvtchnReset = "struct evtchn_reset": 2 { dom @ 0 });

/// Argument of `EVTCHNOP_init_control`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnInitControl {
    /// Frame of the control block.
    pub control_gfn: RawMfn,
    /// Where in the frame.
    pub offset: u32,
    /// Whose block.
    pub vcpu: u32,
    /// Out: bits of a link.
    pub link_bits: u8,
    /// Ignored.
    pub pad0: [u8; 7],
}
layout!(EvtchnInitControl = "struct evtchn_init_control": 24 { control_gfn @ 0, offset @ 8, vcpu @ 12, link_bits @ 16 });

/// Argument of `EVTCHNOP_expand_array`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnExpandArray {
    /// Frame of event words to add.
    pub array_gfn: RawMfn,
}
layout!(EvtchnExpandArray = "struct evtchn_expand_array": 8 { array_gfn @ 0 });

/// Argument of `EVTCHNOP_set_priority`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnSetPriority {
    /// The port.
    pub port: RawPort,
    /// 0 (first) to 15.
    pub priority: u32,
}
layout!(EvtchnSetPriority = "struct evtchn_set_priority": 8 { port @ 0, priority @ 4 });

/// Control block of a vCPU's FIFO queues, in the guest's memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EvtchnFifoControlBlock {
    /// Bit n: queue n has news.
    pub ready: u32,
    /// Not used.
    pub reserved: u32,
    /// The first port of each queue, by priority.
    pub head: [u32; 16],
}
layout!(EvtchnFifoControlBlock = "struct evtchn_fifo_control_block": 72 { ready @ 0, reserved = "_rsvd" @ 4, head @ 8 });

constants! {
    /// Connects to an unbound port of another domain.
    EVTCHNOP_BIND_INTERDOMAIN: u32 = 0 => "EVTCHNOP_bind_interdomain";
    /// Binds a virtual interrupt.
    EVTCHNOP_BIND_VIRQ: u32 = 1 => "EVTCHNOP_bind_virq";
    /// Binds a physical interrupt.
    EVTCHNOP_BIND_PIRQ: u32 = 2 => "EVTCHNOP_bind_pirq";
    /// Closes a port.
    EVTCHNOP_CLOSE: u32 = 3 => "EVTCHNOP_close";
    /// Notifies the other end.
    EVTCHNOP_SEND: u32 = 4 => "EVTCHNOP_send";
    /// Tells what a port is.
    EVTCHNOP_STATUS: u32 = 5 => "EVTCHNOP_status";
    /// Makes a port that another domain can bind to.
    EVTCHNOP_ALLOC_UNBOUND: u32 = 6 => "EVTCHNOP_alloc_unbound";
    /// Makes a port between vCPUs.
    EVTCHNOP_BIND_IPI: u32 = 7 => "EVTCHNOP_bind_ipi";
    /// Chooses the vCPU that is notified.
    EVTCHNOP_BIND_VCPU: u32 = 8 => "EVTCHNOP_bind_vcpu";
    /// Unmasks a port and delivers what is pending.
    EVTCHNOP_UNMASK: u32 = 9 => "EVTCHNOP_unmask";
    /// Closes all ports.
    EVTCHNOP_RESET: u32 = 10 => "EVTCHNOP_reset";
    /// FIFO events: registers a control block.
    EVTCHNOP_INIT_CONTROL: u32 = 11 => "EVTCHNOP_init_control";
    /// FIFO events: adds a page of words.
    EVTCHNOP_EXPAND_ARRAY: u32 = 12 => "EVTCHNOP_expand_array";
    /// FIFO events: sets a priority.
    EVTCHNOP_SET_PRIORITY: u32 = 13 => "EVTCHNOP_set_priority";

    /// Port is free.
    EVTCHNSTAT_CLOSED: u32 = 0 => "EVTCHNSTAT_closed";
    /// Port waits for its other end.
    EVTCHNSTAT_UNBOUND: u32 = 1 => "EVTCHNSTAT_unbound";
    /// Port has its other end.
    EVTCHNSTAT_INTERDOMAIN: u32 = 2 => "EVTCHNSTAT_interdomain";
    /// Port is a physical interrupt.
    EVTCHNSTAT_PIRQ: u32 = 3 => "EVTCHNSTAT_pirq";
    /// Port is a virtual interrupt.
    EVTCHNSTAT_VIRQ: u32 = 4 => "EVTCHNSTAT_virq";
    /// Port is between vCPUs.
    EVTCHNSTAT_IPI: u32 = 5 => "EVTCHNSTAT_ipi";
    /// In `EvtchnBindPirq::flags`.
    BIND_PIRQ_WILL_SHARE: u32 = 1 => "BIND_PIRQ__WILL_SHARE";
    /// Ports of a domain, port 0 included, with two-level events.
    EVTCHN_2L_NR_CHANNELS: u32 = 4096;
    /// Ports that words of FIFO events can name.
    EVTCHN_FIFO_NR_CHANNELS: u32 = 1 << 17;
    /// Priority of a port's queue: the first.
    EVTCHN_FIFO_PRIORITY_MAX: u32 = 0;
    /// The one that ports have until they get another.
    EVTCHN_FIFO_PRIORITY_DEFAULT: u32 = 7;
    /// The last.
    EVTCHN_FIFO_PRIORITY_MIN: u32 = 15;
    /// Queues of a vCPU.
    EVTCHN_FIFO_MAX_QUEUES: u32 = 16;
    /// Bit of an event word: the port has news.
    EVTCHN_FIFO_PENDING: u32 = 31;
    /// The guest does not want to be told.
    EVTCHN_FIFO_MASKED: u32 = 30;
    /// It is in a queue.
    EVTCHN_FIFO_LINKED: u32 = 29;
    /// The hypervisor changes its link.
    EVTCHN_FIFO_BUSY: u32 = 28;
    /// Bits of the link, from bit 0 on.
    EVTCHN_FIFO_LINK_BITS: u32 = 17;

    /// Timers of a vCPU; per vCPU.
    VIRQ_TIMER: u32 = 0;
    /// Request to dump state; per vCPU.
    VIRQ_DEBUG: u32 = 1;
    /// Bytes on the machine's console.
    VIRQ_CONSOLE: u32 = 2;
    /// A domain shut down, crashed, or finished dying.
    VIRQ_DOM_EXC: u32 = 3;
    /// Trace buffers.
    VIRQ_TBUF: u32 = 4;
    /// A domain waits for a debugger.
    VIRQ_DEBUGGER: u32 = 6;
    /// Profiling; per vCPU.
    VIRQ_XENOPROF: u32 = 7;
    /// New text in the hypervisor's log.
    VIRQ_CON_RING: u32 = 8;
    /// A CPU came or went.
    VIRQ_PCPU_STATE: u32 = 9;
    /// Memory events.
    VIRQ_MEM_EVENT: u32 = 10;
    /// Messages between domains.
    VIRQ_ARGO: u32 = 11;
    /// Memory runs low.
    VIRQ_ENOMEM: u32 = 12;
    /// Performance counters; per vCPU.
    VIRQ_XENPMU: u32 = 13;
    /// Machine checks; those after it, up to 23, are unassigned.
    VIRQ_ARCH_0: u32 = 16;
    /// Virtual interrupts are below this.
    NR_VIRQS: u32 = 24;
}

/// Whether a virtual interrupt is each vCPU's own; all others are the domain's, bound on vCPU 0.
#[must_use]
pub const fn virq_is_per_vcpu(virq: u32) -> bool {
    matches!(virq, VIRQ_TIMER | VIRQ_DEBUG | VIRQ_XENOPROF | VIRQ_XENPMU)
}
