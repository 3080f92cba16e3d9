//! Which connection a frame belongs to: the multiplexer's decisions, without its sockets.

use std::collections::BTreeMap;

use dom0_protocol::{ClientMessage, Frame, Kind, StreamId};

/// How many clients are served at a time.
pub(crate) const MOST: usize = 16;

/// Connection numbers and their states.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    connections: BTreeMap<u16, State>,
    last: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A client is there.
    Open,
    /// The client has gone and dom0 has yet to say that it knows: the number is not free.
    Closing,
}

impl Switch {
    /// A number for a new client; `None` when there are enough already.
    pub(crate) fn admit(&mut self) -> Option<u16> {
        let open = self
            .connections
            .values()
            .filter(|&&state| state == State::Open);
        if open.count() >= MOST {
            return None;
        }
        // Ever onward, so that a number comes back as late as possible.
        let number = (1..=u16::MAX)
            .map(|step| self.last.wrapping_add(step))
            .find(|number| *number != 0 && !self.connections.contains_key(number))?;
        self.last = number;
        self.connections.insert(number, State::Open);
        Some(number)
    }

    /// A client has gone: what to tell dom0.
    pub(crate) fn gone(&mut self, connection: u16) -> Option<Frame> {
        let state = self.connections.get_mut(&connection)?;
        if *state == State::Closing {
            return None;
        }
        *state = State::Closing;
        ClientMessage::Close
            .encode(StreamId::of_connection(connection))
            .ok()
    }

    /// A frame of dom0: whom it is for, as that client shall see it.
    pub(crate) fn inbound(&mut self, frame: Frame) -> Option<(u16, Frame)> {
        let connection = frame.stream().connection();
        match self.connections.get(&connection)? {
            State::Open => Some((connection, frame.in_connection(0))),
            State::Closing => {
                if frame.kind() == Kind::Close && frame.stream().local() == 0 {
                    self.connections.remove(&connection);
                }
                None
            }
        }
    }
}

/// A frame of a client, as dom0 shall see it; `None` for what clients may not say.
pub(crate) fn outbound(connection: u16, frame: Frame) -> Option<Frame> {
    (frame.kind() != Kind::Reset).then(|| frame.in_connection(connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: Kind, connection: u16, local: u16) -> Frame {
        Frame::new(kind, StreamId::new(connection, local), Vec::new()).unwrap()
    }

    #[test]
    fn streams_of_two_clients_are_kept_apart() {
        let mut switch = Switch::default();
        let (a, b) = (switch.admit().unwrap(), switch.admit().unwrap());
        assert_ne!(a, b);
        let up = outbound(b, frame(Kind::Open, 0, 7)).unwrap();
        assert_eq!(up.stream(), StreamId::new(b, 7));
        let (to, down) = switch.inbound(frame(Kind::Done, b, 7)).unwrap();
        assert_eq!((to, down.stream()), (b, StreamId::new(0, 7)));
        assert!(switch.inbound(frame(Kind::Done, 99, 7)).is_none());
    }

    #[test]
    fn a_number_is_not_given_again_before_dom0_has_closed_it() {
        let mut switch = Switch::default();
        let first = switch.admit().unwrap();
        let farewell = switch.gone(first).unwrap();
        assert_eq!(
            (farewell.kind(), farewell.stream()),
            (Kind::Close, StreamId::new(first, 0))
        );
        assert!(switch.gone(first).is_none());
        switch.last = first - 1;
        assert_ne!(switch.admit().unwrap(), first);
        assert!(switch.inbound(frame(Kind::Done, first, 3)).is_none());
        assert!(switch.inbound(frame(Kind::Close, first, 0)).is_none());
        switch.last = first - 1;
        assert_eq!(switch.admit().unwrap(), first);
    }

    #[test]
    fn the_seventeenth_client_is_refused() {
        let mut switch = Switch::default();
        let numbers: Vec<u16> = (0..MOST).map(|_| switch.admit().unwrap()).collect();
        assert!(switch.admit().is_none());
        switch.gone(numbers[3]);
        assert!(switch.admit().is_some());
    }

    #[test]
    fn a_client_cannot_reset_the_others() {
        assert!(outbound(1, frame(Kind::Reset, 0, 0)).is_none());
    }
}
