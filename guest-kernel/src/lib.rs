//! A library for kernels that run as PV domains.
#![no_std]
