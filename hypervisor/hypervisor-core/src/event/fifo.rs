//! FIFO events: queues that the hypervisor links and the guest unlinks, in the guest's own memory (pv-abi 8.1.2).
//!
//! Each port has a *word* in the domain's array, each vCPU a *control block* with the heads of its 16 queues. A port that has
//! news and is open is linked behind the last one of its queue. The guest changes the same words at any time, in four
//! ways only if it plays by the rules; a hostile one in any. So a link is never followed: the only word that is reached by a
//! number is that of a queue's last port, which is remembered here, and every change is one atomic operation.
//!
//! All of it is under one lock of the domain, so that a reset cannot take a frame away beneath a sender.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hypercall_abi::event::{
    EVTCHN_FIFO_BUSY, EVTCHN_FIFO_LINK_BITS, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED,
    EVTCHN_FIFO_MAX_QUEUES, EVTCHN_FIFO_NR_CHANNELS, EVTCHN_FIFO_PENDING,
    EVTCHN_FIFO_PRIORITY_DEFAULT, EvtchnFifoControlBlock,
};

use super::error::EventError;
use super::port::Port;
use crate::heap::{self, NoMemory};
use crate::ids::{self, Mfn, VcpuId};
use crate::machine::Machine;

const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;
const BUSY: u32 = 1 << EVTCHN_FIFO_BUSY;
const LINK: u32 = (1 << EVTCHN_FIFO_LINK_BITS) - 1;

const WORD: usize = size_of::<u32>();
const WORDS_PER_PAGE: u16 = 1024;
/// Pages of an array: words for as many ports as a link can name.
const MOST_PAGES: usize = 128;
const _: () = assert!(EVTCHN_FIFO_NR_CHANNELS == 128 << 10, "as many words");
const QUEUES: usize = 16;
const _: () = assert!(EVTCHN_FIFO_MAX_QUEUES == 16, "as many heads");
/// Times that a link is tried again once the guest may no longer open the port.
const MOST_TRIES: u8 = 4;
/// Offset in a control block of the heads; the word of the queues that have news is at 0.
const HEADS: usize = core::mem::offset_of!(EvtchnFifoControlBlock, head);

/// A queue: a vCPU's, of a priority.
type Queue = (VcpuId, u8);

/// What is known of a port beside its word.
#[derive(Clone, Copy, Debug)]
struct PortState {
    priority: u8,
    /// The queue that it was linked on last.
    last: Queue,
    /// It has news, but no word yet.
    remembered: bool,
}

impl PortState {
    const NEW: Self = Self {
        priority: DEFAULT,
        last: (VcpuId::FIRST, DEFAULT),
        remembered: false,
    };
}

const DEFAULT: u8 = EVTCHN_FIFO_PRIORITY_DEFAULT.to_le_bytes()[0];

/// A vCPU's control block, and the last port of each of its queues; 0 for none.
#[derive(Clone, Copy, Debug)]
struct Control {
    frame: Mfn,
    offset: usize,
    tails: [u16; QUEUES],
}

/// The queues of a domain. Their frames are held as writable, one reference for each block and page.
#[derive(Debug)]
pub(super) struct Fifo {
    pages: Vec<Mfn>,
    controls: Vec<Option<Control>>,
    ports: Vec<PortState>,
}

/// What news of a port make necessary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Its vCPU has to be told.
    pub(super) tell: bool,
    /// It was not pending before.
    pub(super) fresh: bool,
}

impl Fifo {
    /// No page and no control block yet, for so many ports and vCPUs.
    pub(super) fn new(ports: usize, vcpus: usize) -> Result<Box<Self>, NoMemory> {
        let pages = heap::list(MOST_PAGES)?;
        let (mut controls, mut states) = (heap::list(vcpus)?, heap::list(ports)?);
        controls.resize(vcpus, None);
        states.resize(ports, PortState::NEW);
        heap::boxed(Self {
            pages,
            controls,
            ports: states,
        })
    }

    /// Whether a vCPU has a control block.
    pub(super) fn has_control(&self, vcpu: VcpuId) -> bool {
        self.control(vcpu).is_some()
    }

    /// A vCPU's control block is here from now on. Its frame's reference is the queues' then.
    pub(super) fn set_control(&mut self, vcpu: VcpuId, frame: Mfn, offset: usize) {
        if let Some(slot) = self.controls.get_mut(usize::from(vcpu.get())) {
            *slot = Some(Control {
                frame,
                offset,
                tails: [0; QUEUES],
            });
        }
    }

