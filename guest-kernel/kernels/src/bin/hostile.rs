//! Rule tested: whatever a guest writes into the pages that it shares with its manager and with the hypervisor, and whatever it
//! asks of the xenstore, nobody but itself is harmed.
//!
//! For an ordinary domain; as a first domain, which shares no rings, there is nothing to try. The number at the end of the command
//! line is the seed. Odd seeds keep the xenstore ring's indices in order and send messages of nonsense through it; even seeds
//! write nonsense into everything at once. In the end the domain powers itself off, if it still can.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use core::sync::atomic::Ordering;

use guest_kernel::grant::{Access, Grant};
use guest_kernel::hypercall::{event, grant, sched};
use guest_kernel::paging::{self, Mapping, Memory};
use guest_kernel::ring::{STORE_REPLIES, STORE_REQUESTS};
use guest_kernel::start::Boot;
use guest_kernel::{heap, shutdown};
use guest_kernels::random::Random;
use guest_kernels::{error, skip};
use hypercall_abi::{RawDomId, RawMfn, RawPort};

guest_kernel::entry!(main);

const ROUNDS: u32 = 2000;
/// Frames of a grant table that is as large as any.
const GRANT_FRAMES: usize = 64;
/// After so many rounds others have a turn.
const BETWEEN_YIELDS: u32 = 16;
/// Paths that mean something, or nearly.
const WORDS: [&str; 8] = [
    "memory/target\0",
    "/local/domain/0\0",
    "data/\0",
    "control/shutdown\0reboot",
    "@releaseDomain\0token\0",
    "//..//\0",
    "0\0",
    "\0\0\0",
];

/// What this domain shares with others.
struct Shared {
    console: (Memory, RawPort),
    store: (Memory, RawPort),
    /// The page shared with the hypervisor, and the grant table.
    pages: [Memory; 2],
}

fn main(boot: &'static Boot) {
    let (Some(console), Some(store)) = (boot.console(), boot.store()) else {
        skip(format_args!("a first domain has no manager"))
    };
    let mut table = [RawMfn::INVALID; GRANT_FRAMES];
    // One grant of our own, so that there is a table with something in it.
    let lent = heap::Page::zeroed().and_then(|page| paging::frame_at(page.leak()));
    let granted = lent.map(|frame| Grant::new(RawDomId::DOM0, frame, Access::ReadWrite));
    let (Some(Ok(_)), Ok(())) = (granted, grant::setup_table(&mut table).map(drop)) else {
        error(format_args!("no grant table"))
    };
    let [table, ..] = table;
    let pages = [boot.shared_info(), table].map(|frame| Mapping::new(&[frame], Access::ReadWrite));
    let [Ok(info), Ok(table)] = pages else {
        error(format_args!("shared pages cannot be mapped"))
    };
    let shared = Shared {
        console: (Memory::from_loader(console.0), console.1),
        store: (Memory::from_loader(store.0), store.1),
        pages: [Memory::from_mapping(info), Memory::from_mapping(table)],
    };
    let seed: u64 = boot
        .command_line()
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(1);
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for round in 0..ROUNDS {
        if seed % 2 == 1 {
            shared.speak_nonsense(&mut random);
        } else {
            shared.write_nonsense(&mut random);
        }
        if round % BETWEEN_YIELDS == 0 {
            sched::yield_now();
        }
    }
    shutdown::power_off()
}

impl Shared {
    /// Random words at random places of all pages, and events on ports that exist and that do not.
    fn write_nonsense(&self, random: &mut Random) {
        let all = [
            &self.console.0,
            &self.store.0,
            &self.pages[0],
            &self.pages[1],
        ];
        for _ in 0..32 {
            let page = all[index(random, all.len())];
            let offset = index(random, page.len() / 4) * 4;
            let value = if random.one_in(3) {
                [0, 1, u32::MAX, 0x8000_0000, 1025][index(random, 5)]
            } else {
                low(random.number())
            };
            page.u32(offset).store(value, Ordering::SeqCst);
        }
        for port in [self.console.1, self.store.1, RawPort(low(random.below(64)))] {
            // Errors are as good an answer as any.
            let _answer = event::send(port);
        }
    }

    /// A message with a header of nonsense, and a body that may be shorter or longer than it says.
    fn speak_nonsense(&self, random: &mut Random) {
        let page = &self.store.0;
        // Replies are thrown away unread, or not at all for a while.
        if !random.one_in(4) {
            let produced = page.u32(STORE_REPLIES.producer).load(Ordering::SeqCst);
            page.u32(STORE_REPLIES.consumer)
                .store(produced, Ordering::SeqCst);
        }
        let word = WORDS[index(random, WORDS.len())].as_bytes();
        let length = if random.one_in(4) {
            low(random.below(6000))
        } else {
            u32::try_from(word.len()).unwrap_or(0)
        };
        let header = [
            low(random.below(40)),
            low(random.number()),
            low(random.below(3)),
            length,
        ];
        for word in header {
            self.put(&word.to_le_bytes());
        }
        self.put(word);
        let _answer = event::send(self.store.1);
    }

    /// Puts bytes into the request ring, as far as there is room.
    fn put(&self, bytes: &[u8]) {
        let page = &self.store.0;
        let mut produced = page.u32(STORE_REQUESTS.producer).load(Ordering::SeqCst);
        let consumed = page.u32(STORE_REQUESTS.consumer).load(Ordering::SeqCst);
        for &byte in bytes {
            if produced.wrapping_sub(consumed) >= 1024 {
                break;
            }
            let slot = usize::try_from(produced & 1023).unwrap_or(0);
            page.bytes(STORE_REQUESTS.buffer + slot, 1)[0].store(byte, Ordering::SeqCst);
            produced = produced.wrapping_add(1);
        }
        page.u32(STORE_REQUESTS.producer)
            .store(produced, Ordering::SeqCst);
    }
}

fn index(random: &mut Random, limit: usize) -> usize {
    let limit = u64::try_from(limit).unwrap_or(1);
    usize::try_from(random.below(limit)).unwrap_or(0)
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}
