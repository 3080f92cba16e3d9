//! What the balloon does next, and how it tells.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::paging::{MOST_PAGES, PagingError};

/// KiB of a page.
const PAGE_KIB: u64 = 4;

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Reached,
    /// Give so many pages' frames back.
    Shrink(u64),
    /// Ask for so many frames.
    Grow(u64),
}

/// The step from `current` towards `target`, of at most `limit` pages.
pub(super) fn next_step(current: u64, target: u64, limit: u64) -> Step {
    if current > target {
        Step::Shrink((current - target).min(limit))
    } else if current < target {
        Step::Grow((target - current).min(limit))
    } else {
        Step::Reached
    }
}

/// Pages, shown in MiB with one digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mebibytes(pub(super) u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_mul(PAGE_KIB * 10) / 1024;
        write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
    }
}

/// How far the balloon has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    current: u64,
    target: u64,
    minimum: u64,
    problem: Option<PagingError>,
}

impl Report {
    pub(super) fn new(
        current: u64,
        target: u64,
        minimum: u64,
        problem: Option<PagingError>,
    ) -> Self {
        Self {
            current,
            target,
            minimum,
            problem,
        }
    }

    /// One word for the state.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.problem {
            None => "reached",
            Some(PagingError::OutOfMemory) => "pressure",
            Some(PagingError::NoFrames | PagingError::OutOfAddresses | PagingError::Refused(_)) => {
                "stuck"
            }
        }
    }

    fn reason(&self) -> String {
        match self.problem {
            None => String::new(),
            Some(PagingError::OutOfMemory) => {
                format!("memory in use: cannot go below {}", Mebibytes(self.minimum))
            }
            Some(problem) => format!("{problem}"),
        }
    }

    /// The text of node `data/balloon`.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            "{{\"state\":\"{}\",\"reason\":\"{}\",\"current_kib\":{},\"target_kib\":{},\"minimum_kib\":{},\"maximum_kib\":{}}}",
            self.state(),
            self.reason(),
            self.current * PAGE_KIB,
            self.target * PAGE_KIB,
            self.minimum * PAGE_KIB,
            MOST_PAGES * PAGE_KIB,
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problem.is_none() {
            return f.write_str(self.state());
        }
        write!(
            f,
            "stopped at {}: {}",
            Mebibytes(self.current),
            self.reason()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_bounded_and_end_at_the_target() {
        assert_eq!(next_step(100, 100, 64), Step::Reached);
        assert_eq!(next_step(100, 90, 64), Step::Shrink(10));
        assert_eq!(next_step(1000, 0, 64), Step::Shrink(64));
        assert_eq!(next_step(0, 1000, 64), Step::Grow(64));
    }

    #[test]
    fn a_report_tells_state_reason_and_sizes() {
        let report = Report::new(0x3000, 0x3000, 0x800, None);
        assert_eq!(
            report.to_json(),
            "{\"state\":\"reached\",\"reason\":\"\",\"current_kib\":49152,\"target_kib\":49152,\"minimum_kib\":8192,\"maximum_kib\":536870912}"
        );
        let report = Report::new(0x3000, 0x1000, 0x2f80, Some(PagingError::OutOfMemory));
        assert_eq!(report.state(), "pressure");
        assert_eq!(
            format!("{report}"),
            "stopped at 48.0 MiB: memory in use: cannot go below 47.5 MiB"
        );
    }
}
