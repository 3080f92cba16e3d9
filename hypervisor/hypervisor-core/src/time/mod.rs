//! Time: the clock that guests compute, their timers, the date, and what they are told of their runstates.

pub mod clock;
pub mod runstate;
pub mod timer;
pub mod wallclock;
