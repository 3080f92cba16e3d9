//! What becomes of a domain that ends by itself.

use serde::{Deserialize, Serialize};

/// What dom0 does with a domain that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EndAction {
    /// Its name and memory are free again.
    Destroy,
    /// It is made anew from its configuration: same name, new number.
    Restart,
    /// It stays as it is, with console and memory, until somebody destroys it.
    Preserve,
}

impl EndAction {
    /// The word for it, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}

/// A text that is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write destroy, restart or preserve")]
pub struct BadEndAction;

impl core::str::FromStr for EndAction {
    type Err = BadEndAction;

    fn from_str(text: &str) -> Result<Self, BadEndAction> {
        [Self::Destroy, Self::Restart, Self::Preserve]
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or(BadEndAction)
    }
}

/// The action for each kind of end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OnEnd {
    /// It crashed.
    pub crash: EndAction,
    /// Its guest asked for a new start.
    pub reboot: EndAction,
    /// Its guest powered off.
    pub poweroff: EndAction,
}

impl Default for OnEnd {
    fn default() -> Self {
        Self {
            crash: EndAction::Preserve,
            reboot: EndAction::Restart,
            poweroff: EndAction::Destroy,
        }
    }
}

/// What one can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// Its guest runs, or has run and waits for an event.
    Running,
    /// All of its vCPUs wait for an event.
    Blocked,
    /// Somebody has paused it.
    Paused,
    /// Its guest has powered off or asked for a new start, whatever became of it then.
    Shutdown,
    /// It has crashed, whatever became of it then.
    Crashed,
    /// There is no such domain any more.
    Gone,
}

impl Awaited {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Blocked,
        Self::Paused,
        Self::Shutdown,
        Self::Crashed,
        Self::Gone,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Shutdown => "shutdown",
            Self::Crashed => "crashed",
            Self::Gone => "gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_read_back_as_they_are_written() {
        for action in [EndAction::Destroy, EndAction::Restart, EndAction::Preserve] {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert!("reboot".parse::<EndAction>().is_err());
    }
}
