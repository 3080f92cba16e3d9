//! Why paging operations are refused, and what the guest is told (pv-abi 4.3.4, 4.3.5, 4.5).

use hypercall_abi::errno::Errno;
use thiserror::Error;

/// One cause each.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PagingError {
    /// A flag that the level does not have, or that the domain has no right to.
    #[error("the entry has a forbidden flag")]
    Flags,
    /// The entry's frame number is all ones.
    #[error("the frame number is all ones")]
    AllOnes,
    /// An L1 entry to what is no RAM, without the right to it.
    #[error("no right to this device memory")]
    NoDeviceRight,
    /// An L1 entry to a frame that is free or somebody else's.
    #[error("the frame is not the expected owner's")]
    NotOwned,
    /// An L1 entry that would make a table or a descriptor page writable, or wrap a count.
    #[error("the frame cannot be mapped writable now")]
    NotWritable,
    /// Cache attributes on a page that the hypervisor shares.
    #[error("a shared page has no cache attributes")]
    SharedPage,
    /// A frame that is not the domain's RAM, or is in use as something else.
    #[error("the frame cannot become what is wanted")]
    NotTable,
    /// The address names no entry of the domain's tables.
    #[error("no table entry is there")]
    NoEntry,
    /// An L4 slot of the hypervisor.
    #[error("the slot is the hypervisor's")]
    HypervisorSlot,
    /// A table of level 2 and up is changed with frames of somebody else.
    #[error("tables name their own domain's tables only")]
    ForeignTable,
    /// The frame is pinned already.
    #[error("the frame is pinned already")]
    Pinned,
    /// The frame is not pinned.
    #[error("the frame is not pinned")]
    NotPinned,
    /// A descriptor that the guest may not have.
    #[error("the descriptor is refused")]
    Descriptor,
    /// An argument out of its range.
    #[error("an argument is out of range")]
    Argument,
    /// No such domain.
    #[error("no such domain")]
    NoDomain,
    /// The caller may not do this to that domain.
    #[error("no right over that domain")]
    NoRight,
    /// Guest memory could not be reached.
    #[error("guest memory cannot be reached")]
    Fault,
    /// The operation needs the right to devices.
    #[error("the operation needs the right to devices")]
    NoDevices,
    /// No such command.
    #[error("no such command")]
    Unknown,
    /// No frame for the domain's M2P view.
    #[error("no memory for the machine-to-physical table")]
    NoMemory,
    /// A command that is refused for good.
    #[error("the command is not supported")]
    Unsupported,
}

impl PagingError {
    /// The number that the guest sees.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::NoDeviceRight | Self::NoRight => Errno::EPERM,
            Self::NoDomain => Errno::ESRCH,
            Self::NotOwned | Self::NotWritable => Errno::EBUSY,
            Self::SharedPage | Self::NoDevices => Errno::EACCES,
            Self::Fault => Errno::EFAULT,
            Self::Unknown => Errno::ENOSYS,
            Self::NoMemory => Errno::ENOMEM,
            Self::Unsupported => Errno::EOPNOTSUPP,
            Self::Flags
            | Self::AllOnes
            | Self::NotTable
            | Self::NoEntry
            | Self::HypervisorSlot
            | Self::ForeignTable
            | Self::Pinned
            | Self::NotPinned
            | Self::Descriptor
            | Self::Argument => Errno::EINVAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_leaves_and_of_tables_have_different_numbers() {
        assert_eq!(PagingError::NotWritable.errno(), Errno::EBUSY);
        assert_eq!(PagingError::NotOwned.errno(), Errno::EBUSY);
        assert_eq!(PagingError::NotTable.errno(), Errno::EINVAL);
        assert_eq!(PagingError::NoDeviceRight.errno(), Errno::EPERM);
        assert_eq!(PagingError::AllOnes.errno(), Errno::EINVAL);
        assert_eq!(PagingError::SharedPage.errno(), Errno::EACCES);
    }
}
