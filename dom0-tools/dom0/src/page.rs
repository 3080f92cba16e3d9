//! A ring page that another domain writes too.

use core::sync::atomic::{Ordering, fence};

use dom0_services::shared_page::SharedPage;
use guest_kernel::paging::Memory;

/// A mapped page; all accesses are atomic, as the other side's are.
#[derive(Debug)]
pub(crate) struct RingPage(Memory);

impl RingPage {
    pub(crate) const fn new(memory: Memory) -> Self {
        Self(memory)
    }
}

impl SharedPage for RingPage {
    fn load(&self, offset: usize) -> u32 {
        self.0.u32(offset).load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.0.u32(offset).store(value, Ordering::Release);
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let shared = self.0.bytes(offset, to.len());
        for (byte, shared) in to.iter_mut().zip(shared) {
            *byte = shared.load(Ordering::Relaxed);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (byte, shared) in from.iter().zip(self.0.bytes(offset, from.len())) {
            shared.store(*byte, Ordering::Relaxed);
        }
    }

    fn barrier(&self) {
        fence(Ordering::SeqCst);
    }
}
