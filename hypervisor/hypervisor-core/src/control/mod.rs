//! Hypercall 56: the query that is open to every domain, and dom0's control of the machine.
//!
//! One file per group of operations. The dispatcher here is made from the table: it looks for the operation, asks for the right,
//! copies the structure in once, holds its header to the version and what is reserved to zero, and on the way back copies the structure out once. So a handler
//! sees an owned structure whose version it knows, and who has no [`ControlRight`] cannot even name the operation.

mod audit;
mod device;
mod domain;
mod grant;
mod host;
mod memory;
mod sched;
mod vcpu;
mod version;

use audit::{audit, audit_breach};
use device::{msix_bind, pci_read, pci_write};
use domain::{
    domain_counters, domain_create, domain_destroy, domain_info, domain_pause, domain_resume,
    domain_set_limit, domain_set_max, domain_unpause,
};
use grant::grant_seed;
use host::{cpu_info, host_info, host_promises, log_read, set_wallclock};
use hypercall_abi::control::{ControlArgument, ControlHeader};
use hypercall_abi::table::prelude::*;
use hypercall_abi::{Errno, GuestPtr};
use memory::{memory_read, memory_write};
use sched::{sched_get, sched_set};
use vcpu::{vcpu_info, vcpu_set_context};
use version::paravane_query;

use crate::caller::Caller;
use crate::dispatch::Arguments;
use crate::domain::rights::ControlRight;
use crate::machine::Machine;
use crate::outcome::Outcome;

pub use audit::{AuditUnderWay, Everyone};
pub use device::Devices;

/// How an operation ended that was not refused from the start. The structure is copied out in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is done.
    Done,
    /// It goes on when the caller repeats the call with the structure as it is now.
    Again,
    /// It stopped on an error; what the structure says is done stays.
    Stopped(Errno),
}

/// What a handler gives; on `Err` nothing has happened and nothing is copied out.
type Answer = Result<End, Errno>;

/// Whether the caller needs the right of control; the value is passed to the handler.
trait Admission: Copy {
    fn of<M: Machine>(caller: &Caller<'_, M>) -> Result<Self, Errno>;
}

/// Every domain may call.
#[derive(Clone, Copy, Debug)]
struct Anyone;

impl Admission for Anyone {
    fn of<M: Machine>(_: &Caller<'_, M>) -> Result<Self, Errno> {
        Ok(Self)
    }
}

impl Admission for ControlRight {
    fn of<M: Machine>(caller: &Caller<'_, M>) -> Result<Self, Errno> {
        caller.control_right()
    }
}

macro_rules! admission {
    (any) => {
        Anyone
    };
    (dom0) => {
        ControlRight
    };
}

macro_rules! control_operations {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($argument:ident: InOut<$type:ident>)
        since $since:literal by $who:ident;)*) => {
        /// Runs the operation that the first argument names, on the structure that the second points to.
        pub(crate) fn operation<M: Machine>(caller: &mut Caller<'_, M>, arguments: &mut Arguments) -> Outcome {
            let [operation, address, ..] = *arguments;
            match u32::from_register(operation) {
                $($number => run::<M, $type, admission!($who)>(caller, GuestPtr::new(address), $name),)*
                _ => Outcome::Refused(Errno::ENOSYS),
            }
        }
    };
}
hypercall_abi::for_each_control_operation!(control_operations);

/// The way of every operation through right, copy, header, handler and copy.
fn run<M: Machine, T: ControlArgument, A: Admission>(
    caller: &mut Caller<'_, M>,
    from: GuestPtr<T>,
    handler: fn(&mut Caller<'_, M>, A, &mut T) -> Answer,
) -> Outcome {
    let prepared = A::of(caller).and_then(|admission| Ok((admission, caller.copy_in(from)?)));
    let (admission, mut argument) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Outcome::Refused(error),
    };
    let checked = check_header(argument.header(), T::HEADER);
    if let Err(error) = checked.and_then(|()| require(argument.reserves_zero())) {
        return Outcome::Refused(error);
    }
    let end = match handler(caller, admission, &mut argument) {
        Ok(end) => end,
        Err(error) => return Outcome::Refused(error),
    };
    match (caller.copy_out(from, &argument), end) {
        (Err(error), _) | (Ok(()), End::Stopped(error)) => Outcome::Refused(error),
        (Ok(()), End::Done) => Outcome::OK,
        (Ok(()), End::Again) => Outcome::Again,
    }
}

/// Holds a header to the version that is known.
fn check_header(given: ControlHeader, known: ControlHeader) -> Result<(), Errno> {
    if given.version > known.version {
        return Err(Errno::EOPNOTSUPP);
    }
    if given == known {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// What has to hold.
fn require(holds: bool) -> Result<(), Errno> {
    if holds { Ok(()) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests;
