//! Turns a kernel's bytes into a load plan.
#![no_std]
#![forbid(unsafe_code)]
