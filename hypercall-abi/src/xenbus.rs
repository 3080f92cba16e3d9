//! States of a device's two ends, as written into their `state` nodes in decimal.

constants! {
    /// No node, or an unreadable one.
    XENBUS_STATE_UNKNOWN: u32 = 0 => "XenbusStateUnknown";
    /// Just made.
    XENBUS_STATE_INITIALISING: u32 = 1 => "XenbusStateInitialising";
    /// Waits for the other end.
    XENBUS_STATE_INIT_WAIT: u32 = 2 => "XenbusStateInitWait";
    /// Has published its part.
    XENBUS_STATE_INITIALISED: u32 = 3 => "XenbusStateInitialised";
    /// Works.
    XENBUS_STATE_CONNECTED: u32 = 4 => "XenbusStateConnected";
    /// Ends, or ended with an error.
    XENBUS_STATE_CLOSING: u32 = 5 => "XenbusStateClosing";
    /// Ended.
    XENBUS_STATE_CLOSED: u32 = 6 => "XenbusStateClosed";
    /// Takes new options.
    XENBUS_STATE_RECONFIGURING: u32 = 7 => "XenbusStateReconfiguring";
    /// Has taken new options.
    XENBUS_STATE_RECONFIGURED: u32 = 8 => "XenbusStateReconfigured";
}
