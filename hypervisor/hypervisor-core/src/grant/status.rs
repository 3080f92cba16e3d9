//! What became of one element of a grant operation.

use hypercall_abi::grant::{
    GNTST_BAD_COPY_ARG, GNTST_BAD_DEV_ADDR, GNTST_BAD_DOMAIN, GNTST_BAD_GNTREF, GNTST_BAD_HANDLE,
    GNTST_BAD_PAGE, GNTST_BAD_VIRT_ADDR, GNTST_EAGAIN, GNTST_GENERAL_ERROR, GNTST_NO_SPACE,
    GNTST_OKAY, GNTST_PERMISSION_DENIED,
};
use thiserror::Error;

/// Why an element failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Status {
    /// No other reason of this list.
    #[error("not possible as things are")]
    GeneralError,
    /// No such domain.
    #[error("no such domain")]
    BadDomain,
    /// No such entry, or no kind of mapping was asked for.
    #[error("no such grant")]
    BadReference,
    /// No such mapping.
    #[error("no such mapping")]
    BadHandle,
    /// The list of frames cannot be written.
    #[error("the list cannot be written")]
    BadVirtualAddress,
    /// Not the device address that was told.
    #[error("not the address of the mapping")]
    BadDeviceAddress,
    /// No right over that domain.
    #[error("no right over that domain")]
    PermissionDenied,
    /// The granter does not own the frame.
    #[error("the frame is not the granter's")]
    BadPage,
    /// A copy leaves its frame.
    #[error("the copy leaves its frame")]
    BadCopyArgument,
    /// No handle is left.
    #[error("no handle is left")]
    NoSpace,
    /// An entry is in use.
    #[error("the entry is in use")]
    Busy,
}

impl Status {
    /// The number that the guest sees.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::GeneralError => GNTST_GENERAL_ERROR,
            Self::Busy => GNTST_EAGAIN,
            Self::BadDomain => GNTST_BAD_DOMAIN,
            Self::BadReference => GNTST_BAD_GNTREF,
            Self::BadHandle => GNTST_BAD_HANDLE,
            Self::BadVirtualAddress => GNTST_BAD_VIRT_ADDR,
            Self::BadDeviceAddress => GNTST_BAD_DEV_ADDR,
            Self::PermissionDenied => GNTST_PERMISSION_DENIED,
            Self::BadPage => GNTST_BAD_PAGE,
            Self::BadCopyArgument => GNTST_BAD_COPY_ARG,
            Self::NoSpace => GNTST_NO_SPACE,
        }
    }
}

/// The number of a result.
pub(super) fn number_of(result: Result<(), Status>) -> i16 {
    result.map_or_else(Status::number, |()| GNTST_OKAY)
}
