//! The peer: it lends its page to the domain that comes so many numbers after it, and does what that one asks for, for ever.

use guest_conformance::fixture::{Frame, change, own_number, read};
use guest_conformance::instruction::carry;
use guest_conformance::shared::Shared;
use guest_conformance::{SELF, address_of, call_marked, instruction, prepare};
use guest_kernel::event::upcall;
use guest_kernel::timer::now;
use hypercall_abi::number::{EVENT_CHANNEL_OP, SCHED_OP};

use crate::ports::{ALLOC_UNBOUND, RESET, SEND};
use crate::queues::{EXPAND_ARRAY, INIT_CONTROL};
use crate::{own_table, wire};

/// `SCHEDOP_poll`.
const POLL: u64 = 3;

/// The bit of an event word that says that the event is pending.
const WORD_PENDING: u64 = 1 << 31;

instruction! {
    load: "mov rax, [rcx]";
    store: "mov [rcx], rax";
}

/// What a peer works with.
struct Server {
    asker: u64,
    page: Frame,
    shared: Shared,
    /// Where event words are, once they are in use.
    words: u64,
}

/// Serves the domain whose number is so much greater.
pub(crate) fn serve(distance: u64) -> ! {
    core::mem::forget(upcall::mask());
    let table = own_table();
    let mut server = Server {
        asker: own_number() + distance,
        page: Frame::take(),
        shared: Shared::map(),
        words: 0,
    };
    let page = server.page;
    server.shared.mask_all();
    server.offer();
    page.set_word(wire::PAGE, page.address);
    page.set_word(wire::SHARED, server.shared.address());
    page.set_word(wire::TABLE, table.address);
    page.set_word(wire::READY, wire::MAGIC);
    table.set_word(wire::REFERENCE, page.mfn << 32 | server.asker << 16 | 1);
    loop {
        server.wait(0);
        let request = page.word(wire::REQUEST);
        if request != page.word(wire::ANSWERED) {
            server.answer(request);
        }
    }
}

impl Server {
    /// A port for the asker.
    fn offer(&self) {
        let place = [SELF | self.asker << 16];
        let offered = prepare(EVENT_CHANNEL_OP, &[ALLOC_UNBOUND, address_of(&place)]);
        assert!(offered == 0, "no port left");
        self.page
            .set_word(wire::PORT, read(address_of(&place)) >> 32);
    }

    /// Waits for the asker, up to a time if it is not 0.
    fn wait(&self, deadline: u64) {
        let port = self.page.word(wire::PORT);
        let ports = [u32::try_from(port).unwrap_or(0)];
        let place = [address_of(&ports), 1, deadline];
        prepare(SCHED_OP, &[POLL, address_of(&place)]);
        if self.words == 0 {
            self.shared.clear(port);
        } else {
            let shift = 32 * (port % 2);
            change(self.words + 8 * (port / 2), !(WORD_PENDING << shift), 0);
        }
    }

    fn answer(&mut self, request: u64) {
        let delay = self.page.word(wire::DELAY);
        if delay != 0 {
            self.reply(request, (0, 0));
            let until = now() + delay;
            while now() < until {
                self.wait(until);
            }
        }
        let value = |index: u64| self.page.word(wire::VALUES + index);
        let faulting = |code, word| match carry(code, word, value(0)) {
            Ok(word) => (word, 0),
            Err(fault) => (fault.error_code, fault.vector),
        };
        let answer = match self.page.word(wire::COMMAND) {
            wire::CALL => {
                let arguments = [1, 2, 3, 4, 5].map(value);
                let mark = self.page.word(wire::MARK);
                (word(call_marked(value(0), &arguments, mark)), 0)
            }
            wire::READ => faulting(load, 0),
            wire::WRITE => faulting(store, value(1)),
            wire::CHANGE => (change(value(0), value(1), value(2)), 0),
            wire::TAKE => {
                let frame = Frame::take();
                (frame.address, frame.mfn)
            }
            wire::RESET => {
                let mark = self.page.word(wire::MARK);
                let arguments = [RESET, address_of(&SELF)];
                let result = call_marked(EVENT_CHANNEL_OP.into(), &arguments, mark);
                self.words = 0;
                self.offer();
                (word(result), 0)
            }
            // One after the other without a pause: between them no event arrives.
            wire::QUEUES => {
                for (operation, frame) in [(INIT_CONTROL, value(0)), (EXPAND_ARRAY, value(1))] {
                    let place = [frame, 0];
                    prepare(EVENT_CHANNEL_OP, &[operation, address_of(&place)]);
                }
                self.words = value(2);
                (0, 0)
            }
            _ => (0, 0),
        };
        if delay == 0 {
            self.reply(request, answer);
        }
    }

    /// Tells an answer, and that it is there.
    fn reply(&self, request: u64, (first, second): (u64, u64)) {
        self.page.set_word(wire::FIRST, first);
        self.page.set_word(wire::SECOND, second);
        self.page.set_word(wire::ANSWERED, request);
        let port = self.page.word(wire::PORT);
        prepare(EVENT_CHANNEL_OP, &[SEND, address_of(&port)]);
    }
}

fn word(result: i64) -> u64 {
    u64::from_ne_bytes(result.to_ne_bytes())
}
