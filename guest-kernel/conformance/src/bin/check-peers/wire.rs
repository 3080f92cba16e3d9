//! What a peer and its asker tell each other through a page of the peer's: words by index, requests and answers in turn.

/// The grant by which a peer lends its page.
pub(crate) const REFERENCE: u64 = 20;

/// Stands in [`READY`] when the page is filled in.
pub(crate) const MAGIC: u64 = 0x7065_6572_7061_6972;

/// Last word that the peer writes before it waits.
pub(crate) const READY: u64 = 0;
/// The peer's port, which waits for the asker or is bound to it.
pub(crate) const PORT: u64 = 1;
/// Where the peer has this page.
pub(crate) const PAGE: u64 = 2;
/// Where the peer has the page that it shares with the hypervisor.
pub(crate) const SHARED: u64 = 3;
/// Where the peer has its grant table.
pub(crate) const TABLE: u64 = 4;

/// Counts requests.
pub(crate) const REQUEST: u64 = 16;
/// What is asked for.
pub(crate) const COMMAND: u64 = 17;
/// With these values.
pub(crate) const VALUES: u64 = 18;
/// How many values there are.
pub(crate) const VALUE_COUNT: usize = 6;
/// What a call carries in R9.
pub(crate) const MARK: u64 = 24;
/// If not 0, the answer comes first, and the deed so many nanoseconds later.
pub(crate) const DELAY: u64 = 25;

/// The last request that was answered.
pub(crate) const ANSWERED: u64 = 32;
/// The answer's first value.
pub(crate) const FIRST: u64 = 33;
/// The answer's second value.
pub(crate) const SECOND: u64 = 34;

/// From here on the page is for structures that calls read and write.
pub(crate) const STRUCTURES: u64 = 64;

/// A hypercall: its number and five arguments. Answers its result.
pub(crate) const CALL: u64 = 1;
/// Reads the word at an address. Answers the word, and the vector of the exception that came instead or 0.
pub(crate) const READ: u64 = 2;
/// Writes a word: address and value. Answers as [`READ`].
pub(crate) const WRITE: u64 = 3;
/// Changes a word at once: address, bits that are kept, bits that are set. Answers what was there.
pub(crate) const CHANGE: u64 = 4;
/// Takes a page. Answers its address and its frame.
pub(crate) const TAKE: u64 = 5;
/// Resets all ports; [`PORT`] is a new one when it is answered. Answers the call's result.
pub(crate) const RESET: u64 = 6;
/// Changes to FIFO queues: frame of the control block, frame of the event words and their address.
pub(crate) const QUEUES: u64 = 7;
