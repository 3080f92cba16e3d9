//! Frames, requests and replies between dom0 and its clients.
#![no_std]
#![forbid(unsafe_code)]
