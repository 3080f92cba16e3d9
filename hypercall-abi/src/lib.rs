//! The guest ABI: what guests, hypervisor, dom0 and docs agree on. No logic.
#![no_std]
#![forbid(unsafe_code)]
