//! The life of a domain: its states, and what ends it.

use core::fmt;

use super::crash::CrashInfo;

/// Why a domain stopped by itself, as the guest said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReason(u8);

impl ShutdownReason {
    /// Power off.
    pub const POWEROFF: Self = Self(0);
    /// Reboot.
    pub const REBOOT: Self = Self(1);
    /// Suspend.
    pub const SUSPEND: Self = Self(2);
    /// The guest says that it crashed.
    pub const CRASH: Self = Self(3);
    /// A watchdog ran out.
    pub const WATCHDOG: Self = Self(4);

    /// Only the low 8 bits of a guest's word count.
    #[must_use]
    pub const fn new(reason: u32) -> Self {
        let [low, ..] = reason.to_le_bytes();
        Self(low)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::POWEROFF => f.write_str("power off"),
            Self::REBOOT => f.write_str("reboot"),
            Self::SUSPEND => f.write_str("suspend"),
            Self::CRASH => f.write_str("its kernel says that it crashed"),
            Self::WATCHDOG => f.write_str("a watchdog ran out"),
            Self(number) => write!(f, "reason {number}"),
        }
    }
}

/// The state of a domain, pauses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Made, and never unpaused yet.
    Building,
    /// Runs, or would if it were not paused.
    Running,
    /// Stopped by itself.
    Shutdown(ShutdownReason),
    /// Stopped by the hypervisor.
    Crashed,
    /// Being taken apart.
    Dying,
}

/// A domain's life, under its lock.
#[derive(Clone, Copy, Debug)]
pub struct LifeRecord {
    /// The state.
    pub state: Life,
    /// A code that `SCHEDOP_shutdown_code` latched.
    pub latched: Option<ShutdownReason>,
    /// The crash, by the hypervisor or by its own word; kept while the domain is being taken apart.
    pub crash: Option<CrashInfo>,
    /// Which watchdogs are in use.
    pub watchdogs: [bool; 2],
}

impl LifeRecord {
    /// A new domain.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: Life::Building,
            latched: None,
            crash: None,
            watchdogs: [false; 2],
        }
    }

    /// The domain stops for `reason`, or for what was latched; `place` is where it says so, kept if that is a crash. False if
    /// it had stopped before.
    pub fn shut_down(&mut self, reason: ShutdownReason, place: Option<CrashInfo>) -> bool {
        match self.state {
            Life::Building | Life::Running => {
                let reason = self.latched.unwrap_or(reason);
                self.state = Life::Shutdown(reason);
                self.crash = place.filter(|_| reason == ShutdownReason::CRASH);
                true
            }
            Life::Shutdown(_) | Life::Crashed | Life::Dying => false,
        }
    }

    /// The domain is crashed. False if it had stopped before.
    pub fn crash(&mut self, info: CrashInfo) -> bool {
        match self.state {
            Life::Building | Life::Running => {
                self.state = Life::Crashed;
                self.crash = Some(info);
                true
            }
            Life::Shutdown(_) | Life::Crashed | Life::Dying => false,
        }
    }

    /// A domain that was suspended goes on. False if it was not.
    pub fn resume(&mut self) -> bool {
        let suspended = self.state == Life::Shutdown(ShutdownReason::SUSPEND);
        if suspended {
            self.state = Life::Running;
            self.latched = None;
        }
        suspended
    }

    /// The domain is being taken apart from now on.
    pub fn end(&mut self) {
        self.state = Life::Dying;
    }

    /// The first unpause ends building.
    pub fn start(&mut self) {
        if self.state == Life::Building {
            self.state = Life::Running;
        }
    }
}

impl Default for LifeRecord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::crash::CrashReason;
    use super::*;
    use crate::ids::VcpuId;

    const PLACE: CrashInfo = CrashInfo {
        reason: CrashReason::Told,
        vcpu: VcpuId::FIRST,
        rip: 0x1000,
        cr2: 0,
    };

    #[test]
    fn a_domain_stops_once_and_a_latched_code_wins() {
        let mut life = LifeRecord::new();
        life.start();
        life.latched = Some(ShutdownReason::REBOOT);
        assert!(life.shut_down(ShutdownReason::new(0x100), Some(PLACE)));
        assert_eq!(life.state, Life::Shutdown(ShutdownReason::REBOOT));
        assert!(!life.shut_down(ShutdownReason::CRASH, Some(PLACE)));
        assert_eq!(life.crash, None, "it has shut down in order");
        life.end();
        assert!(!life.shut_down(ShutdownReason::POWEROFF, None));
    }

    #[test]
    fn the_place_of_a_crash_that_a_domain_tells_of_is_kept_to_its_end() {
        let mut life = LifeRecord::new();
        life.start();
        assert!(life.shut_down(ShutdownReason::CRASH, Some(PLACE)));
        life.end();
        assert_eq!(life.crash, Some(PLACE));
    }
}
