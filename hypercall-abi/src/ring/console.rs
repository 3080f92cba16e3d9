//! The console ring: two byte streams in one page.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The page's used part. The server drains `output` always, and notifies after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ConsoleRing {
    /// Bytes to the guest.
    pub input: [u8; INPUT_SIZE],
    /// Bytes from the guest.
    pub output: [u8; OUTPUT_SIZE],
    /// How far the guest has read.
    pub in_cons: u32,
    /// How far the server has written.
    pub in_prod: u32,
    /// How far the server has read.
    pub out_cons: u32,
    /// How far the guest has written.
    pub out_prod: u32,
}
layout!(ConsoleRing = "struct xencons_interface": 3088 {
    input = "in" @ 0, output = "out" @ 1024, in_cons @ 3072, in_prod @ 3076, out_cons @ 3080, out_prod @ 3084,
});

/// Bytes of the stream to the guest.
pub const INPUT_SIZE: usize = 1024;
/// Bytes of the stream from the guest.
pub const OUTPUT_SIZE: usize = 2048;
