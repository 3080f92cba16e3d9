//! What goes on behind an open stream until its last frame.

use super::{
    domain::{Ends, Key},
    files::Arriving,
};
use crate::{console::Cursor, resources::Change};
use alloc::vec::Vec;
use dom0_protocol::{DomainName, credit::Receiver, ending::Awaited, wait::Otherwise};

/// Room for a file on its way.
pub(super) const UPLOAD_WINDOW: u32 = 2 << 20;

/// A stream and the room that it has announced for data.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) work: Work,
    pub(super) receiver: Receiver,
}

/// The request behind a stream.
#[derive(Debug)]
pub(super) enum Work {
    /// A file comes.
    Upload(Arriving),
    /// A domain is being built.
    Creating { key: Key, started: u64 },
    /// A guest is to change its memory or vCPUs.
    Changing(Changing),
    /// A guest is to end.
    Ending(Ending),
    /// Memory goes from one domain to another; the move itself is in the manager.
    Moving { serial: u64 },
    /// A domain is to be in a state.
    Waiting(Waiting),
    /// A console is attached, or its scroll-back read.
    Terminal(Terminal),
    /// The hypervisor recounts; how far it is, is in the manager.
    Audit,
    /// The log is read.
    Log { cursor: u64, follow: bool },
}

impl Work {
    /// The change of memory or vCPUs that it is.
    pub(super) const fn changing(&self) -> Option<&Changing> {
        if let Self::Changing(changing) = self {
            Some(changing)
        } else {
            None
        }
    }

    /// The domain whose building it waits for.
    pub(super) const fn creating(&self) -> Option<Key> {
        if let Self::Creating { key, .. } = self {
            Some(*key)
        } else {
            None
        }
    }
}

/// Which of a domain's counts changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    Memory,
    Vcpus,
}

#[derive(Clone, Debug)]
pub(super) struct Changing {
    pub(super) key: Key,
    pub(super) name: DomainName,
    pub(super) id: u16,
    pub(super) resource: Resource,
    pub(super) turn: u64,
    pub(super) change: Change,
    /// The target that stood before.
    pub(super) before: u64,
    pub(super) otherwise: Otherwise,
    /// The last count that was told as progress.
    pub(super) told: Option<(u64, bool)>,
}

/// What a guest was asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Poweroff,
    Reboot,
}

impl Command {
    /// The word in `control/shutdown`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
        }
    }
}

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) key: Key,
    pub(super) command: Command,
    pub(super) name: DomainName,
    pub(super) id: u16,
    /// How often the domain had crashed when it was asked.
    pub(super) crashes: u32,
    pub(super) started: u64,
    pub(super) deadline: u64,
}

/// What somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hope {
    /// A state, or an end.
    State(Awaited),
    /// That the guest takes the key that was sent to it.
    KeyTaken,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) hope: Hope,
    /// The domain's ends when the waiting began.
    pub(super) ends: Ends,
    pub(super) started: u64,
    /// None is for ever.
    pub(super) deadline: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) key: Key,
    pub(super) cursor: Cursor,
    /// Where the replay ends.
    pub(super) replay_end: Cursor,
    pub(super) stage: Stage,
    /// Input that the console had no room for yet.
    pub(super) input: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Replay, then the end.
    LogOnly,
    /// Replay, then live.
    Replaying,
    /// Live.
    Live,
}
