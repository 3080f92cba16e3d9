//! vCPUs: who runs this code, starting the others, taking them down and up again.

mod bring_up;
mod identity;

pub use bring_up::{SmpError, State, down, online, possible, starts, state, up};
pub(crate) use bring_up::{asked_to_leave, init_boot_vcpu, leave_if_asked, secondary};
pub use identity::{MAX_VCPUS, VcpuId, current};
pub(crate) use identity::{USER_RETURN_OFFSET, adopt};
