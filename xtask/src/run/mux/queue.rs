//! What waits for one client: bounded, so that a client that does not read costs no more than that.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The most that may wait. Sixteen streams with the largest window each stay below it only when the client reads.
const BOUND: usize = 32 * 1024 * 1024;

/// The queue is full or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overrun;

/// Whole frames, as bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame, without ever waiting.
    pub(crate) fn push(&self, frame: Vec<u8>) -> Result<(), Overrun> {
        let mut state = self.lock();
        if state.closed || state.bytes.saturating_add(frame.len()) > BOUND {
            return Err(Overrun);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        self.changed.notify_one();
        Ok(())
    }

    /// The next frame, waited for; `None` when the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if let Some(frame) = state.frames.pop_front() {
                state.bytes -= frame.len();
                return Some(frame);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more; what is there can still be popped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_before_the_end_still_comes_out() {
        let queue = Queue::default();
        queue.push(vec![1]).unwrap();
        queue.close();
        assert_eq!(queue.push(vec![2]), Err(Overrun));
        assert_eq!(queue.pop(), Some(vec![1]));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_full_queue_refuses_and_does_not_wait() {
        let queue = Queue::default();
        queue.push(vec![0; BOUND]).unwrap();
        assert_eq!(queue.push(vec![0]), Err(Overrun));
        assert!(queue.pop().is_some());
        assert_eq!(queue.push(vec![0]), Ok(()));
    }
}
