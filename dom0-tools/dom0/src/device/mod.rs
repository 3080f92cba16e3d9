//! The virtio console of the control channel, driven by interrupts.
//!
//! `pci` finds the device by the hypervisor's configuration operations, `transport` reaches its registers, `dma` gives it
//! machine-contiguous memory, `channel` moves bytes. The device is trusted: it may write wherever its queues say, and so
//! is dom0, which fills the queues.

mod channel;
mod dma;
mod pci;
mod transport;

pub(crate) use channel::Channel;
