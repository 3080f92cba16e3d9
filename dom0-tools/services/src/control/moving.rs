//! Memory from one running domain to another: all of it, or none.
//!
//! First the giver's balloon gives, then the taker's takes. What has been given and not been taken yet is nobody else's:
//! admission counts it as promised. Whatever goes wrong (a guest that does not comply, a deadline, a domain that ends, a client
//! that goes away, another target for one of the two) turns the move back: the taker gives what it took, then the giver gets its
//! own again. A move lives here and not in its stream, so it is turned back also when nobody listens any more.

mod news;

use super::{
    change::{hint, shortfall, superseded},
    domain::{Domain, Key, Life},
    host::{Host, HostError},
    manager::{Manager, Next},
    size::Size,
    stream::{Resource, Work},
    words,
};
use crate::{
    DomId,
    resources::{Change, FRAME_BYTES, Refusal, Verdict, bytes_of},
};
use alloc::{boxed::Box, format};
use dom0_protocol::{
    DomainName, ErrorCode, ErrorReply, StreamId, domain::DomainState, progress::Unit, request::Move,
};

/// While memory moves, dom0 looks this often how far it is. Nanoseconds.
const LOOK_INTERVAL_NS: u64 = 20_000_000;
/// How long a guest may take to turn a move back. Nanoseconds.
const TURN_BACK_NS: u64 = 10_000_000_000;

/// One of the two domains.
#[derive(Clone, Debug)]
struct Side {
    key: Key,
    id: DomId,
    name: DomainName,
    /// Frames that it owned before.
    owned: u64,
    /// The target that stood before.
    wanted: u64,
    /// The turn of the last target that the move has set or found.
    turn: u64,
}

/// Where a move is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The giver gives.
    Giving,
    /// The taker takes.
    Taking,
    /// It has failed: the taker gives back what it took.
    TakingBack,
    /// It has failed: the giver gets its own again.
    GivingBack,
}

/// A move under way.
#[derive(Debug)]
pub(super) struct Moving {
    /// Whose request it is; that stream may have gone.
    stream: StreamId,
    serial: u64,
    from: Side,
    to: Side,
    frames: u64,
    stage: Stage,
    /// What the guest whose turn it is does.
    change: Change,
    /// How long each guest may take.
    timeout: u64,
    started: u64,
    told: Option<u64>,
    failure: Option<Box<ErrorReply>>,
}

/// What a look at a move finds.
enum Found {
    NotYet(u64),
    /// The guest whose turn it was is through.
    Through,
    Failed(ErrorReply),
}

impl Moving {
    /// Whose turn it is.
    const fn turn(&self) -> &Side {
        match self.stage {
            Stage::Giving | Stage::GivingBack => &self.from,
            Stage::Taking | Stage::TakingBack => &self.to,
        }
    }
}

impl<H: Host> Manager<H> {
    pub(super) fn begin_move(&mut self, id: StreamId, wish: &Move) -> Result<(), ErrorReply> {
        let (from, to) = (self.find_made(&wish.from)?, self.find_made(&wish.to)?);
        let frames = wish.bytes / FRAME_BYTES;
        if frames == 0 || from == to {
            let text = "a move is of some memory from one domain to another";
            return Err(ErrorReply::new(ErrorCode::InvalidArgument, text)
                .hint("name two domains and an amount such as 64MiB"));
        }
        let (from, to) = (self.side(from)?, self.side(to)?);
        self.check_move(&from, &to, frames)?;
        let started = self.host.now();
        let timeout = u64::from(wish.timeout_ms) * 1_000_000;
        let serial = self.fresh_key().0;
        let mut moving = Moving {
            stream: id,
            serial,
            change: Change::new(from.owned, from.owned - frames, started, timeout),
            from,
            to,
            frames,
            stage: Stage::Giving,
            timeout,
            started,
            told: None,
            failure: None,
        };
        let target = moving.from.owned - frames;
        (_, moving.from.turn) = self.set_target(moving.from.key, Resource::Memory, target);
        self.moves.push(moving);
        self.work_on(id, Work::Moving { serial }, 0);
        Ok(())
    }

