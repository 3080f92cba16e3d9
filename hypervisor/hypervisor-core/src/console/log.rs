//! The ring of the hypervisor's log and of what the first domain prints, which dom0 reads.

use crate::sync::{AtomicU64, Ordering, Ranked, rank};

/// Bytes of the log that are kept.
pub const LOG_BYTES: usize = 64 * 1024;

/// The hypervisor's log, the last [`LOG_BYTES`] of it. A position is the number of bytes written before it since boot.
#[derive(Debug)]
pub struct LogRing {
    bytes: [u8; LOG_BYTES],
    written: u64,
}

impl LogRing {
    /// An empty log.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LOG_BYTES],
            written: 0,
        }
    }

    /// The position behind the last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.written
    }

    /// Appends.
    pub fn write(&mut self, text: &[u8]) {
        WRITES.fetch_add(1, Ordering::Relaxed);
        let mut rest = text;
        while !rest.is_empty() {
            let room = self.bytes.get_mut(index(self.written)..);
            let room = room.unwrap_or_default();
            let (now, later) = rest.split_at_checked(room.len()).unwrap_or((rest, &[]));
            for (slot, byte) in room.iter_mut().zip(now) {
                *slot = *byte;
            }
            let count = u64::try_from(now.len()).unwrap_or(0);
            self.written = self.written.saturating_add(count);
            rest = later;
        }
    }

    /// Copies from position `from` on, or from the oldest byte kept if that is later. Gives the bytes copied and the
    /// position behind them.
    pub fn read(&self, from: u64, to: &mut [u8]) -> (usize, u64) {
        let oldest = self
            .written
            .saturating_sub(u64::try_from(LOG_BYTES).unwrap_or(u64::MAX));
        let mut position = from.clamp(oldest, self.written);
        let mut copied = 0_usize;
        for slot in to {
            if position >= self.written {
                break;
            }
            *slot = self.bytes.get(index(position)).copied().unwrap_or(0);
            position = position.saturating_add(1);
            copied = copied.saturating_add(1);
        }
        (copied, position)
    }
}

impl Default for LogRing {
    fn default() -> Self {
        Self::new()
    }
}

fn index(position: u64) -> usize {
    let size = u64::try_from(LOG_BYTES).unwrap_or(1);
    position
        .checked_rem(size)
        .and_then(|index| usize::try_from(index).ok())
        .unwrap_or(0)
}

/// The log of this hypervisor. Static, because lines are written before there is anything else.
pub static LOG: Ranked<{ rank::CONSOLE }, LogRing> = Ranked::new(LogRing::new());

/// Changes whenever a log is written to, so that nobody needs the lock to see that there is something new.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A number that changes with every write to the log.
pub(crate) fn writes() -> u64 {
    WRITES.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_moves_an_old_cursor_up() {
        let mut log = crate::heap::boxed(LogRing::new()).unwrap();
        log.write(b"hello");
        let mut buffer = [0; 8];
        assert_eq!(log.read(0, &mut buffer), (5, 5));
        assert_eq!(&buffer[..5], b"hello");
        for _ in 0..LOG_BYTES {
            log.write(b"z");
        }
        assert_eq!(log.read(0, &mut buffer), (8, 5 + 8));
        assert_eq!(buffer, [b'z'; 8]);
        assert_eq!(log.read(u64::MAX, &mut buffer), (0, log.end()));
    }
}
