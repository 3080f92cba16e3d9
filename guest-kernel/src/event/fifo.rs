//! FIFO events, for kernels that want priorities or events in their order: queues instead of bitmaps.
//!
//! Each port has a word in pages that this kernel owns, each vCPU a control block with the heads of its 16 queues. The
//! hypervisor links a port behind the last of its queue; only this side takes one out again.

use alloc::vec::Vec;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

use hypercall_abi::RawPort;
use hypercall_abi::event::{
    EVTCHN_FIFO_LINK_BITS, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED, EVTCHN_FIFO_PENDING,
    EvtchnFifoControlBlock,
};
use spin::Once;

use super::{shared, upcall};
use crate::heap::Page;
use crate::hypercall::{self, Errno};
use crate::paging::{Memory, Mfn, PAGE_SIZE};
use crate::smp::{self, MAX_VCPUS};

const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;
const LINK: u32 = (1 << EVTCHN_FIFO_LINK_BITS) - 1;
const QUEUES: usize = 16;

/// Bytes from one vCPU's control block to the next one's: all of them in a page.
const BLOCK: usize = PAGE_SIZE / MAX_VCPUS;
const _: () = assert!(BLOCK >= size_of::<EvtchnFifoControlBlock>() && BLOCK.is_multiple_of(8));
const WORDS_PER_PAGE: usize = PAGE_SIZE / size_of::<u32>();
/// Pages of words: as many ports as bitmaps have.
const PAGES: usize = shared::WORD_BITS * shared::WORD_BITS / WORDS_PER_PAGE;

struct Queues {
    control: Memory,
    words: Vec<Memory>,
}

static QUEUES_OF_ALL: Once<Queues> = Once::new();

/// Changes this domain to FIFO events. Ports that were open stay open, and what is pending is delivered. Call it before
/// another vCPU is started.
///
/// # Errors
/// `ENOSYS` or `EOPNOTSUPP` where the hypervisor has none; `ENOMEM`; `EINVAL` the second time. Nothing has changed then.
pub fn enable() -> Result<(), Errno> {
    let page = || Page::zeroed().map(Memory::from_page).ok_or(Errno::ENOMEM);
    let control = page()?;
    let words = (0..PAGES).map(|_| page()).collect::<Result<Vec<_>, _>>()?;
    let queues = Queues { control, words };
    for number in 0..PAGES * WORDS_PER_PAGE {
        if let (Ok(port), Some(word)) = (u32::try_from(number), queues.word(number))
            && !super::is_open_in_bitmap(RawPort(port))
        {
            word.store(MASKED, Ordering::SeqCst);
        }
    }
    // An upcall in between would look at one form and miss the other.
    let _masked = upcall::mask();
    let mut first = true;
    for vcpu in smp::possible() {
        let offset = u32::try_from(vcpu.index() * BLOCK).map_err(|_| Errno::EINVAL)?;
        let frame = frame_of(&queues.control)?;
        match hypercall::event::init_control(vcpu.number(), frame.0, offset) {
            Ok(()) => first = false,
            Err(error) if first => return Err(error),
            // The domain has changed: a vCPU without a block would be deaf.
            Err(error) => panic!("no control block for vCPU {}: {error:?}", vcpu.number()),
        }
    }
    let queues = QUEUES_OF_ALL.call_once(|| queues);
    for page in &queues.words {
        hypercall::event::expand_array(frame_of(page)?.0)?;
    }
    Ok(())
}

/// The word of a port, if this domain has FIFO events.
pub(super) fn word(port: RawPort) -> Option<&'static AtomicU32> {
    QUEUES_OF_ALL.get()?.word(usize::try_from(port.0).ok()?)
}

/// Masks a port; says whether it was open.
pub(super) fn mask(word: &AtomicU32) -> bool {
    word.fetch_or(MASKED, Ordering::SeqCst) & MASKED == 0
}

/// Forgets that a port is pending.
pub(super) fn clear(word: &AtomicU32) {
    word.fetch_and(!PENDING, Ordering::SeqCst);
}

/// Makes a port pending; opening it links it.
pub(super) fn set_pending(word: &AtomicU32) {
    word.fetch_or(PENDING, Ordering::SeqCst);
}

/// Runs `handle` for all ports of this vCPU that are pending and open, by priority. False without FIFO events.
pub(super) fn drain(mut handle: impl FnMut(usize)) -> bool {
    let Some(queues) = QUEUES_OF_ALL.get() else {
        return false;
    };
    let block = smp::current().index() * BLOCK;
    let ready = queues
        .control
        .u32(block + offset_of!(EvtchnFifoControlBlock, ready));
    let heads = block + offset_of!(EvtchnFifoControlBlock, head);
    let info = shared::vcpu_info();
    // The port that each queue goes on with; 0: the one that its head names.
    let mut next = [0; QUEUES];
    while info.upcall_pending.swap(0, Ordering::SeqCst) != 0 {
        let mut todo = ready.swap(0, Ordering::SeqCst);
        while todo != 0 {
            let queue = todo.trailing_zeros() as usize & (QUEUES - 1);
            let mut port = next[queue];
            if port == 0 {
                let head = queues.control.u32(heads + queue * size_of::<u32>());
                port = head.load(Ordering::SeqCst);
            }
            let (link, deliver) = queues.take(port);
            next[queue] = link;
            if link == 0 {
                todo &= !(1 << queue);
            }
            if deliver && let Ok(port) = usize::try_from(port) {
                handle(port);
            }
            todo |= ready.swap(0, Ordering::SeqCst);
        }
    }
    true
}

impl Queues {
    fn word(&self, port: usize) -> Option<&AtomicU32> {
        let page = self.words.get(port / WORDS_PER_PAGE)?;
        Some(page.u32(port % WORDS_PER_PAGE * size_of::<u32>()))
    }

    /// Takes a port out of its queue: which one follows, and whether it is to be handled.
    fn take(&self, port: u32) -> (u32, bool) {
        let Some(word) = usize::try_from(port).ok().and_then(|port| self.word(port)) else {
            return (0, false);
        };
        let before = word.fetch_and(!(LINKED | LINK), Ordering::SeqCst);
        let deliver = before & PENDING != 0 && before & MASKED == 0;
        if deliver {
            clear(word);
        }
        (before & LINK, deliver)
    }
}

fn frame_of(memory: &Memory) -> Result<Mfn, Errno> {
    memory.frame().ok_or(Errno::EINVAL)
}
