//! Bytes to and from the control channel's other end: port 0 of the virtio console.
//!
//! Both queues use one interrupt, which wakes the serving task; it looks at both. Buffers belong to the device from `add`
//! to `pop_used`, and to this file the rest of the time.

use alloc::sync::Arc;
use alloc::vec::Vec;

use dom0_protocol::Frame;
use guest_kernel::event::Port;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, Transport};

use super::dma::{Buffers, Dma};
use super::transport::{DeviceError, Registers, VECTOR};
use crate::inbox::Inbox;

/// Numbers of port 0's queues.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Buffers that wait for input: QEMU fills 4 KiB at a time.
const RECEIVE_BUFFERS: usize = 32;
const RECEIVE_BYTES: usize = 4096;
/// Buffers for output.
const TRANSMIT_BUFFERS: usize = 4;
const TRANSMIT_BYTES: usize = 64 << 10;
/// Entries of the queues.
const RECEIVE_ENTRIES: usize = 32;
const TRANSMIT_ENTRIES: usize = 4;

/// The one feature that is used: virtio 1.
const VERSION_1: u64 = 1 << 32;

/// The channel.
#[derive(Debug)]
pub(crate) struct Channel {
    registers: Registers,
    receive: VirtQueue<Dma, RECEIVE_ENTRIES>,
    transmit: VirtQueue<Dma, TRANSMIT_ENTRIES>,
    input: Buffers,
    output: Buffers,
    /// The buffer that each token of the receive queue stands for.
    receiving: [usize; RECEIVE_ENTRIES],
    /// The buffer, and how much of it is used, for each token of the transmit queue.
    transmitting: [(usize, usize); TRANSMIT_ENTRIES],
    /// Output buffers that the device does not own.
    free: Vec<usize>,
    /// Encoded frames that no buffer had room for.
    pending: Vec<u8>,
    _interrupt: Port,
}

impl Channel {
    /// Finds the device and starts it; its interrupts wake `inbox`.
    pub(crate) fn open(inbox: Arc<Inbox>) -> Result<Self, DeviceError> {
        let (mut registers, function) = Registers::find()?;
        registers.set_status(DeviceStatus::empty());
        registers.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        if registers.read_device_features() & VERSION_1 == 0 {
            return Err(DeviceError::NoRegisters);
        }
        registers.write_driver_features(VERSION_1);
        let agreed = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        registers.set_status(agreed);
        if !registers.get_status().contains(agreed) {
            return Err(DeviceError::NoRegisters);
        }
        let pirq = function
            .interrupt(u32::from(VECTOR))
            .map_err(DeviceError::Refused)?;
        let interrupt = Port::bind_pirq(pirq).map_err(DeviceError::Refused)?;
        interrupt
            .set_handler(move || inbox.wake())
            .map_err(DeviceError::Refused)?;
        registers.use_interrupt(RECEIVE)?;
        let receive =
            VirtQueue::new(&mut registers, RECEIVE, false, false).map_err(DeviceError::Device)?;
        registers.use_interrupt(TRANSMIT)?;
        let transmit =
            VirtQueue::new(&mut registers, TRANSMIT, false, false).map_err(DeviceError::Device)?;
        registers.finish_init();
        let mut channel = Self {
            registers,
            receive,
            transmit,
            input: Buffers::new(RECEIVE_BUFFERS, RECEIVE_BYTES)?,
            output: Buffers::new(TRANSMIT_BUFFERS, TRANSMIT_BYTES)?,
            receiving: [0; RECEIVE_ENTRIES],
            transmitting: [(0, 0); TRANSMIT_ENTRIES],
            free: (0..TRANSMIT_BUFFERS).collect(),
            pending: Vec::new(),
            _interrupt: interrupt,
        };
        for buffer in 0..RECEIVE_BUFFERS {
            channel.offer(buffer).map_err(DeviceError::Device)?;
        }
        channel.registers.notify(RECEIVE);
        Ok(channel)
    }

