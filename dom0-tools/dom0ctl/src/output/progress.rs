//! A progress bar on standard error while a request goes on; nothing where nobody looks.

use crate::output::units::span;
use crate::size::human;
use dom0_protocol::Progress;
use dom0_protocol::progress::{Phase, Unit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar that follows [`Progress`].
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    name: String,
}

impl Meter {
    /// A bar for something called `name`, drawn only if `visible`.
    #[must_use]
    pub fn new(name: impl Into<String>, visible: bool) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} [{bar:30}]") {
            bar.set_style(style.progress_chars("=> "));
        }
        if visible {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self {
            bar,
            name: name.into(),
        }
    }

    /// Shows the latest news.
    pub fn show(&self, progress: &Progress) {
        let whole = progress.target.abs_diff(progress.from);
        let missing = progress.target.abs_diff(progress.now).min(whole);
        self.bar.set_length(whole.max(1));
        self.bar.set_position(whole - missing);
        self.bar.set_message(self.sentence(progress));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn sentence(&self, progress: &Progress) -> String {
        let Self { name, bar } = self;
        let amount = |value: u64| match progress.unit {
            Unit::Bytes => human(value),
            Unit::Vcpus => format!("{value} vCPUs"),
            Unit::Domains => format!("{value} domains"),
            Unit::Percent => format!("{value}%"),
        };
        let (now, target) = (amount(progress.now), amount(progress.target));
        let mut text = match progress.phase {
            Phase::Uploading => format!("{name}: {now} of {target} sent"),
            Phase::Building => format!("{name}: building, {now} of {target}"),
            Phase::WaitingForDriver => format!("{name}: waiting for the guest's driver"),
            Phase::Changing => format!("{name}: {now} on the way to {target}"),
            Phase::ShuttingDown => format!("{name}: shutting down"),
            Phase::Destroying => format!("{name}: destroying, {now} left"),
            Phase::Live => format!("{name}: live"),
        };
        if !progress.note.is_empty() {
            text = format!("{text} ({})", progress.note);
        }
        let elapsed = u64::try_from(bar.elapsed().as_nanos()).unwrap_or(u64::MAX);
        format!("{text}, {}", span(elapsed))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.finish();
    }
}
