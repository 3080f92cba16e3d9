//! A turn for who lost a race: guests retry a conflicting transaction without limit, so someone must give way.
//!
//! After a conflict other ordinary domains' requests wait while the loser's next transaction is open, for a short time at
//! most; after a turn comes a rest of the same length in which nobody is given one, so that a domain which conflicts with
//! itself on purpose slows others to half at worst.

use crate::DomId;

/// Longest turn, and the rest behind it, in nanoseconds.
const TURN_NS: u64 = 20_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Turn {
    /// Nobody has to wait.
    #[default]
    Free,
    /// `holder` lost; others wait until it has ended a transaction, or until the deadline.
    Held { holder: DomId, until: u64 },
    /// Nobody gets a turn before the deadline.
    Rest { until: u64 },
}

impl Turn {
    /// Notes a conflict.
    pub(super) fn lost(&mut self, domain: DomId, now: u64) {
        self.settle(now);
        if matches!(self, Self::Free) {
            let until = now.saturating_add(TURN_NS);
            *self = Self::Held {
                holder: domain,
                until,
            };
        }
    }

    /// Notes that a domain has no race to win any more.
    pub(super) fn done(&mut self, domain: DomId, now: u64) {
        if matches!(self, Self::Held { holder, .. } if *holder == domain) {
            *self = Self::Rest {
                until: now.saturating_add(TURN_NS),
            };
        }
    }

    /// Until when a domain has to wait, if it has to.
    pub(super) fn wait(&mut self, domain: DomId, now: u64) -> Option<u64> {
        self.settle(now);
        match *self {
            Self::Held { holder, until } if holder != domain && !domain.is_dom0() => Some(until),
            Self::Held { .. } | Self::Rest { .. } | Self::Free => None,
        }
    }

    /// Ends what is over.
    fn settle(&mut self, now: u64) {
        if let Self::Held { until, .. } = *self
            && now >= until
        {
            *self = Self::Rest {
                until: until.saturating_add(TURN_NS),
            };
        } else if let Self::Rest { until } = *self
            && now >= until
        {
            *self = Self::Free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TURN_NS, Turn};
    use crate::DomId;

    #[test]
    fn others_wait_for_the_loser_but_not_for_ever() {
        let [one, two] = [1, 2].map(|number| DomId::new(number).expect("a domain"));
        let mut turn = Turn::default();
        turn.lost(one, 0);
        assert_eq!(turn.wait(two, 1), Some(TURN_NS));
        assert_eq!(turn.wait(one, 1), None);
        assert_eq!(turn.wait(DomId::DOM0, 1), None);
        assert_eq!(turn.wait(two, TURN_NS), None, "the turn is over");
        turn.lost(one, TURN_NS);
        assert_eq!(turn.wait(two, TURN_NS), None, "no turn within the rest");
        turn.lost(one, 2 * TURN_NS);
        assert!(turn.wait(two, 2 * TURN_NS).is_some());
        turn.done(one, 2 * TURN_NS);
        assert_eq!(turn.wait(two, 2 * TURN_NS), None);
    }
}
