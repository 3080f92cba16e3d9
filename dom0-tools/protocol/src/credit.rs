//! Flow control of one direction of one stream: data is sent only as far as the receiver has announced room.
//!
//! Only [`Kind::Data`](crate::Kind::Data) counts. A client's room for the server's data is [`SERVER_START`] from the
//! beginning; the server's room for a client's data begins with nothing, so the server's first window frame is also its
//! word that data is wanted at all (an upload of known content never is).

/// How many bytes of data a server may send on a new stream before the client's first window frame.
pub const SERVER_START: u32 = 64 * 1024;

/// The most room that may be announced and unused at a time.
pub const MAX_CREDIT: u32 = 16 * 1024 * 1024;

/// The other side announced more room than [`MAX_CREDIT`], or sent more than it had room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side broke the window of a stream")]
pub struct WindowBroken;

/// The sending end: room that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit(u32);

impl Credit {
    /// Room for `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }

    /// How many bytes may be sent now.
    #[must_use]
    pub const fn available(self) -> u32 {
        self.0
    }

    /// The other side has announced more.
    ///
    /// # Errors
    /// [`WindowBroken`] when that is beyond [`MAX_CREDIT`] in all.
    pub fn grant(&mut self, more: u32) -> Result<(), WindowBroken> {
        let sum = self.0.checked_add(more).ok_or(WindowBroken)?;
        if sum > MAX_CREDIT {
            return Err(WindowBroken);
        }
        self.0 = sum;
        Ok(())
    }

    /// Uses as much of `wanted` bytes as there is room for, and says how much.
    pub fn take(&mut self, wanted: usize) -> usize {
        let part = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.0);
        self.0 -= part;
        usize::try_from(part).unwrap_or(0)
    }
}

/// The receiving end: announces room again as bytes are consumed, half a window at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    window: u32,
    /// Bytes that the other side may still send.
    open: u32,
    /// Bytes consumed and not yet announced.
    consumed: u32,
}

impl Receiver {
    /// A receiver that keeps up to `window` bytes, of which the other side knows of `announced`.
    #[must_use]
    pub const fn new(window: u32, announced: u32) -> Self {
        Self {
            window,
            open: announced,
            consumed: window.saturating_sub(announced),
        }
    }

    /// Data has arrived.
    ///
    /// # Errors
    /// [`WindowBroken`] when it is more than was announced.
    pub fn receive(&mut self, bytes: usize) -> Result<(), WindowBroken> {
        let bytes = u32::try_from(bytes).map_err(|_| WindowBroken)?;
        self.open = self.open.checked_sub(bytes).ok_or(WindowBroken)?;
        Ok(())
    }

    /// Received data has been used up.
    pub fn consume(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.consumed = self.consumed.saturating_add(bytes).min(self.window);
    }

    /// What to announce now, if it is worth a frame.
    pub fn announce(&mut self) -> Option<u32> {
        if self.consumed == 0 || self.consumed < self.window / 2 {
            return None;
        }
        let more = core::mem::take(&mut self.consumed);
        self.open = self.open.saturating_add(more);
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_sent_than_was_announced() {
        let mut credit = Credit::new(100);
        assert_eq!(credit.take(60), 60);
        assert_eq!(credit.take(60), 40);
        assert_eq!(credit.take(1), 0);
        credit.grant(5).unwrap();
        assert_eq!(credit.take(60), 5);
    }

    #[test]
    fn boundless_room_is_refused() {
        let mut credit = Credit::new(1);
        assert_eq!(credit.grant(MAX_CREDIT), Err(WindowBroken));
        assert_eq!(credit.grant(u32::MAX), Err(WindowBroken));
        assert_eq!(credit.available(), 1);
    }

    #[test]
    fn a_receiver_announces_in_halves_and_sees_who_sends_too_much() {
        let mut receiver = Receiver::new(100, 0);
        assert_eq!(receiver.receive(1), Err(WindowBroken));
        assert_eq!(receiver.announce(), Some(100));
        receiver.receive(70).unwrap();
        receiver.consume(49);
        assert_eq!(receiver.announce(), None);
        receiver.consume(21);
        assert_eq!(receiver.announce(), Some(70));
        receiver.receive(100).unwrap();
        assert_eq!(receiver.receive(1), Err(WindowBroken));
    }
}
