//! Rule tested: whatever a kernel asks about its memory, on several vCPUs at once, in any order, sensible or not, every
//! reference that the hypervisor takes for it comes back.
//!
//! Some thousand seeded requests of each vCPU work on one pool of pages: mapped, pinned, used as tables and descriptor
//! tables, with bad flags, foreign frames and forged numbers among them. In the end everything is undone, and each page
//! must be an ordinary page again. The hypervisor recounts all references now and then meanwhile, where it can.
#![no_std]
#![no_main]

extern crate alloc;

mod request;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_kernel::start::Boot;
use guest_kernel::task::{self, Signal, block_on};
use guest_kernel::{println, smp};
use guest_kernels::{audit, check, error, finish};
use request::{PAGES, Pool, Storm};

guest_kernel::entry!(main);

/// vCPUs that take part, if there are so many.
const VCPUS: usize = 3;
/// Requests of each vCPU.
const ROUNDS: u32 = 5_000;
/// After so many the vCPU's other tasks run.
const BETWEEN_YIELDS: u32 = 64;
/// After so many vCPU 0 has everything recounted, beside what the others do.
const BETWEEN_RECOUNTS: u32 = 2500;
/// The seed of vCPU 0; the others follow.
const SEED: u64 = 0x5eed_0000_0000_0001;

static TAKEN: AtomicU32 = AtomicU32::new(0);
static HELD: AtomicU32 = AtomicU32::new(0);

fn main(_: &'static Boot) {
    let Some(pool) = Pool::new() else {
        error(format_args!("no memory"))
    };
    let pool = Arc::new(pool);
    let vcpus = block_on(run_everywhere(&pool));
    let taken = TAKEN.load(Ordering::SeqCst);
    println!(
        "{taken} of {} requests were taken on {vcpus} vCPUs, seed {SEED:#x}",
        vcpus * ROUNDS
    );
    check!(taken > vcpus * ROUNDS / 20, "enough requests were sensible");
    check!(taken < vcpus * ROUNDS, "and some were not");
    check!(
        HELD.load(Ordering::SeqCst) == 0,
        "each vCPU can let go of its tables"
    );
    let restored = pool.restore();
    check!(
        restored == PAGES,
        "{restored} of {PAGES} pages can be mapped writable again"
    );
    if let Some(mut pool) = Arc::into_inner(pool).filter(|_| restored == PAGES) {
        check!(
            pool.keeps_what_is_written(),
            "and keep what is written to them"
        );
    }
    finish()
}

/// Runs a storm on every vCPU at the same time; returns how many there were.
async fn run_everywhere(pool: &Arc<Pool>) -> u32 {
    for vcpu in smp::possible().take(VCPUS).skip(1).collect::<Vec<_>>() {
        check!(smp::up(vcpu).await.is_ok(), "vCPU {} helps", vcpu.number());
    }
    let mut ends = Vec::new();
    for (seed, vcpu) in (SEED..).zip(smp::online()) {
        let end = Arc::new(Signal::new());
        ends.push(Arc::clone(&end));
        let storm = Storm::new(pool, seed);
        task::spawn_on(vcpu, async move {
            weather(storm, seed == SEED).await;
            end.set();
        });
    }
    for end in &ends {
        end.wait().await;
    }
    u32::try_from(ends.len()).unwrap_or(1)
}

async fn weather(mut storm: Storm, recounts: bool) {
    for round in 0..ROUNDS {
        if recounts && round % BETWEEN_RECOUNTS == 0 {
            audit();
        }
        TAKEN.fetch_add(u32::from(storm.round()), Ordering::Relaxed);
        if round % BETWEEN_YIELDS == 0 {
            task::yield_now().await;
        }
    }
    HELD.fetch_add(u32::from(storm.let_go().is_err()), Ordering::SeqCst);
}
