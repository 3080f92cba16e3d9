//! Why an operation on event channels is refused.

use hypercall_abi::Errno;
use thiserror::Error;

use super::table::NoPort;

/// Why an operation on event channels is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EventError {
    /// The structure could not be read or written.
    #[error("a structure is not in the guest's memory")]
    Fault,
    /// No such domain.
    #[error("there is no such domain")]
    NoDomain,
    /// Another domain's ports, without the right.
    #[error("the domain may not do that for another one")]
    Denied,
    /// No such vCPU.
    #[error("there is no such vCPU")]
    NoVcpu,
    /// No such port, or one that is free.
    #[error("there is no such port")]
    BadPort,
    /// The port is bound to something that cannot do this.
    #[error("the port is not of the right kind")]
    WrongKind,
    /// The other end does not wait for the caller.
    #[error("the other port does not wait for this domain")]
    NotWaiting,
    /// No such virtual interrupt, or a global one on another vCPU than 0.
    #[error("there is no such virtual interrupt for that vCPU")]
    BadVirq,
    /// The interrupt is bound already.
    #[error("the interrupt is bound already")]
    AlreadyBound,
    /// No such device interrupt, or not the caller's.
    #[error("the device interrupt is not the domain's")]
    NotItsLine,
    /// All ports are in use.
    #[error("no port is free")]
    NoPort,
    /// The domain is being taken apart.
    #[error("the domain is being taken apart")]
    Dying,
    /// The other domain runs.
    #[error("the domain is not one that is being built")]
    NotBuilding,
    /// Ports were bound while all were being closed.
    #[error("a port was bound meanwhile")]
    BoundMeanwhile,
    /// Two-level events have no priorities.
    #[error("the domain has no FIFO events")]
    NoPriorities,
    /// The port is free.
    #[error("the port is nobody's")]
    FreePort,
    /// No such priority.
    #[error("there is no such priority")]
    BadPriority,
    /// There are no FIFO events to add words to.
    #[error("the domain has no control block")]
    NoQueues,
    /// The array has as many pages as it can have.
    #[error("the array of words is full")]
    FullArray,
    /// A control block would not lie in its page, or not on a multiple of 8.
    #[error("a control block cannot be there")]
    BadOffset,
    /// The vCPU has a control block.
    #[error("the vCPU has a control block already")]
    HasControl,
    /// Not the domain's frame, or in use as a table.
    #[error("the frame cannot hold events")]
    BadFrame,
    /// No memory for the queues.
    #[error("there is no memory for the queues")]
    NoMemory,
}

impl From<EventError> for Errno {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Fault => Self::EFAULT,
            EventError::NoDomain => Self::ESRCH,
            EventError::Denied | EventError::NotItsLine => Self::EPERM,
            EventError::NoPriorities => Self::ENOSYS,
            EventError::FreePort => Self::EACCES,
            EventError::NoQueues => Self::EOPNOTSUPP,
            EventError::NoMemory => Self::ENOMEM,
            EventError::BoundMeanwhile => Self::EAGAIN,
            EventError::NoVcpu => Self::ENOENT,
            EventError::BadPort
            | EventError::WrongKind
            | EventError::NotWaiting
            | EventError::BadVirq
            | EventError::Dying
            | EventError::BadPriority
            | EventError::BadOffset
            | EventError::HasControl
            | EventError::BadFrame
            | EventError::NotBuilding => Self::EINVAL,
            EventError::AlreadyBound => Self::EEXIST,
            EventError::NoPort | EventError::FullArray => Self::ENOSPC,
        }
    }
}

impl From<NoPort> for EventError {
    fn from(error: NoPort) -> Self {
        match error {
            NoPort::Full => Self::NoPort,
            NoPort::Dying => Self::Dying,
        }
    }
}
