//! Load on purpose, with the heartbeat on: computing on every vCPU, or filling the memory.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_kernel::timer::{self, MILLISECOND, SECOND};
use guest_kernel::{balloon, heap, println, smp, task};

use crate::heartbeat::Hold;

/// How long a computing task keeps its vCPU before others may run.
const SLICE: u64 = MILLISECOND;
/// Bytes that `stress mem` leaves free.
const LEFT_FREE: usize = 3 << 20;
/// Bytes of a block that it takes.
const BLOCK: usize = 64 * 1024;

static RUNNING: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// Ends what runs.
pub(crate) fn stop() {
    if RUNNING.load(Ordering::SeqCst) == 0 {
        println!("stress: none runs");
    } else {
        STOP.store(true, Ordering::SeqCst);
    }
}

fn ends(deadline: u64) -> bool {
    STOP.load(Ordering::SeqCst) || timer::now() >= deadline
}

/// Claims the right to stress; refused while one runs.
fn begin(tasks: u32) -> bool {
    if RUNNING
        .compare_exchange(0, tasks, Ordering::SeqCst, Ordering::SeqCst)
        .is_err()
    {
        println!("stress: one runs already");
        return false;
    }
    STOP.store(false, Ordering::SeqCst);
    ROUNDS.store(0, Ordering::SeqCst);
    true
}

/// Computes on every online vCPU.
pub(crate) fn compute(length: u64) {
    let deadline = timer::now() + length;
    let vcpus: Vec<_> = smp::online().collect();
    if !begin(u32::try_from(vcpus.len()).unwrap_or(1)) {
        return;
    }
    println!("stress cpu: {} s on {} vcpus", length / SECOND, vcpus.len());
    for vcpu in vcpus {
        task::spawn_on(vcpu, async move {
            let hold = Hold::new();
            while !ends(deadline) {
                let slice = timer::now() + SLICE;
                while timer::now() < slice {
                    ROUNDS.fetch_add(
                        mix(ROUNDS.load(Ordering::Relaxed)) & 1 | 1,
                        Ordering::Relaxed,
                    );
                }
                task::yield_now().await;
            }
            drop(hold);
            if RUNNING.fetch_sub(1, Ordering::SeqCst) == 1 {
                println!("stress cpu: done");
            }
        });
    }
}

/// Something to compute.
fn mix(mut value: u64) -> u64 {
    for _ in 0..1000 {
        value = value
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
            .rotate_left(17);
    }
    core::hint::black_box(value)
}

/// Takes nearly all free memory, writes it, reads it back, and gives it back in the end.
pub(crate) fn fill_memory(length: u64) {
    let deadline = timer::now() + length;
    if !begin(1) {
        return;
    }
    println!("stress mem: {} s", length / SECOND);
    task::spawn(async move {
        let hold = Hold::new();
        let mut blocks: Vec<Vec<u64>> = Vec::new();
        while !ends(deadline) && heap::free_bytes() > LEFT_FREE {
            let mut block = Vec::new();
            if blocks.try_reserve(1).is_err() || block.try_reserve_exact(BLOCK / 8).is_err() {
                break;
            }
            let seed = blocks.len() as u64;
            block.extend((0..BLOCK as u64 / 8).map(|index| seed << 32 | index));
            blocks.push(block);
            task::yield_now().await;
        }
        println!("stress mem: {} KiB taken", blocks.len() * BLOCK / 1024);
        let mut wrong = 0_usize;
        while !ends(deadline) {
            for (seed, block) in blocks.iter().enumerate() {
                wrong += block
                    .iter()
                    .enumerate()
                    .filter(|&(index, &word)| word != (seed as u64) << 32 | index as u64)
                    .count();
                task::yield_now().await;
            }
            timer::sleep(MILLISECOND).await;
        }
        drop(blocks);
        balloon::memory_freed();
        drop(hold);
        RUNNING.store(0, Ordering::SeqCst);
        println!("stress mem: done, {wrong} words wrong");
    });
}