    fn side(&self, key: Key) -> Result<Side, ErrorReply> {
        let (record, domain) = self.changeable(key)?;
        Ok(Side {
            key,
            id: domain.id,
            name: domain.name.clone(),
            owned: record.frames,
            wanted: domain.memory.wanted,
            turn: domain.memory.turn,
        })
    }

    /// Refuses what the two domains' bounds do not allow.
    fn check_move(&self, from: &Side, to: &Side, frames: u64) -> Result<(), ErrorReply> {
        let (Some(giver), Some(taker)) = (self.domains.get(&from.key), self.domains.get(&to.key))
        else {
            return Err(words::guest_gone(&from.name));
        };
        let minimum = self
            .guest_minimum(giver)
            .unwrap_or(giver.config.minimum_frames.min(from.owned));
        let rest = from.owned.saturating_sub(frames);
        if rest < minimum {
            let can = from.owned.saturating_sub(minimum);
            let text = format!(
                "domain `{}` has {}, needs {} and cannot give {}",
                from.name,
                Size(bytes_of(from.owned)),
                Size(bytes_of(minimum)),
                Size(bytes_of(frames)),
            );
            return Err(ErrorReply::new(ErrorCode::BelowMinimum, text)
                .hint(format!("move {} or less", Size(bytes_of(can) >> 20 << 20)))
                .amounts(Unit::Bytes, bytes_of(frames), bytes_of(can)));
        }
        let target = to.owned.saturating_add(frames);
        let maximum = taker.config.max_frames;
        if target > maximum {
            let wanted = target;
            return Err(words::refusal(&Refusal::OverMaximum { wanted, maximum }));
        }
        self.check_growth(taker, target)
    }

    /// Frames that moves keep for those whom they are meant for, beyond what targets say.
    pub(super) fn kept_by_moves(&self) -> Result<u64, HostError> {
        let mut kept = 0_u64;
        for moving in &self.moves {
            let owned = |side: &Side| {
                let record = self.record(side.id)?;
                Ok(record.map_or(0, |record| record.frames))
            };
            let frames = match moving.stage {
                Stage::Giving => moving.from.owned.saturating_sub(owned(&moving.from)?),
                Stage::TakingBack => {
                    let held = owned(&moving.to)?.saturating_sub(moving.to.owned);
                    moving.frames.saturating_sub(held)
                }
                Stage::Taking | Stage::GivingBack => 0,
            };
            kept = kept.saturating_add(frames.min(moving.frames));
        }
        Ok(kept)
    }

    /// Goes on with all moves.
    pub(super) fn step_moves(&mut self, next: &mut Next) {
        for mut moving in core::mem::take(&mut self.moves) {
            if self.step_move(&mut moving, next) {
                self.moves.push(moving);
            }
        }
    }

    /// Goes on with one; false when it is over.
    fn step_move(&mut self, moving: &mut Moving, next: &mut Next) -> bool {
        match self.look_at(moving) {
            Found::NotYet(count) => {
                next.by(self.host.now().saturating_add(LOOK_INTERVAL_NS));
                self.tell_moving(moving, count);
                true
            }
            Found::Failed(error) => self.turn_back(moving, error),
            Found::Through => match moving.stage {
                Stage::Giving => {
                    next.again = true;
                    let target = moving.to.owned + moving.frames;
                    (_, moving.to.turn) = self.set_target(moving.to.key, Resource::Memory, target);
                    self.next_stage(moving, Stage::Taking, moving.to.owned, target);
                    true
                }
                Stage::Taking => {
                    self.end_move(moving);
                    false
                }
                Stage::TakingBack => self.give_back(moving),
                Stage::GivingBack => {
                    self.end_move(moving);
                    false
                }
            },
        }
    }

    fn next_stage(&self, moving: &mut Moving, stage: Stage, from: u64, target: u64) {
        let limit = match stage {
            Stage::Giving | Stage::Taking => moving.timeout,
            Stage::TakingBack | Stage::GivingBack => TURN_BACK_NS,
        };
        moving.change = Change::new(from, target, self.host.now(), limit);
        moving.stage = stage;
        moving.told = None;
    }

