//! What a guest's balloon driver says of itself. Claims bind nobody but the guest that makes them.

use super::{domain::Domain, host::Host, manager::Manager, size::Size};
use crate::{
    resources::{bytes_of, frames_of},
    xenstore::Path,
};
use alloc::format;
use dom0_protocol::{ErrorCode, ErrorReply, progress::Unit};

/// Where a guest's driver may report, as JSON, and the fields that say how far its balloon goes down and up.
const GUEST_REPORT: &str = "data/balloon";
const GUEST_MINIMUM: &str = "\"minimum_kib\":";
const GUEST_MAXIMUM: &str = "\"maximum_kib\":";

impl<H: Host> Manager<H> {
    /// Refuses to grow a guest beyond what it was started with, if it has not said that it can.
    pub(super) fn check_growth(
        &self,
        domain: &Domain<H::Page>,
        target: u64,
    ) -> Result<(), ErrorReply> {
        let most = domain
            .born_max_frames
            .max(self.guest_maximum(domain).unwrap_or(0));
        if target <= most {
            return Ok(());
        }
        let (target, most) = (bytes_of(target), bytes_of(most));
        let text = format!(
            "the guest of `{}` cannot use more than {} until it is started anew",
            domain.name,
            Size(most)
        );
        Err(ErrorReply::new(ErrorCode::OverMaximum, text)
            .hint(format!(
                "ask for less, or `dom0ctl reboot {}` first",
                domain.name
            ))
            .amounts(Unit::Bytes, target, most))
    }

    /// What a guest says of how far down its balloon goes, in frames: a claim that binds nobody but itself.
    pub(super) fn guest_minimum(&self, domain: &Domain<H::Page>) -> Option<u64> {
        self.guest_claim(domain, GUEST_MINIMUM)
    }

    /// What a guest says of how far it can grow, in frames, whatever it was started with.
    pub(super) fn guest_maximum(&self, domain: &Domain<H::Page>) -> Option<u64> {
        self.guest_claim(domain, GUEST_MAXIMUM)
    }

    fn guest_claim(&self, domain: &Domain<H::Page>, field: &str) -> Option<u64> {
        let report = self
            .store
            .value(&Path::home(domain.id).below(GUEST_REPORT))?;
        let (_, rest) = core::str::from_utf8(report).ok()?.split_once(field)?;
        let mut digits = rest.split(|character: char| !character.is_ascii_digit());
        let kib: u64 = digits.next()?.parse().ok()?;
        Some(frames_of(kib.checked_mul(1024)?))
    }
}
