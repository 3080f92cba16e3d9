//! Crashes: what ends a domain that has no answer left, and what is kept of it.

use hypercall_abi::GuestPtr;
use thiserror::Error;

use super::life::{LifeRecord, ShutdownReason};
use super::stop;
use crate::caller::Caller;
use crate::ids::VcpuId;
use crate::machine::Machine;
use crate::vcpu::Mode;

/// Why a domain was crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CrashReason {
    /// An exception without a handler.
    #[error("no handler for exception {vector}, error code {error:#x}")]
    NoHandler {
        /// Its vector.
        vector: u8,
        /// Its error code.
        error: u32,
    },
    /// The kernel stack cannot take a bounce frame.
    #[error("the kernel stack takes no exception frame")]
    BadStack,
    /// An event without an event callback.
    #[error("an event came and no event callback is registered")]
    NoEventCallback,
    /// A failed segment load without a failsafe callback, or `iret` to user mode without a user page table.
    #[error("entering user mode without a user page table")]
    NoUserRoot,
    /// The frame of `iret` cannot be read.
    #[error("the frame of iret cannot be read")]
    BadIretFrame,
    /// A page fault says that a reserved bit is set in a page table: one of our own invariants is broken.
    #[error("a reserved bit is set in a page table")]
    ReservedBit,
    /// A page table's counts contradict each other: one of our own invariants is broken.
    #[error("the counts of a page table contradict each other")]
    BrokenInvariant,
    /// Its own kernel says so, by `SCHEDOP_shutdown`.
    #[error("its kernel says that it crashed")]
    Told,
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
    for ([a, b, c, d], [w, x, y, z]) in [
        (["rax", "rbx", "rcx", "rdx"], [r.rax, r.rbx, r.rcx, r.rdx]),
        (["rsi", "rdi", "rbp", "rsp"], [r.rsi, r.rdi, r.rbp, r.rsp]),
        (["r8", "r9", "r10", "r11"], [r.r8, r.r9, r.r10, r.r11]),
        (["r12", "r13", "r14", "r15"], [r.r12, r.r13, r.r14, r.r15]),
    ] {
        log::error!("  {a:3} {w:#018x} {b:3} {x:#018x} {c:3} {y:#018x} {d:3} {z:#018x}");
    }
    if caller.state.mode == Mode::Kernel {
        let mut frame = r.rbp;
        for _ in 0..TRACE {
            let words: Result<[u64; 2], _> = caller.copy_in(GuestPtr::new(frame));
            let Some([next, back]) = words.ok().filter(|&[_, back]| back != 0) else {
                break;
            };
            log::error!("  called from {back:#x}");
            // Frames lie one above the other; a chain that does not is none.
            if next <= frame {
                break;
            }
            frame = next;
        }
    }
}
