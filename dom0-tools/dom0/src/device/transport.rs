//! The device's registers: virtio 1.x over PCI memory space, with MSI-X.
//!
//! virtio-drivers has a transport of its own, which sizes base address registers by writing them; those are the
//! hypervisor's here, and it sets up no MSI-X.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use guest_kernel::hypercall::Errno;
use guest_kernel::paging::{Access, Mapping, Memory, Mfn, PagingError};
use thiserror::Error;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error as VirtioError, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::pci::Function;

/// virtio's vendor number, and the console's device numbers: transitional and modern.
const VENDOR: u32 = 0x1af4;
const CONSOLE: [u32; 2] = [0x1003, 0x1043];
/// Number of vendor-specific capabilities.
const VENDOR_CAPABILITY: u8 = 9;
/// Kinds of virtio's capabilities.
const COMMON: u32 = 1;
const NOTIFY: u32 = 2;
/// Bytes of the common registers.
const COMMON_BYTES: u32 = 56;
/// Offsets of the common registers.
const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const MSIX_CONFIG: usize = 16;
const DEVICE_STATUS: usize = 20;
const CONFIG_GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_MSIX_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFF: usize = 30;
const QUEUE_DESCRIPTORS: usize = 32;
const QUEUE_DRIVER: usize = 40;
const QUEUE_DEVICE: usize = 48;
/// No interrupt.
const NO_VECTOR: u16 = 0xffff;
/// The MSI-X entry that all queues use.
pub(super) const VECTOR: u16 = 0;

