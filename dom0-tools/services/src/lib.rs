//! dom0's services as pure state machines.
#![no_std]
#![forbid(unsafe_code)]
