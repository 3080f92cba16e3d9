//! A change that a guest carries out: how far it is, and why it does not get further.

/// Time without a step after which a change has stopped, in nanoseconds.
const STALLED_NS: u64 = 3_000_000_000;

/// One change of memory (in frames) or vCPUs (in numbers), watched from its request on.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The count when it was asked for.
    pub previous: u64,
    /// The count asked for.
    pub wanted: u64,
    /// When it was asked for, in nanoseconds.
    pub started: u64,
    /// When it must be over.
    pub deadline: u64,
    last: u64,
    last_step: u64,
    driver_seen: bool,
}

/// What a look at a change finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The count is what was asked for.
    Reached,
    /// There is time left.
    Waiting {
        /// Whether the guest's driver has been seen.
        driver_seen: bool,
    },
    /// The time is over.
    NotReached(Why),
}

/// Why a change did not get to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The guest has no driver that would carry it out.
    NoDriver,
    /// The driver is there and did not move at all.
    Refuses,
    /// It moved, then stopped: the guest has no more to give or to take.
    UnderPressure,
    /// It was still moving.
    TooSlow,
}

impl Change {
    /// A change asked for `now` that must be over `timeout` nanoseconds later.
    #[must_use]
    pub const fn new(previous: u64, wanted: u64, now: u64, timeout: u64) -> Self {
        Self {
            previous,
            wanted,
            started: now,
            deadline: now.saturating_add(timeout),
            last: previous,
            last_step: now,
            driver_seen: false,
        }
    }

    /// Looks at the hypervisor's count and at whether the guest's driver is there.
    pub fn observe(&mut self, now: u64, count: u64, driver_ready: bool) -> Verdict {
        self.driver_seen |= driver_ready;
        if count != self.last {
            self.last = count;
            self.last_step = now;
        }
        if self.is_reached(count) {
            return Verdict::Reached;
        }
        if now < self.deadline {
            return Verdict::Waiting {
                driver_seen: self.driver_seen,
            };
        }
        Verdict::NotReached(self.why(now))
    }

    /// On the way down less will do as well, on the way up more: a guest's own drivers may hold a few frames.
    const fn is_reached(&self, count: u64) -> bool {
        if self.wanted <= self.previous {
            count <= self.wanted
        } else {
            count >= self.wanted
        }
    }

    fn why(&self, now: u64) -> Why {
        let moved = self.last != self.previous;
        // With a short deadline a quarter of it without a step is a stop as well.
        let patience = STALLED_NS.min((self.deadline - self.started) / 4);
        if moved && now.saturating_sub(self.last_step) < patience {
            Why::TooSlow
        } else if moved {
            Why::UnderPressure
        } else if self.driver_seen {
            Why::Refuses
        } else {
            Why::NoDriver
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Verdict, Why};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_change_is_reached_when_the_count_says_so() {
        let mut change = Change::new(10, 5, 0, 60 * SECOND);
        assert_eq!(
            change.observe(1, 10, false),
            Verdict::Waiting { driver_seen: false }
        );
        assert_eq!(
            change.observe(2, 7, true),
            Verdict::Waiting { driver_seen: true }
        );
        assert_eq!(change.observe(3, 5, true), Verdict::Reached);
    }

    #[test]
    fn the_reason_follows_from_what_was_seen() {
        let end = 60 * SECOND;
        let why = |counts: &[(u64, u64, bool)]| {
            let mut change = Change::new(10, 5, 0, end);
            for (now, count, driver) in counts {
                change.observe(*now, *count, *driver);
            }
            let last = counts.last().map_or(10, |seen| seen.1);
            let Verdict::NotReached(why) = change.observe(end, last, false) else {
                panic!("the deadline has come");
            };
            why
        };
        assert_eq!(why(&[]), Why::NoDriver);
        assert_eq!(why(&[(SECOND, 10, true)]), Why::Refuses);
        assert_eq!(why(&[(SECOND, 8, true)]), Why::UnderPressure);
        assert_eq!(why(&[(SECOND, 8, true), (end - 1, 7, true)]), Why::TooSlow);
    }
}
