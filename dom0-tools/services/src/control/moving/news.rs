//! What a client hears of its move.

use super::{Moving, Side, Stage};
use crate::{
    control::{host::Host, manager::Manager, size::Size},
    resources::bytes_of,
};
use alloc::{format, string::String, vec::Vec};
use dom0_protocol::{
    Progress, Reply,
    progress::{Phase, Unit},
    reply::Moved,
};

impl<H: Host> Manager<H> {
    /// Tells the client how it ended, if there still is one.
    pub(super) fn end_move(&mut self, moving: &mut Moving) {
        let now = |side: &Side| bytes_of(self.living(side).unwrap_or(0));
        let (from_memory_bytes, to_memory_bytes) = (now(&moving.from), now(&moving.to));
        let Some(failure) = moving.failure.take() else {
            let reply = Reply::Moved(Moved {
                from: moving.from.name.clone(),
                to: moving.to.name.clone(),
                moved_bytes: bytes_of(moving.frames),
                from_memory_bytes,
                to_memory_bytes,
                elapsed_ns: self.host.now().saturating_sub(moving.started),
            });
            self.done(moving.stream, reply);
            return;
        };
        let mut error = *failure;
        let both: Vec<String> = [&moving.from, &moving.to]
            .into_iter()
            .filter_map(|side| {
                let owned = Size(bytes_of(self.living(side)?));
                Some(format!("`{}` has {owned}", side.name))
            })
            .collect();
        error.message = format!(
            "{}; the move was turned back: {}",
            error.message,
            both.join(", ")
        );
        if self.is_awaited(moving) {
            self.fail(moving.stream, error);
        } else {
            log::info!("{}", error.message);
        }
    }

    pub(super) fn tell_moving(&mut self, moving: &mut Moving, count: u64) {
        if moving.told == Some(count) || !self.is_awaited(moving) {
            return;
        }
        moving.told = Some(count);
        let way = |to: u64| bytes_of(moving.change.previous.abs_diff(to));
        let verb = match moving.stage {
            Stage::Giving => "gives",
            Stage::Taking => "takes",
            Stage::TakingBack => "gives back",
            Stage::GivingBack => "gets back",
        };
        let progress = Progress {
            phase: Phase::Changing,
            unit: Unit::Bytes,
            from: 0,
            now: way(count),
            target: way(moving.change.wanted),
            note: format!("{} {verb}", moving.turn().name),
        };
        self.tell(moving.stream, progress);
    }
}
