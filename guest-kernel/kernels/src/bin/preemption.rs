//! Rule tested: a long call lets events in half-way and goes on where it stopped, as if nothing had been.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use guest_kernel::event::Port;
use guest_kernel::heap::Page;
use guest_kernel::hypercall::{Errno, hypercall, mmu};
use guest_kernel::paging::{Mfn, frame_at};
use guest_kernel::smp::{self, VcpuId};
use guest_kernel::start::Boot;
use guest_kernel::task::{self, block_on};
use guest_kernel::timer::{SECOND, now};
use guest_kernels::{check, error, finish, skip};
use hypercall_abi::mmu::{
    EntryFlags, MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp, RawEntry, UVMF_ALL,
    UVMF_INVLPG,
};
use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::number as call;

guest_kernel::entry!(main);

/// Where the last result of the call under way will be; 0 outside of one.
static LAST_RESULT: AtomicUsize = AtomicUsize::new(0);
/// Upcalls in the middle of a call.
static IN_BETWEEN: AtomicU32 = AtomicU32::new(0);
/// The other vCPU sends no more.
static STOP: AtomicBool = AtomicBool::new(false);

/// How long a call is repeated until an event falls into it.
const PATIENCE: u64 = 20 * SECOND;

fn main(_: &'static Boot) {
    let Some(other) = smp::possible().nth(1) else {
        skip(format_args!("the domain has one vCPU"))
    };
    block_on(async {
        check!(smp::up(other).await.is_ok(), "another vCPU starts");
    });
    let Ok(port) = Port::bind_ipi(VcpuId::BOOT).map(Arc::new) else {
        error(format_args!("no port"))
    };
    let opened = port.set_handler(|| {
        let last = LAST_RESULT.load(Ordering::SeqCst);
        if last != 0 {
            let last = core::ptr::with_exposed_provenance::<u64>(last);
            // SAFETY: it is the word of a list that lives as long as its address is noted.
            let unfinished = unsafe { last.read_volatile() } == UNTOUCHED;
            IN_BETWEEN.fetch_add(u32::from(unfinished), Ordering::SeqCst);
        }
    });
    let sender = Arc::clone(&port);
    task::spawn_on(other, async move {
        while !STOP.load(Ordering::SeqCst) {
            sender.notify();
            task::yield_now().await;
        }
    });
    check!(opened.is_ok(), "it sends events all the time");
    multicalls();
    updates();
    STOP.store(true, Ordering::SeqCst);
    finish()
}

/// A result that no call gives; as an entry of a table it maps nothing.
const UNTOUCHED: u64 = 0x7777_7777_7777_7776;

fn issue(number: u32, arguments: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: the lists are this test's own, and their calls change nothing but its own table.
    unsafe { hypercall(u64::from(number), arguments) }
}

/// Repeats `round`, which gives the number of results that are wrong, until an event fell in between.
fn repeat(what: &str, last: *const u64, mut round: impl FnMut() -> usize) {
    let (before, start) = (IN_BETWEEN.load(Ordering::SeqCst), now());
    let (mut rounds, mut wrong) = (0, 0);
    while IN_BETWEEN.load(Ordering::SeqCst) - before < 10 && now() - start < PATIENCE {
        LAST_RESULT.store(last.expose_provenance(), Ordering::SeqCst);
        wrong += round();
        LAST_RESULT.store(0, Ordering::SeqCst);
        rounds += 1;
    }
    let between = IN_BETWEEN.load(Ordering::SeqCst) - before;
    check!(
        wrong == 0,
        "{what}: all results are right in {rounds} calls"
    );
    check!(between > 0, "{what}: {between} events fell into a call");
}

fn multicalls() {
    let entry = MulticallEntry {
        op: u64::from(call::XEN_VERSION),
        result: UNTOUCHED,
        args: [0; 6],
    };
    let mut list: Vec<MulticallEntry> = (0..10_000).map(|_| entry).collect();
    let address = list.as_mut_ptr().addr() as u64;
    let length = list.len();
    let last = core::ptr::from_ref(&list[length - 1].result).cast::<u64>();
    repeat("a list of calls", last, || {
        list.fill(entry);
        let done = issue(call::MULTICALL, [address, length as u64, 0, 0, 0]);
        let right = |entry: &&MulticallEntry| entry.result >> 16 == 4;
        usize::from(done != Ok(0)) + length - list.iter().filter(right).count()
    });
}

fn updates() {
    let (Some(page), Some(data)) = (Page::zeroed(), Page::zeroed()) else {
        error(format_args!("no memory"))
    };
    let (Some(table), Some(target)) = (frame_at(page.address()), frame_at(data.address())) else {
        error(format_args!("no frames"))
    };
    let flags = EntryFlags::PRESENT.bits();
    check!(
        remap(&page, table, flags).is_ok() && extended(MMUEXT_PIN_L1_TABLE, table).is_ok(),
        "a table of this test"
    );
    // All but the last store nothing, so the last one's slot tells whether the batch has ended.
    let mut list: Vec<MmuUpdate> = (0..20_000_u64)
        .map(|index| MmuUpdate {
            ptr: (table.0 << 12) | (index % 511 * 8),
            val: target.0 << 12 | flags,
        })
        .collect();
    let (length, mut done) = (list.len(), 0_u32);
    list[length - 1].ptr = (table.0 << 12) | (511 * 8);
    let slot = core::ptr::with_exposed_provenance::<u64>(page.address() + 511 * 8);
    repeat("a batch of updates", slot, || {
        let marked = store(table, 511, UNTOUCHED);
        done = 0;
        let count = core::ptr::from_mut(&mut done).addr() as u64;
        let at = list.as_ptr().addr() as u64;
        let result = issue(call::MMU_UPDATE, [at, length as u64, count, 0x7ff0, 0]);
        usize::from(marked.is_err() || result != Ok(0)) + length - done as usize
    });
    check!(
        extended(MMUEXT_UNPIN_TABLE, table).is_ok()
            && remap(&page, table, flags | EntryFlags::WRITABLE.bits()).is_ok(),
        "the table is an ordinary page again"
    );
}

/// Changes how this test's own page is mapped.
fn remap(page: &Page, frame: Mfn, flags: u64) -> Result<(), Errno> {
    let entry = RawEntry(frame.0 << 12 | flags);
    // SAFETY: the page is this test's, which only reads it while it is not writable.
    unsafe { mmu::update_va_mapping(page.address(), entry, UVMF_INVLPG | UVMF_ALL) }
}

fn extended(cmd: u32, frame: Mfn) -> Result<(), Errno> {
    // SAFETY: the frame is this test's own.
    unsafe {
        mmu::mmuext_op(&[MmuextOp {
            cmd,
            arg1: frame.0,
            ..MmuextOp::default()
        }])
    }
}

fn store(table: Mfn, slot: u64, val: u64) -> Result<(), Errno> {
    // SAFETY: the table is this test's own, and part of no address space.
    unsafe {
        mmu::mmu_update(&[MmuUpdate {
            ptr: (table.0 << 12) | (8 * slot),
            val,
        }])
    }
}
