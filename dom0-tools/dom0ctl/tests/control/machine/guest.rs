//! A guest by script: it says hello on its console, echoes, watches what dom0 wants, and complies as its manners are.
//!
//! Its manners come by its weight, the one number of a domain that means nothing to anybody else here.

use super::host::{Body, Page};
use dom0_services::control::Ring;
use dom0_services::shared_page::{ByteRing, SharedPage};
use hypercall_abi::ring::xenstore::{MessageHeader, XS_READ, XS_WATCH, XS_WATCH_EVENT};
use hypercall_abi::sched::{SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT};
use zerocopy::{FromBytes, IntoBytes};

/// How a guest takes what dom0 wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Does it.
    Good,
    /// Has no driver at all.
    Deaf,
    /// Hears, and does nothing.
    Stubborn,
    /// Goes half way.
    Half,
}

impl Manners {
    const ALL: [Self; 4] = [Self::Good, Self::Deaf, Self::Stubborn, Self::Half];

    /// The weight of a domain whose guest is like this.
    pub(crate) fn weight(self) -> &'static str {
        ["256", "1", "2", "3"][Self::ALL.iter().position(|one| *one == self).unwrap()]
    }

    fn of(weight: u32) -> Self {
        match weight {
            1 => Self::Deaf,
            2 => Self::Stubborn,
            3 => Self::Half,
            _ => Self::Good,
        }
    }
}

/// Where a stream of bytes lies in a ring page, and its two indices.
struct Lane {
    ring: ByteRing,
    consumer: usize,
    producer: usize,
}

const CONSOLE_IN: Lane = lane(0, 1024, 3072, 3076);
const CONSOLE_OUT: Lane = lane(1024, 2048, 3080, 3084);
const STORE_OUT: Lane = lane(0, 1024, 2048, 2052);
const STORE_IN: Lane = lane(1024, 1024, 2056, 2060);

const fn lane(offset: usize, size: u32, consumer: usize, producer: usize) -> Lane {
    Lane {
        ring: ByteRing::new(offset, size),
        consumer,
        producer,
    }
}

impl Lane {
    fn take(&self, page: &Page) -> Vec<u8> {
        let (consumer, producer) = (page.load(self.consumer), page.load(self.producer));
        let filled = self.ring.filled(consumer, producer).unwrap();
        let mut bytes = vec![0; usize::try_from(filled).unwrap()];
        self.ring.copy_out(page, consumer, &mut bytes);
        page.store(self.consumer, producer);
        bytes
    }

    /// Puts as much as there is room for.
    fn put(&self, page: &Page, bytes: &mut Vec<u8>) -> bool {
        let (consumer, producer) = (page.load(self.consumer), page.load(self.producer));
        let room = self.ring.room(consumer, producer).unwrap();
        let length = bytes.len().min(usize::try_from(room).unwrap());
        let piece: Vec<u8> = bytes.drain(..length).collect();
        self.ring.copy_in(page, producer, &piece);
        page.store(
            self.producer,
            producer.wrapping_add(u32::try_from(length).unwrap()),
        );
        length > 0
    }
}

const MEMORY: u32 = 1;
const SHUTDOWN: u32 = 2;
const CPU: u32 = 100;

/// The guest's own state.
#[derive(Debug)]
pub(crate) struct Guest {
    manners: Manners,
    greeted: bool,
    watching: bool,
    to_console: Vec<u8>,
    to_store: Vec<u8>,
    from_store: Vec<u8>,
}

impl Default for Guest {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Guest {
    pub(crate) fn new(weight: u32) -> Self {
        Self {
            manners: Manners::of(weight),
            greeted: false,
            watching: false,
            to_console: Vec::new(),
            to_store: Vec::new(),
            from_store: Vec::new(),
        }
    }

