//! Crashes: what ends a domain that has no answer left, and what is kept of it.

use core::fmt;

use super::life::{LifeRecord, ShutdownReason};
use super::stop;
use crate::caller::Caller;
use crate::ids::VcpuId;
use crate::machine::Machine;
use crate::vcpu::Mode;

/// Why a domain was crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashReason {
    /// An exception without a handler.
    NoHandler {
        /// Its vector.
        vector: u8,
        /// Its error code.
        error: u32,
    },
    /// The kernel stack cannot take a bounce frame.
    BadStack,
    /// An event without an event callback.
    NoEventCallback,
    /// A failed segment load without a failsafe callback, or `iret` to user mode without a user page table.
    NoUserRoot,
    /// The frame of `iret` cannot be read.
    BadIretFrame,
    /// A page fault says that a reserved bit is set in a page table: one of our own invariants is broken.
    ReservedBit,
    /// A page table's counts contradict each other: one of our own invariants is broken.
    BrokenInvariant,
    /// Its own kernel says so, by `SCHEDOP_shutdown`.
    Told,
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler { vector, error } => {
                write!(
                    f,
                    "no handler for exception {vector}, error code {error:#x}"
                )
            }
            Self::BadStack => f.write_str("the kernel stack takes no exception frame"),
            Self::NoEventCallback => {
                f.write_str("an event came and no event callback is registered")
            }
            Self::NoUserRoot => f.write_str("entering user mode without a user page table"),
            Self::BadIretFrame => f.write_str("the frame of iret cannot be read"),
            Self::ReservedBit => f.write_str("a reserved bit is set in a page table"),
            Self::BrokenInvariant => {
                f.write_str("the counts of a page table contradict each other")
            }
            Self::Told => f.write_str("its kernel says that it crashed"),
        }
    }
}

impl CrashReason {
    /// The vector of the exception, or 0x100 and up for the other reasons: what dom0 reads.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::NoHandler { vector, .. } => u32::from(*vector),
            Self::BadStack => 0x100,
            Self::NoEventCallback => 0x101,
            Self::NoUserRoot => 0x102,
            Self::BadIretFrame => 0x103,
            Self::ReservedBit => 0x104,
            Self::BrokenInvariant => 0x105,
            Self::Told => 0x106,
        }
    }
}

/// What is kept of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashInfo {
    /// Why.
    pub reason: CrashReason,
    /// Which vCPU.
    pub vcpu: VcpuId,
    /// Its RIP.
    pub rip: u64,
    /// Its virtual CR2.
    pub cr2: u64,
}

/// Frames of a stack trace at most.
const TRACE: usize = 16;

/// Crashes the caller's domain: log, state, and no vCPU of it runs again.
#[cold]
pub fn crash<M: Machine>(caller: &mut Caller<'_, M>, reason: CrashReason) {
    let info = place(caller, reason);
    stop(caller, |life| life.crash(info));
}

/// The caller's domain shuts down by its own wish. Where that is a crash, its place is kept and logged like that of any other.
pub fn shut_down<M: Machine>(caller: &mut Caller<'_, M>, reason: ShutdownReason) {
    let info = place(caller, CrashReason::Told);
    stop(caller, |life| life.shut_down(reason, Some(info)));
}

fn place<M: Machine>(caller: &Caller<'_, M>, reason: CrashReason) -> CrashInfo {
    CrashInfo {
        reason,
        vcpu: caller.vcpu.id(),
        rip: caller.state.registers.rip,
        cr2: caller.state.control.cr2,
    }
}

fn stop<M: Machine>(caller: &mut Caller<'_, M>, change: impl FnOnce(&mut LifeRecord) -> bool) {
    let domain = caller.domain;
    if let Some(life) = stop::change(domain, &mut caller.held, change) {
        match life.crash {
            Some(info) => report(caller, info.reason),
            None => stop::say(domain, &life),
        }
        stop::halt(
            caller.hv,
            domain,
            life.state,
            &mut caller.effects,
            &mut caller.held,
        );
    }
    caller.effects.reschedule();
}

/// Logs why, the registers, and the return addresses that the chain of frame pointers shows.
fn report<M: Machine>(caller: &Caller<'_, M>, reason: CrashReason) {
    let (id, vcpu, r) = (
        caller.domain.id().get(),
        caller.vcpu.id().get(),
        &caller.state.registers,
    );
    log::error!("d{id}v{vcpu}: crashed: {reason} (rip {:#x})", r.rip);
    log::error!(
        "  {:?} mode, cs {:#x}, ss {:#x}, rflags {:#x}, cr2 {:#x}",
        caller.state.mode,
        r.cs,
        r.ss,
        r.rflags,
        caller.state.control.cr2
    );
    log::error!(
        "  rax {:#018x} rbx {:#018x} rcx {:#018x} rdx {:#018x}",
        r.rax,
        r.rbx,
        r.rcx,
        r.rdx
    );
    log::error!(
        "  rsi {:#018x} rdi {:#018x} rbp {:#018x} rsp {:#018x}",
        r.rsi,
        r.rdi,
        r.rbp,
        r.rsp
    );
    log::error!(
        "  r8  {:#018x} r9  {:#018x} r10 {:#018x} r11 {:#018x}",
        r.r8,
        r.r9,
        r.r10,
        r.r11
    );
    log::error!(
        "  r12 {:#018x} r13 {:#018x} r14 {:#018x} r15 {:#018x}",
        r.r12,
        r.r13,
        r.r14,
        r.r15
    );
    if caller.state.mode == Mode::Kernel {
        let mut frame = r.rbp;
        for _ in 0..TRACE {
            let mut words = [0; 16];
            if caller.copy_in_bytes(frame, &mut words).is_err() {
                break;
            }
            let [next, back] = halves(words);
            if back == 0 {
                break;
            }
            log::error!("  called from {back:#x}");
            // Frames lie one above the other; a chain that does not is none.
            if next <= frame {
                break;
            }
            frame = next;
        }
    }
}

fn halves(words: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = words;
    [
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes(rest),
    ]
}