    fn look_at(&self, moving: &mut Moving) -> Found {
        let forward = matches!(moving.stage, Stage::Giving | Stage::Taking);
        if forward {
            for side in [&moving.from, &moving.to] {
                if self.living(side).is_none() {
                    return Found::Failed(words::guest_gone(&side.name));
                }
                if !self.is_still_ours(side) {
                    return Found::Failed(superseded());
                }
            }
            if !self.is_awaited(moving) {
                let text = "the client went away before the move was done";
                return Found::Failed(ErrorReply::new(ErrorCode::Superseded, text));
            }
        }
        let side = moving.turn();
        let Some(count) = self.living(side).filter(|_| self.is_still_ours(side)) else {
            return Found::Through;
        };
        let ready = self.has_balloon_driver(side.key);
        match moving.change.observe(self.host.now(), count, ready) {
            Verdict::Reached => Found::Through,
            Verdict::Waiting { .. } => Found::NotYet(count),
            // There is nothing left to turn back to.
            Verdict::NotReached(_) if !forward => Found::Through,
            Verdict::NotReached(why) => {
                let (code, reason) = shortfall(why);
                let text = format!(
                    "domain `{}` has {} and not {}: {reason}",
                    moving.turn().name,
                    Size(bytes_of(count)),
                    Size(bytes_of(moving.change.wanted)),
                );
                Found::Failed(ErrorReply::new(code, text).hint(hint(why)))
            }
        }
    }

    /// What a side owns, if it lives the life in which the move found it.
    fn living(&self, side: &Side) -> Option<u64> {
        let domain = self.domains.get(&side.key)?;
        let same = domain.id == side.id && matches!(domain.life, Life::Started);
        let record = self.record(side.id).ok().flatten().filter(|_| same)?;
        let ended = matches!(
            domain.state(Some(&record)),
            DomainState::Shutdown | DomainState::Crashed | DomainState::Dying
        );
        (!ended).then_some(record.frames)
    }

    /// Whether nobody else has set a target since.
    fn is_still_ours(&self, side: &Side) -> bool {
        let domain: Option<&Domain<H::Page>> = self.domains.get(&side.key);
        domain.is_some_and(|domain| domain.memory.turn == side.turn)
    }

    fn is_awaited(&self, moving: &Moving) -> bool {
        let stream = self.streams.get(&moving.stream);
        stream.is_some_and(
            |stream| matches!(stream.work, Work::Moving { serial } if serial == moving.serial),
        )
    }

    /// It has failed: begins to turn it back. False when there is nothing to turn back.
    fn turn_back(&mut self, moving: &mut Moving, error: ErrorReply) -> bool {
        log::warn!(
            "move from `{}` to `{}`: turned back: {}",
            moving.from.name,
            moving.to.name,
            error.message
        );
        moving.failure = Some(Box::new(error));
        let took = moving.stage == Stage::Taking && self.is_still_ours(&moving.to);
        match self.living(&moving.to) {
            Some(owned) if took => {
                let (key, before) = (moving.to.key, moving.to.wanted);
                (_, moving.to.turn) = self.set_target(key, Resource::Memory, before);
                self.next_stage(moving, Stage::TakingBack, owned, moving.to.owned);
                true
            }
            Some(_) | None => self.give_back(moving),
        }
    }

    /// The taker has given back what it could: the giver gets that. False when there is no giver any more.
    fn give_back(&mut self, moving: &mut Moving) -> bool {
        let kept = self
            .living(&moving.to)
            .filter(|_| moving.stage == Stage::TakingBack);
        let kept = kept.map_or(0, |owned| owned.saturating_sub(moving.to.owned));
        if kept > 0 && self.is_still_ours(&moving.to) {
            // It does not let go: then at least the books say so.
            let target = moving.to.owned + kept;
            (_, moving.to.turn) = self.set_target(moving.to.key, Resource::Memory, target);
        }
        let owned = self.living(&moving.from);
        let Some(owned) = owned.filter(|_| self.is_still_ours(&moving.from)) else {
            self.end_move(moving);
            return false;
        };
        let rest = kept.min(moving.frames);
        let target = moving.from.wanted.saturating_sub(rest);
        (_, moving.from.turn) = self.set_target(moving.from.key, Resource::Memory, target);
        self.next_stage(
            moving,
            Stage::GivingBack,
            owned,
            moving.from.owned.saturating_sub(rest),
        );
        true
    }
}
