//! What the audit can find broken, by the ids of docs/invariants.md.

use core::fmt;

use crate::frame::FrameType;
use crate::ids::{Frames, Mfn};

/// A broken invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// I-01: a frame without references has a type, a pin, or an owner.
    FreeFrame {
        /// The frame.
        frame: Mfn,
    },
    /// I-02: the general count is not the number of references.
    GeneralCount {
        /// The frame.
        frame: Mfn,
        /// What the references add up to.
        expected: u32,
        /// What the frame table says.
        found: u32,
    },
    /// I-03: the type count is not the number of typed uses.
    TypeCount {
        /// The frame.
        frame: Mfn,
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
        frame: Mfn,
        /// The type that the frame table says.
        kind: FrameType,
        /// The use.
        used: FrameType,
    },
    /// I-05: a frame is between two types though no CPU works on it.
    Changing {
        /// The frame.
        frame: Mfn,
    },
    /// I-06: an entry of a table is not in its normal form, or leads where it must not.
    Entry {
        /// The table.
        frame: Mfn,
        /// The index.
        index: u16,
        /// The value.
        value: u64,
    },
    /// I-07: a hypervisor slot of a root does not hold the hypervisor's entry.
    HypervisorSlot {
        /// The root.
        frame: Mfn,
        /// The slot.
        index: u16,
        /// The value.
        value: u64,
    },
    /// I-08: a descriptor page has a descriptor that the guest may not have.
    Descriptor {
        /// The page.
        frame: Mfn,
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
    /// I-11: a view of the machine-to-physical table names a frame that is not its domain's.
    View {
        /// The domain.
        domid: u16,
        /// The number of the frame, which may be none of the pool's.
        number: u64,
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
            Self::Conservation { .. } => "I-10 conservation",
            Self::View { .. } => "I-11 view",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.id())?;
        match *self {
            Self::FreeFrame { frame } => write!(f, "frame {frame} has no reference, but a past"),
            Self::GeneralCount {
                frame,
                expected,
                found,
            } => {
                write!(f, "frame {frame}: expected x{expected}, found x{found}")
            }
            Self::TypeCount {
                frame,
                kind,
                expected,
                found,
            } => {
                write!(
                    f,
                    "frame {frame}: expected {kind:?} x{expected}, found x{found}"
                )
            }
            Self::TypeConflict { frame, kind, used } => {
                write!(f, "frame {frame}: is {kind:?}, used as {used:?}")
            }
            Self::Changing { frame } => write!(f, "frame {frame} is left between two types"),
            Self::Entry {
                frame,
                index,
                value,
            }
            | Self::HypervisorSlot {
                frame,
                index,
                value,
            }
            | Self::Descriptor {
                frame,
                index,
                value,
            } => {
                write!(f, "frame {frame}[{index}]: found {value:#x}")
            }
            Self::Account {
                domid,
                expected,
                found,
            } => {
                write!(
                    f,
                    "d{domid}: expected {} frames, found {}",
                    expected.get(),
                    found.get()
                )
            }
            Self::Conservation { expected, found } => {
                write!(
                    f,
                    "expected {} frames, found {}",
                    expected.get(),
                    found.get()
                )
            }
            Self::View { domid, number } => write!(f, "d{domid} has a PFN for frame {number:#x}"),
        }
    }
}