    /// Whether there is room for one more page of words.
    pub(super) fn has_room(&self) -> bool {
        self.pages.len() < MOST_PAGES
    }

    /// Adds a page of words, whose reference is the queues' then. The answer: numbers of the ports in it.
    pub(super) fn add_page(&mut self, frame: Mfn) -> core::ops::Range<u32> {
        let first = u32::try_from(self.pages.len())
            .unwrap_or(0)
            .saturating_mul(WORDS_PER_PAGE.into());
        if self.has_room() {
            self.pages.extend([frame]);
        }
        first..first.saturating_add(WORDS_PER_PAGE.into())
    }

    /// All frames that are held.
    pub(super) fn frames(&self) -> impl Iterator<Item = Mfn> {
        let controls = self.controls.iter().flatten().map(|control| control.frame);
        controls.chain(self.pages.iter().copied())
    }

    /// Remembers news of a port that has no word yet.
    pub(super) fn remember(&mut self, port: Port) {
        self.with_state(port, |state| state.remembered = true);
    }

    /// Whether news of a port were remembered; they are not any more.
    pub(super) fn take_remembered(&mut self, port: Port) -> bool {
        let mut was = false;
        self.with_state(port, |state| {
            was = core::mem::take(&mut state.remembered);
        });
        was
    }

    /// Sets the priority of later news of a port.
    pub(super) fn set_priority(&mut self, port: Port, priority: u32) -> Result<(), EventError> {
        let priority = u8::try_from(priority)
            .ok()
            .filter(|&priority| usize::from(priority) < QUEUES)
            .ok_or(EventError::BadPriority)?;
        self.with_state(port, |state| state.priority = priority);
        Ok(())
    }

    /// The port is nobody's any more. Its word stays linked where it is: the guest unlinks it.
    pub(super) fn free<M: Machine>(&mut self, machine: &M, port: Port) {
        if let Some(at) = self.place(port) {
            at.clear(machine, PENDING);
        }
        self.with_state(port, |state| {
            state.priority = DEFAULT;
            state.remembered = false;
        });
    }

    /// Whether a port's word is still in a queue, so that it must not become another's.
    pub(super) fn is_linked<M: Machine>(&self, machine: &M, port: Port) -> bool {
        self.place(port)
            .is_some_and(|at| at.load(machine) & LINKED != 0)
    }

    /// Whether a port has news.
    pub(super) fn is_pending<M: Machine>(&self, machine: &M, port: Port) -> bool {
        self.place(port)
            .is_some_and(|at| at.load(machine) & PENDING != 0)
    }

    /// Opens a port; one with news is linked.
    pub(super) fn unmask<M: Machine>(&mut self, machine: &M, port: Port, vcpu: VcpuId) -> News {
        let Some(at) = self.place(port) else {
            return News::default();
        };
        at.clear(machine, MASKED);
        if at.load(machine) & PENDING == 0 {
            return News::default();
        }
        self.set_pending(machine, port, vcpu)
    }

    /// A port has news for a vCPU.
    pub(super) fn set_pending<M: Machine>(
        &mut self,
        machine: &M,
        port: Port,
        vcpu: VcpuId,
    ) -> News {
        let Some(at) = self.place(port) else {
            self.remember(port);
            return News::default();
        };
        // A guest opens no port before its vCPU has a block: nothing is lost.
        let Some(control) = self.control(vcpu) else {
            return News::default();
        };
        let fresh = at.set(machine, PENDING) & PENDING == 0;
        let open = at.load(machine) & MASKED == 0;
        if !open || at.set(machine, LINKED) & LINKED != 0 {
            return News { tell: false, fresh };
        }
        let Some(queue) = self.enter_queue(port, vcpu) else {
            return News { tell: false, fresh };
        };
        let (_, priority) = queue;
        let linked = self.link_behind(machine, self.tail(queue), port);
        if !linked {
            let head = usize::from(priority).saturating_mul(WORD);
            let head = control.offset.saturating_add(HEADS).saturating_add(head);
            machine.store_u32(control.frame, head, port.get().into());
        }
        self.set_tail(queue, port);
        if linked {
            return News { tell: false, fresh };
        }
        let bit = 1_u64.checked_shl(priority.into()).unwrap_or(0);
        let ready = machine.fetch_or_u64(ids::Place::new(control.frame, control.offset), bit);
        News {
            tell: ready & bit == 0,
            fresh,
        }
    }

