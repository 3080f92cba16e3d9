//! The balloon driver: brings the domain's memory to the target that its manager writes.
//!
//! Shrinking gives free pages' frames back, growing asks for frames and adds them to the heap; both in small steps
//! between which other tasks run. Where it cannot go on it says so in the store and on the console, and tries again:
//! when the target changes, when the kernel says that memory became free, and after a while. It may grow past what the
//! domain was started with: the direct map, which is all that knows of pages, is extended as they come.

mod plan;

use alloc::vec::Vec;

use hypercall_abi::RawPfn;

use crate::heap;
use crate::paging::{self, PAGE_SIZE, PagingError};
use crate::start::Boot;
use crate::task::{Either, Signal, either};
use crate::timer::{SECOND, sleep};
use crate::xenstore::{Store, StoreError};
use crate::{println, task};
pub use plan::Report;
use plan::{Mebibytes, Step, next_step};

/// Pages of a step: a fraction of a millisecond of work, which a 10 ms tick does not notice; each step costs a flush on
/// every processor that the domain runs on, so they are not smaller.
const STEP: u64 = 256;
/// Free bytes that the kernel keeps for itself.
const RESERVE: usize = 1 << 20;
/// The first and the longest wait before another try.
const RETRY: core::ops::RangeInclusive<u64> = SECOND..=32 * SECOND;

static MEMORY_FREED: Signal = Signal::new();

/// Tells the driver that memory became free, in case it waits for some.
pub fn memory_freed() {
    MEMORY_FREED.set();
}

/// What the driver knows.
struct Balloon {
    /// Pages that have a frame.
    current: u64,
    /// Pages that have none, and were given back.
    empty: Vec<RawPfn>,
    /// The first page that never had one.
    next_new: u64,
}

impl Balloon {
    fn shrink(&mut self, count: u64) -> Result<(), PagingError> {
        let count = usize::try_from(count).unwrap_or(0);
        if heap::free_bytes() < RESERVE + count * PAGE_SIZE {
            return Err(PagingError::OutOfMemory);
        }
        self.empty
            .try_reserve(count)
            .map_err(|_| PagingError::OutOfMemory)?;
        let released = paging::release(count)?;
        self.current -= released.len() as u64;
        self.empty.extend(released);
        Ok(())
    }

    fn grow(&mut self, count: u64) -> Result<(), PagingError> {
        let count = usize::try_from(count).unwrap_or(0);
        let mut pages = Vec::new();
        pages
            .try_reserve_exact(count)
            .map_err(|_| PagingError::OutOfMemory)?;
        pages.extend(self.empty.iter().rev().take(count));
        let old = pages.len();
        pages.extend((self.next_new..).take(count - old).map(RawPfn));
        let taken = paging::take(&pages)?;
        self.empty.truncate(self.empty.len() - taken.min(old));
        self.next_new += taken.saturating_sub(old) as u64;
        self.current += taken as u64;
        Ok(())
    }

    /// Pages below which the domain cannot go now: those in use, and the reserve.
    fn minimum(&self) -> u64 {
        let free = heap::free_bytes().saturating_sub(RESERVE) / PAGE_SIZE;
        self.current.saturating_sub(free as u64)
    }

    fn report(&self, target: u64, problem: Option<PagingError>) -> Report {
        Report::new(self.current, target, self.minimum(), problem)
    }
}

/// Runs the driver for ever; returns only if the store fails.
///
/// # Errors
/// What the store answers.
pub async fn run(boot: &Boot, store: Store) -> Result<(), StoreError> {
    let mut balloon = Balloon {
        current: boot.pages(),
        empty: Vec::new(),
        next_new: boot.pages(),
    };
    // Before the watch, by which the manager sees that there is a driver: it says what this kernel can do.
    write_report(&store, &balloon.report(balloon.current, None)).await?;
    let mut watch = store.watch("memory/target").await?;
    let mut retry = *RETRY.start();
    let mut problem = None;
    let mut target = balloon.current;
    loop {
        // Without a problem only a new target is worth a look.
        if problem.is_none() {
            watch.next().await?;
            retry = *RETRY.start();
        } else {
            let again = either(MEMORY_FREED.wait(), sleep(retry));
            match either(watch.next(), again).await {
                Either::First(changed) => {
                    changed?;
                    retry = *RETRY.start();
                }
                Either::Second(_) => retry = (retry * 2).min(*RETRY.end()),
            }
        }
        // A target that cannot be read is no target: the last one stays.
        if let Some(wanted) = read_target(&store).await? {
            target = wanted;
        }
        let before = problem.take();
        let start = balloon.current;
        problem = approach(&mut balloon, target).await;
        if start != balloon.current || problem != before {
            let report = balloon.report(target, problem);
            println!(
                "balloon: {} -> {} {report}",
                Mebibytes(start),
                Mebibytes(target)
            );
            write_report(&store, &report).await?;
        }
    }
}

async fn write_report(store: &Store, report: &Report) -> Result<(), StoreError> {
    let text = report.to_json();
    store.write("data/balloon", text.as_bytes()).await
}

/// Goes towards the target, step by step; returns why it stopped short, if it did.
async fn approach(balloon: &mut Balloon, target: u64) -> Option<PagingError> {
    loop {
        let done = match next_step(balloon.current, target, STEP) {
            Step::Reached => return None,
            Step::Shrink(count) => balloon.shrink(count),
            Step::Grow(count) => balloon.grow(count),
        };
        if let Err(problem) = done {
            return Some(problem);
        }
        task::yield_now().await;
    }
}

/// The target in pages; nothing if there is none.
async fn read_target(store: &Store) -> Result<Option<u64>, StoreError> {
    match store.read_text("memory/target").await {
        Ok(text) => Ok(parse_kib(&text)),
        Err(StoreError::NotFound | StoreError::Malformed) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_kib(text: &str) -> Option<u64> {
    text.trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib / (PAGE_SIZE as u64 / 1024))
}
