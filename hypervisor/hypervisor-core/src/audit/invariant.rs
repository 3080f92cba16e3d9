//! What the audit can find broken, by the ids of docs/invariants.md.

use core::fmt;

use crate::event::Binding;
use crate::frame::{Account, FrameType, Ram};
use crate::ids::{Frames, Mfn};
use crate::machine::Machine;

/// A frame, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    frame: Mfn,
    domid: Option<u16>,
}

impl Place {
    /// The frame with its present owner.
    pub(super) fn of<M: Machine>(ram: Ram<'_, M>, frame: Mfn) -> Self {
        let account = ram.frames.account(ram.frames.holding(frame).owner);
        Self {
            frame,
            domid: account.map(Account::domid),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.domid {
            Some(domid) => write!(f, "frame {} of d{domid}", self.frame),
            None => write!(f, "frame {}", self.frame),
        }
    }
}

/// A broken invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// I-01: a frame without references has a type, a pin, or an owner.
    FreeFrame {
        /// The frame.
        at: Place,
    },
    /// I-02: the general count is not the number of references.
    GeneralCount {
        /// The frame.
        at: Place,
        /// What the references add up to.
        expected: u32,
        /// What the frame table says.
        found: u32,
    },
    /// I-03: the type count is not the number of typed uses.
    TypeCount {
        /// The frame.
        at: Place,
        /// The type that the frame table says.
        kind: FrameType,
        /// What the uses add up to.
        expected: u32,
        /// What the frame table says.
        found: u32,
    },
    /// I-04: a frame is used as something that is not its type.
    TypeConflict {
        /// The frame.
        at: Place,
        /// The type that the frame table says.
        kind: FrameType,
        /// The use.
        used: FrameType,
    },
    /// I-05: a frame is between two types though no CPU works on it.
    Changing {
        /// The frame.
        at: Place,
    },
    /// I-06: an entry of a table is not in its normal form, or leads where it must not.
    Entry {
        /// The table.
        at: Place,
        /// The index.
        index: u16,
        /// The value.
        value: u64,
    },
    /// I-07: a hypervisor slot of a root does not hold the hypervisor's entry.
    HypervisorSlot {
        /// The root.
        at: Place,
        /// The slot.
        index: u16,
        /// The hypervisor's entry.
        expected: u64,
        /// The value.
        value: u64,
    },
    /// I-08: a descriptor page has a descriptor that the guest may not have.
    Descriptor {
        /// The page.
        at: Place,
        /// The index.
        index: u16,
        /// The value.
        value: u64,
    },
    /// I-09: a domain's account is not the number of its frames.
    Account {
        /// The domain.
        domid: u16,
        /// Frames that say they are the domain's.
        expected: Frames,
        /// What the account says.
        found: Frames,
    },
    /// I-10: free, owned and overhead frames do not add up to the machine.
    Conservation {
        /// The machine.
        expected: Frames,
        /// The sum.
        found: Frames,
    },
    /// I-10: the hypervisor's own frames are not those of the views and their defaults.
    Overhead {
        /// Frames of all views, and the defaults.
        expected: u64,
        /// The hypervisor's frames.
        found: u64,
    },
    /// I-11: a view of the machine-to-physical table names a frame that is not its domain's.
    View {
        /// The domain.
        domid: u16,
        /// The number of the frame, which may be none of the pool's.
        number: u64,
    },
    /// I-12: the other end of a port does not agree.
    Port {
        /// The domain.
        domid: u16,
        /// The port.
        port: u16,
        /// What it is bound to.
        found: Binding,
    },
    /// I-13: an entry of a grant table is pinned more or less often than it is used.
    Grant {
        /// The domain that grants.
        domid: u16,
        /// The entry.
        reference: u32,
        /// Uses by others.
        expected: u32,
        /// Pins.
        found: u32,
    },
}

impl Breach {
    /// The id in docs/invariants.md.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        match self {
            Self::FreeFrame { .. } => "I-01 free-frame",
            Self::GeneralCount { .. } => "I-02 general-count",
            Self::TypeCount { .. } => "I-03 type-count",
            Self::TypeConflict { .. } => "I-04 type-conflict",
            Self::Changing { .. } => "I-05 changing",
            Self::Entry { .. } => "I-06 entry",
            Self::HypervisorSlot { .. } => "I-07 hypervisor-slot",
            Self::Descriptor { .. } => "I-08 descriptor",
            Self::Account { .. } => "I-09 account",
            Self::Conservation { .. } | Self::Overhead { .. } => "I-10 conservation",
            Self::View { .. } => "I-11 view",
            Self::Port { .. } => "I-12 port",
            Self::Grant { .. } => "I-13 grant",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.id())?;
        match *self {
            Self::FreeFrame { at } => {
                write!(f, "{at}: expected no past, found an owner or a type")
            }
            Self::GeneralCount {
                at,
                expected,
                found,
            } => {
                write!(f, "{at}: expected x{expected}, found x{found}")
            }
            Self::TypeCount {
                at,
                kind,
                expected,
                found,
            } => {
                write!(f, "{at}: expected {kind:?} x{expected}, found x{found}")
            }
            Self::TypeConflict { at, kind, used } => {
                write!(f, "{at}: expected uses as {kind:?}, found {used:?}")
            }
            Self::Changing { at } => {
                write!(f, "{at}: expected a type, found it between two")
            }
            Self::Entry { at, index, value } => {
                write!(
                    f,
                    "{at}[{index}]: expected a checked entry, found {value:#x}"
                )
            }
            Self::HypervisorSlot {
                at,
                index,
                expected,
                value,
            } => {
                write!(f, "{at}[{index}]: expected {expected:#x}, found {value:#x}")
            }
            Self::Descriptor { at, index, value } => {
                write!(f, "{at}[{index}]: expected a segment, found {value:#x}")
            }
            Self::Account {
                domid,
                expected,
                found,
            } => {
                let (expected, found) = (expected.get(), found.get());
                write!(f, "d{domid}: expected {expected} frames, found {found}")
            }
            Self::Conservation { expected, found } => {
                let (expected, found) = (expected.get(), found.get());
                write!(f, "expected {expected} frames, found {found}")
            }
            Self::Overhead { expected, found } => {
                write!(f, "expected {expected} frames of views, found {found}")
            }
            Self::View { domid, number } => {
                write!(
                    f,
                    "d{domid}: expected no PFN for frame {number:#x}, found one"
                )
            }
            Self::Port { domid, port, found } => {
                write!(
                    f,
                    "d{domid} port {port}: expected an end that agrees, found {found:?}"
                )
            }
            Self::Grant {
                domid,
                reference,
                expected,
                found,
            } => {
                write!(
                    f,
                    "d{domid} grant {reference}: expected x{expected}, found x{found}"
                )
            }
        }
    }
}