    /// Does what there is to do on a ring; true when the other end is to be notified.
    pub(crate) fn run(&mut self, ring: Ring, page: &Page, body: &mut Body, free: &mut u64) -> bool {
        match ring {
            Ring::Console => self.run_console(page),
            Ring::Store => self.run_store(page, body, free),
        }
    }

    fn run_console(&mut self, page: &Page) -> bool {
        if !std::mem::replace(&mut self.greeted, true) {
            self.to_console.extend(b"hello from a guest\r\n");
        }
        let typed = CONSOLE_IN.take(page);
        self.to_console.extend(typed.to_ascii_uppercase());
        let wrote = CONSOLE_OUT.put(page, &mut self.to_console);
        wrote || !typed.is_empty()
    }

    fn run_store(&mut self, page: &Page, body: &mut Body, free: &mut u64) -> bool {
        if self.manners != Manners::Deaf && !std::mem::replace(&mut self.watching, true) {
            for (path, id) in [
                ("memory/target", MEMORY),
                ("control/shutdown", SHUTDOWN),
                ("cpu", CPU),
            ] {
                self.ask(XS_WATCH, id, format!("{path}\0{id}\0").as_bytes());
            }
        }
        let heard = STORE_IN.take(page);
        self.from_store.extend(&heard);
        while let Some((header, payload)) = self.message() {
            self.hear(&header, &payload, body, free);
        }
        let wrote = STORE_OUT.put(page, &mut self.to_store);
        wrote || !heard.is_empty()
    }

    fn ask(&mut self, kind: u32, req_id: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let header = MessageHeader {
            kind,
            req_id,
            tx_id: 0,
            len,
        };
        self.to_store.extend(header.as_bytes());
        self.to_store.extend(payload);
    }

    fn message(&mut self) -> Option<(MessageHeader, Vec<u8>)> {
        let (header, rest) = MessageHeader::read_from_prefix(&self.from_store).ok()?;
        let length = usize::try_from(header.len).unwrap();
        let payload = rest.get(..length)?.to_vec();
        self.from_store.drain(..16 + length);
        Some((header, payload))
    }

    fn hear(&mut self, header: &MessageHeader, payload: &[u8], body: &mut Body, free: &mut u64) {
        let text = std::str::from_utf8(payload).unwrap();
        if header.kind == XS_WATCH_EVENT {
            let token: u32 = text.split('\0').nth(1).unwrap().parse().unwrap();
            match token {
                MEMORY => self.ask(XS_READ, MEMORY, b"memory/target\0"),
                SHUTDOWN => self.ask(XS_READ, SHUTDOWN, b"control/shutdown\0"),
                _ => {
                    for cpu in 1..body.max_vcpus {
                        let path = format!("cpu/{cpu}/availability\0");
                        self.ask(XS_READ, CPU + cpu, path.as_bytes());
                    }
                }
            }
        } else if header.kind == XS_READ && self.manners != Manners::Stubborn {
            self.comply(header.req_id, text, body, free);
        }
    }

    fn comply(&mut self, what: u32, text: &str, body: &mut Body, free: &mut u64) {
        match what {
            MEMORY => {
                let wanted = text.parse::<u64>().unwrap() / 4;
                let wanted = match self.manners {
                    Manners::Half => body.frames.midpoint(wanted),
                    Manners::Good | Manners::Deaf | Manners::Stubborn => wanted,
                };
                let wanted = wanted
                    .min(body.max_frames)
                    .min(body.limit)
                    .min(body.frames + *free);
                *free = *free + body.frames - wanted;
                body.frames = wanted;
            }
            SHUTDOWN => match text {
                "poweroff" => body.shutdown = Some(SHUTDOWN_POWEROFF),
                "reboot" => body.shutdown = Some(SHUTDOWN_REBOOT),
                _ => {}
            },
            cpu if text == "online" => {
                body.online.insert(cpu - CPU);
            }
            cpu => {
                body.online.remove(&(cpu - CPU));
            }
        }
    }
}
