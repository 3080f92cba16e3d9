//! How long a request waits for a guest, and what becomes of the target when the time is over.

use serde::{Deserialize, Serialize};

/// Whether the request ends when the guest has been told, or when it has done what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// Set the target, answer at once.
    No,
    /// Answer when the target is reached, or the time is over.
    UntilReached {
        /// How long to wait.
        timeout_ms: u32,
        /// What to do then.
        otherwise: Otherwise,
    },
}

/// What becomes of a target that was not reached in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Otherwise {
    /// What was reached is kept, and becomes the target.
    Keep,
    /// The target goes back to what it was before.
    RollBack,
}
