//! Caps: the most CPU time a domain may use per period, whatever else is idle.

use crate::ids::Nanos;

/// Length of a period. Short, so that a capped domain stutters as little as it can.
pub const PERIOD: Nanos = Nanos::new(20_000_000);

/// A domain's budget and what it used of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    percent: u32,
    began: Nanos,
    used: u64,
}

impl Cap {
    /// No use yet. `percent` of one CPU; 0 is no cap.
    #[must_use]
    pub const fn new(percent: u32, now: Nanos) -> Self {
        Self {
            percent,
            began: now,
            used: 0,
        }
    }

    /// The cap in percent of one CPU, 0 for none.
    #[must_use]
    pub const fn percent(&self) -> u32 {
        self.percent
    }

    /// Changes the cap and keeps what was used.
    pub fn set(&mut self, percent: u32) {
        self.percent = percent;
    }

    /// Notes use. Debt is carried into the next periods.
    pub fn charge(&mut self, ran: Nanos) {
        if self.percent != 0 {
            self.used = self.used.saturating_add(ran.get());
        }
    }

    /// Gives the budgets of the periods that have begun since.
    pub fn refresh(&mut self, now: Nanos) {
        let elapsed = now.saturating_sub(self.began).get();
        let periods = elapsed.checked_div(PERIOD.get()).unwrap_or(0);
        if periods != 0 {
            self.used = self
                .used
                .saturating_sub(self.budget().saturating_mul(periods));
            let step = Nanos::new(periods.saturating_mul(PERIOD.get()));
            self.began = self.began.saturating_add(step);
        }
    }

    /// What is left in this period; `None` without a cap.
    #[must_use]
    pub fn left(&self) -> Option<Nanos> {
        (self.percent != 0).then(|| Nanos::new(self.budget().saturating_sub(self.used)))
    }

    /// Whether the domain may run now.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.left().is_none_or(|left| left.get() != 0)
    }

    /// When the next budget comes.
    #[must_use]
    pub fn period_end(&self) -> Nanos {
        self.began.saturating_add(PERIOD)
    }

    fn budget(&self) -> u64 {
        let hundredth = PERIOD.get().checked_div(100).unwrap_or(0);
        hundredth.saturating_mul(u64::from(self.percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_budget_comes_back_with_the_period() {
        let mut cap = Cap::new(50, Nanos::new(0));
        assert_eq!(cap.left(), Some(Nanos::new(10_000_000)));
        cap.charge(Nanos::new(12_000_000));
        assert!(!cap.permits());
        cap.refresh(Nanos::new(19_999_999));
        assert!(!cap.permits());
        cap.refresh(cap.period_end());
        assert_eq!(
            cap.left(),
            Some(Nanos::new(8_000_000)),
            "debt is carried over"
        );
        cap.refresh(Nanos::new(1_000_000_000));
        assert_eq!(
            cap.left(),
            Some(Nanos::new(10_000_000)),
            "budgets are not saved up"
        );
    }

    #[test]
    fn no_cap_permits_everything() {
        let mut cap = Cap::new(0, Nanos::new(0));
        cap.charge(Nanos::new(u64::MAX));
        assert!(cap.permits());
        assert_eq!(cap.left(), None);
    }
}