/// Why there is no device.
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum DeviceError {
    /// None on the bus.
    #[error("no virtio console on PCI bus 0: start QEMU with virtio-serial-pci and virtconsole")]
    NotFound,
    /// One, but without the registers of virtio 1.
    #[error("the virtio console has no modern registers")]
    NoRegisters,
    /// Its registers, or memory for it, cannot be had.
    #[error(transparent)]
    Paging(#[from] PagingError),
    /// The hypervisor refused something.
    #[error("refused by the hypervisor: {}", .0.name())]
    Refused(Errno),
    /// The device refused something.
    #[error("refused by the device: {0}")]
    Device(VirtioError),
}

/// A range of the device's memory.
#[derive(Debug)]
struct Region {
    memory: Memory,
    offset: usize,
}

impl Region {
    fn u8(&self, register: usize) -> u8 {
        let byte = self.memory.bytes(self.offset + register, 1);
        byte.first().map_or(0, |byte| byte.load(Ordering::Relaxed))
    }

    fn set_u8(&self, register: usize, value: u8) {
        if let Some(byte) = self.memory.bytes(self.offset + register, 1).first() {
            byte.store(value, Ordering::Relaxed);
        }
    }

    fn u16(&self, register: usize) -> u16 {
        self.memory
            .u16(self.offset + register)
            .load(Ordering::Relaxed)
    }

    fn set_u16(&self, register: usize, value: u16) {
        self.memory
            .u16(self.offset + register)
            .store(value, Ordering::Release);
    }

    fn u32(&self, register: usize) -> u32 {
        self.memory
            .u32(self.offset + register)
            .load(Ordering::Relaxed)
    }

    fn set_u32(&self, register: usize, value: u32) {
        self.memory
            .u32(self.offset + register)
            .store(value, Ordering::Release);
    }

    /// A 64-bit register, as two halves, which every device takes.
    fn set_u64(&self, register: usize, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.set_u32(register, u32::from_le_bytes([a, b, c, d]));
        self.set_u32(register + 4, u32::from_le_bytes([e, f, g, h]));
    }
}

/// The device's registers.
#[derive(Debug)]
pub(super) struct Registers {
    common: Region,
    notify: Region,
    notify_multiplier: u32,
}

impl Registers {
    /// Finds the console, switches it on and maps its registers.
    pub(super) fn find() -> Result<(Self, Function), DeviceError> {
        let function =
            Function::find(|vendor, device| vendor == VENDOR && CONSOLE.contains(&device))
                .ok_or(DeviceError::NotFound)?;
        function.enable().map_err(DeviceError::Refused)?;
        let registers = Self {
            common: region(function, COMMON, COMMON_BYTES)?,
            notify: region(function, NOTIFY, 2)?,
            notify_multiplier: capability(function, NOTIFY)
                .map_or(0, |at| function.read(at + 16, 4)),
        };
        Ok((registers, function))
    }

    /// Sends a queue's interrupts to the one entry in use.
    pub(super) fn use_interrupt(&mut self, queue: u16) -> Result<(), DeviceError> {
        self.common.set_u16(MSIX_CONFIG, NO_VECTOR);
        self.common.set_u16(QUEUE_SELECT, queue);
        self.common.set_u16(QUEUE_MSIX_VECTOR, VECTOR);
        if self.common.u16(QUEUE_MSIX_VECTOR) == VECTOR {
            Ok(())
        } else {
            Err(DeviceError::NoRegisters)
        }
    }
}

/// The capability of a kind.
fn capability(function: Function, kind: u32) -> Option<u16> {
    let mut all = function.capabilities(VENDOR_CAPABILITY).into_iter();
    all.find(|at| function.read(at + 3, 1) == kind)
}

/// Maps the registers of a kind, `least` bytes at least.
fn region(function: Function, kind: u32, least: u32) -> Result<Region, DeviceError> {
    let at = capability(function, kind).ok_or(DeviceError::NoRegisters)?;
    let bar = u8::try_from(function.read(at + 4, 1)).unwrap_or(u8::MAX);
    let (offset, length) = (function.read(at + 8, 4), function.read(at + 12, 4));
    if bar > 5 || length < least || length == u32::MAX {
        return Err(DeviceError::NoRegisters);
    }
    let base = function.memory_base(bar).ok_or(DeviceError::NoRegisters)?;
    let start = base + u64::from(offset);
    let end = start + u64::from(length);
    let frames: Vec<Mfn> = (start >> 12..end.div_ceil(1 << 12)).map(Mfn).collect();
    let mapping = Mapping::new(&frames, Access::Device)?;
    Ok(Region {
        memory: Memory::from_mapping(mapping),
        offset: usize::try_from(start % (1 << 12)).unwrap_or(0),
    })
}

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn read_device_features(&mut self) -> u64 {
        let half = |select| {
            self.common.set_u32(DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.u32(DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        let [a, b, c, d, e, f, g, h] = features.to_le_bytes();
        for (select, half) in [(0, [a, b, c, d]), (1, [e, f, g, h])] {
            self.common.set_u32(DRIVER_FEATURE_SELECT, select);
            self.common
                .set_u32(DRIVER_FEATURE, u32::from_le_bytes(half));
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.set_u16(QUEUE_SELECT, queue);
        u32::from(self.common.u16(QUEUE_SIZE))
    }

    fn notify(&mut self, queue: u16) {
        self.common.set_u16(QUEUE_SELECT, queue);
        let place = u32::from(self.common.u16(QUEUE_NOTIFY_OFF)) * self.notify_multiplier;
        self.notify
            .set_u16(usize::try_from(place).unwrap_or(0), queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(u32::from(self.common.u8(DEVICE_STATUS)))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let [status, ..] = status.bits().to_le_bytes();
        self.common.set_u8(DEVICE_STATUS, status);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.common.set_u16(QUEUE_SELECT, queue);
        self.common
            .set_u16(QUEUE_SIZE, u16::try_from(size).unwrap_or(u16::MAX));
        self.common.set_u64(QUEUE_DESCRIPTORS, descriptors);
        self.common.set_u64(QUEUE_DRIVER, driver);
        self.common.set_u64(QUEUE_DEVICE, device);
        self.common.set_u16(QUEUE_ENABLE, 1);
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.common.set_u16(QUEUE_SELECT, queue);
        self.common.u16(QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // With MSI-X there is nothing to acknowledge.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        u32::from(self.common.u8(CONFIG_GENERATION))
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, _: usize) -> Result<T, VirtioError> {
        Err(VirtioError::ConfigSpaceMissing)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> Result<(), VirtioError> {
        Err(VirtioError::ConfigSpaceMissing)
    }
}