    /// Notes the queue that a port is linked on from now on. Where it was the last of its old one, that one is empty: its
    /// number must not be linked behind there once it stands in another queue.
    fn enter_queue(&mut self, port: Port, vcpu: VcpuId) -> Option<Queue> {
        let state = self.ports.get_mut(usize::from(port.get()))?;
        let queue = (vcpu, state.priority);
        let old = core::mem::replace(&mut state.last, queue);
        if let Some(tail) = self.tail_mut(old)
            && *tail == port.get()
        {
            *tail = 0;
        }
        Some(queue)
    }

    /// Links `port` behind a queue's last one. False where that is out of the queue: then the queue is empty.
    fn link_behind<M: Machine>(&self, machine: &M, tail: u16, port: Port) -> bool {
        let Some(at) = Port::new(tail.into()).and_then(|tail| self.place(tail)) else {
            return false;
        };
        if let Some(linked) = at.try_link(machine, port) {
            return linked;
        }
        // The guest may not open a busy port, so it can get in the way a few times more only.
        at.set(machine, BUSY);
        for _ in 0..MOST_TRIES {
            match at.try_link(machine, port) {
                Some(true) => return true,
                Some(false) => {
                    at.clear(machine, BUSY);
                    return false;
                }
                None => {}
            }
        }
        at.clear(machine, BUSY);
        log::debug!("port {} could not be linked: its news are lost", port.get());
        true
    }

    fn control(&self, vcpu: VcpuId) -> Option<Control> {
        self.controls
            .get(usize::from(vcpu.get()))
            .copied()
            .flatten()
    }

    fn tail(&self, (vcpu, priority): Queue) -> u16 {
        let control = self.control(vcpu);
        control
            .and_then(|control| control.tails.get(usize::from(priority)).copied())
            .unwrap_or(0)
    }

    fn tail_mut(&mut self, (vcpu, priority): Queue) -> Option<&mut u16> {
        self.controls
            .get_mut(usize::from(vcpu.get()))?
            .as_mut()?
            .tails
            .get_mut(usize::from(priority))
    }

    fn set_tail(&mut self, queue: Queue, port: Port) {
        if let Some(tail) = self.tail_mut(queue) {
            *tail = port.get();
        }
    }

    fn with_state(&mut self, port: Port, change: impl FnOnce(&mut PortState)) {
        if let Some(state) = self.ports.get_mut(usize::from(port.get())) {
            change(state);
        }
    }

    fn place(&self, port: Port) -> Option<Place> {
        let (page, word) = (port.get() / WORDS_PER_PAGE, port.get() % WORDS_PER_PAGE);
        let frame = self.pages.get(usize::from(page)).copied()?;
        Some(Place {
            frame,
            offset: usize::from(word).saturating_mul(WORD),
        })
    }
}

/// Where a port's word is.
#[derive(Clone, Copy)]
struct Place {
    frame: Mfn,
    offset: usize,
}

impl Place {
    fn load<M: Machine>(self, machine: &M) -> u32 {
        machine.load_u32(self.frame, self.offset)
    }

    /// Sets bits in one step that a guest cannot make fail; gives the word before.
    fn set<M: Machine>(self, machine: &M, bits: u32) -> u32 {
        let (offset, shift) = self.pair();
        let before = machine.fetch_or_u64(
            ids::Place::new(self.frame, offset),
            u64::from(bits) << shift,
        );
        half(before, shift)
    }

    fn clear<M: Machine>(self, machine: &M, bits: u32) {
        let (offset, shift) = self.pair();
        machine.fetch_and_u64(self.frame, offset, !(u64::from(bits) << shift));
    }

    /// Names `next` as what follows. `Some(false)`: the word is out of its queue; `None`: the guest was faster.
    fn try_link<M: Machine>(self, machine: &M, next: Port) -> Option<bool> {
        let old = self.load(machine);
        if old & LINKED == 0 {
            return Some(false);
        }
        let new = old & !(BUSY | LINK) | u32::from(next.get());
        let exchanged = machine.compare_exchange_u32(self.frame, self.offset, old, new);
        exchanged.is_ok().then_some(true)
    }

    /// The 8 bytes that it is half of, and where in them.
    const fn pair(self) -> (usize, u32) {
        if self.offset.is_multiple_of(2 * WORD) {
            (self.offset, 0)
        } else {
            (self.offset.saturating_sub(WORD), u32::BITS)
        }
    }
}

fn half(word: u64, shift: u32) -> u32 {
    let [a, b, c, d, ..] = word.wrapping_shr(shift).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