    /// Gives all bytes that have come to `take`, and their buffers back to the device.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) {
        let mut offered = false;
        while let Some(token) = self.receive.peek_used() {
            let Some(buffer) = self.receiving.get(usize::from(token)).copied() else {
                log::error!("control channel: the device gave back a buffer that it never had");
                return;
            };
            // SAFETY: the device has used this buffer, so it is about to give it up; nobody else refers to it.
            let bytes = unsafe { self.input.bytes(buffer) };
            // SAFETY: this is the buffer that was added under this token.
            let popped = unsafe { self.receive.pop_used(token, &[], &mut [bytes]) };
            // SAFETY: the device has given it up, and the reference above has ended.
            let bytes = unsafe { self.input.bytes(buffer) };
            let length = popped.map_or(0, |length| usize::try_from(length).unwrap_or(0));
            take(bytes.get(..length).unwrap_or(bytes));
            if let Err(error) = self.offer(buffer) {
                log::error!("control channel: {error}");
                return;
            }
            offered = true;
        }
        if offered && self.receive.should_notify() {
            self.registers.notify(RECEIVE);
        }
    }

    /// Sends frames as long as there are some, and room for them.
    pub(crate) fn send(&mut self, mut next: impl FnMut() -> Option<Frame>) {
        self.reclaim();
        let mut sent = false;
        while let Some(buffer) = self.free.pop() {
            while self.pending.len() < self.output.size() {
                let Some(frame) = next() else {
                    break;
                };
                frame.encode_into(&mut self.pending);
            }
            if self.pending.is_empty() {
                self.free.push(buffer);
                break;
            }
            if let Err(error) = self.fill(buffer) {
                log::error!("control channel: {error}");
                self.free.push(buffer);
                break;
            }
            sent = true;
        }
        if sent && self.transmit.should_notify() {
            self.registers.notify(TRANSMIT);
        }
    }

    /// Takes back the output buffers that the device has sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.transmit.peek_used() {
            let Some((buffer, length)) = self.transmitting.get(usize::from(token)).copied() else {
                log::error!("control channel: the device gave back a buffer that it never had");
                return;
            };
            // SAFETY: the device has used this buffer, so it is about to give it up; nobody else refers to it.
            let bytes = unsafe { self.output.bytes(buffer) };
            let sent = bytes.get(..length).unwrap_or(&[]);
            // SAFETY: these are the bytes that were added under this token.
            if let Err(error) = unsafe { self.transmit.pop_used(token, &[sent], &mut []) } {
                log::error!("control channel: {error}");
                return;
            }
            self.free.push(buffer);
        }
    }

    /// Copies pending bytes into a free output buffer and gives it to the device.
    fn fill(&mut self, buffer: usize) -> Result<(), virtio_drivers::Error> {
        // SAFETY: the buffer is free: the device does not own it, and nobody refers to it.
        let bytes = unsafe { self.output.bytes(buffer) };
        let length = self.pending.len().min(bytes.len());
        let (to, _) = bytes.split_at_mut(length);
        to.copy_from_slice(self.pending.get(..length).unwrap_or(&[]));
        // SAFETY: from here to `pop_used` nobody refers to the buffer, and it lives as long as the queue.
        let token = unsafe { self.transmit.add(&[to], &mut []) }?;
        if let Some(slot) = self.transmitting.get_mut(usize::from(token)) {
            *slot = (buffer, length);
        }
        self.pending.drain(..length);
        Ok(())
    }

    /// Gives an input buffer to the device.
    fn offer(&mut self, buffer: usize) -> Result<(), virtio_drivers::Error> {
        // SAFETY: the device does not own the buffer, and nobody refers to it.
        let bytes = unsafe { self.input.bytes(buffer) };
        // SAFETY: from here to `pop_used` nobody refers to the buffer, and it lives as long as the queue.
        let token = unsafe { self.receive.add(&[], &mut [bytes]) }?;
        if let Some(slot) = self.receiving.get_mut(usize::from(token)) {
            *slot = buffer;
        }
        Ok(())
    }
}
