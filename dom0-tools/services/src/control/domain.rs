//! What dom0 knows of a domain that it has made.

use super::{host::Attached, stream::Command};
use crate::{
    DomId,
    builder::{Build, Recipe},
    console::Console,
    xenstore,
};
use alloc::{boxed::Box, string::String, sync::Arc};
use dom0_protocol::{Digest, DomainName, domain::DomainState, ending::OnEnd, request::Start};
use hypercall_abi::control::domain::{
    DOMAIN_STATE_BUILDING, DOMAIN_STATE_CRASHED, DOMAIN_STATE_DYING, DOMAIN_STATE_PAUSED,
    DOMAIN_STATE_SHUTDOWN, DomainRecord,
};

/// dom0's own name of a domain: the same over all its reboots, never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key(pub(super) u64);

/// What a domain was made from and may have; a reboot makes it anew from this.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) recipe: Arc<Recipe>,
    pub(super) kernel_label: String,
    pub(super) kernel_digest: Digest,
    pub(super) ramdisk_label: Option<String>,
    pub(super) frames: u64,
    pub(super) max_frames: u64,
    pub(super) minimum_frames: u64,
    pub(super) vcpus: u32,
    pub(super) max_vcpus: u32,
    pub(super) weight: u32,
    pub(super) cap_percent: u32,
    pub(super) affinity: u64,
    pub(super) on_end: OnEnd,
}

/// How a domain has ended so far, over all its lives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Ends {
    /// Times that it has crashed.
    pub(super) crashes: u32,
    /// Times that it has powered off or rebooted.
    pub(super) shutdowns: u32,
    /// Lives in a row that were too short.
    pub(super) quick: u32,
    /// Its present life has ended, and dom0 has acted on it.
    pub(super) seen: bool,
}

/// How far a domain is.
#[derive(Debug)]
pub(super) enum Life {
    /// It gets its memory.
    Building { build: Box<Build>, start: Start },
    /// It has been started, and has perhaps ended since; the hypervisor knows.
    Started,
    /// It asked for a reboot and is made anew at this time.
    Restarting { at: u64 },
}

/// A wish that a guest carries out: the newest one counts, and older ones can see that they are not it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) wanted: u64,
    pub(super) turn: u64,
}

impl Target {
    pub(super) const fn new(wanted: u64) -> Self {
        Self { wanted, turn: 0 }
    }

    /// Sets a new wish; gives its turn.
    pub(super) fn set(&mut self, wanted: u64) -> u64 {
        self.wanted = wanted;
        self.turn += 1;
        self.turn
    }
}

/// A domain.
#[derive(Debug)]
pub(super) struct Domain<P> {
    pub(super) id: DomId,
    pub(super) name: DomainName,
    pub(super) uuid: [u8; 16],
    pub(super) config: Config,
    pub(super) life: Life,
    pub(super) memory: Target,
    pub(super) vcpus: Target,
    pub(super) console: Console,
    pub(super) console_ring: Option<Attached<P>>,
    pub(super) store_ring: Option<(Attached<P>, xenstore::Link)>,
    /// What it was asked for last in its present life.
    pub(super) asked: Option<Command>,
    /// When its present life began.
    pub(super) born: u64,
    /// Its maximum of frames when its present life began.
    pub(super) born_max_frames: u64,
    pub(super) ends: Ends,
}

impl<P> Domain<P> {
    /// Its state, from the hypervisor's record of it.
    pub(super) fn state(&self, record: Option<&DomainRecord>) -> DomainState {
        match (&self.life, record) {
            (Life::Building { .. } | Life::Restarting { .. }, _) => DomainState::Starting,
            // It is built and has not been let go: only `create --paused` leaves it so.
            (Life::Started, Some(record)) if record.state == DOMAIN_STATE_BUILDING => {
                DomainState::Paused
            }
            (Life::Started, Some(record)) => state_of(record),
            (Life::Started, None) => DomainState::Dying,
        }
    }
}

/// The state that a record tells of. A domain that was never on a CPU is starting, if nobody keeps it from it.
pub(super) fn state_of(record: &DomainRecord) -> DomainState {
    match record.state {
        DOMAIN_STATE_BUILDING => DomainState::Starting,
        DOMAIN_STATE_PAUSED => DomainState::Paused,
        DOMAIN_STATE_SHUTDOWN => DomainState::Shutdown,
        DOMAIN_STATE_CRASHED => DomainState::Crashed,
        DOMAIN_STATE_DYING => DomainState::Dying,
        _ if record.cpu_time_ns == 0 => DomainState::Starting,
        _ if record.vcpus_online > 0 && record.vcpus_blocked >= record.vcpus_online => {
            DomainState::Blocked
        }
        _ => DomainState::Running,
    }
}

/// A UUID as people write it.
pub(super) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::new();
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&alloc::format!("{byte:02x}"));
    }
    text
}

/// A random UUID (version 4) from two numbers.
pub(super) fn uuid_from(numbers: [u64; 2]) -> [u8; 16] {
    let [high, low] = numbers.map(u64::to_be_bytes);
    let mut uuid = [0; 16];
    let (front, back) = uuid.split_at_mut(8);
    front.copy_from_slice(&high);
    back.copy_from_slice(&low);
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
