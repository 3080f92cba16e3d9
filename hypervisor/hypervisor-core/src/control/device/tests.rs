//! What the first domain may do to a device's configuration, on the fake machine's one device.

use hypercall_abi::control::ControlArgument;
use hypercall_abi::{Errno, number};
use zerocopy::IntoBytes;

use super::{MsixBind, PciRead, PciWrite};
use crate::fake::bench::{Bench, DATA};
use crate::fake::pci::{ENTRIES, MSI, MSIX, OWN, REGION};
use crate::machine::DeviceLine;

const COMMAND: u16 = 4;

fn bench() -> Bench {
    let bench = Bench::new();
    bench
        .hv
        .machine()
        .with_device(|device| device.present = true);
    bench
}

fn op<T: ControlArgument>(bench: &mut Bench, fill: impl FnOnce(&mut T)) -> Result<T, Errno> {
    let mut argument = T::new_zeroed();
    argument.as_mut_bytes()[..8].copy_from_slice(T::HEADER.as_bytes());
    fill(&mut argument);
    bench.write(DATA, &argument);
    let result = bench.result(number::PARAVANE_OP, [T::OPERATION.into(), DATA, 0]);
    Errno::from_register(result).map(|_| bench.read(DATA))
}

fn read(bench: &mut Bench, register: u16, width: u8) -> Result<u32, Errno> {
    op(bench, |read: &mut PciRead| {
        (read.device, read.register, read.width) = (3, register, width);
    })
    .map(|answer| answer.value)
}

fn write(bench: &mut Bench, register: u16, width: u8, value: u32) -> Result<(), Errno> {
    op(bench, |write: &mut PciWrite| {
        (write.device, write.register, write.width) = (3, register, width);
        write.value = value;
    })
    .map(drop)
}

fn bind(bench: &mut Bench, device: u8, entry: u32) -> Result<u32, Errno> {
    op(bench, |bind: &mut MsixBind| {
        (bind.device, bind.entry) = (device, entry);
    })
    .map(|answer| answer.pirq)
}

#[test]
fn all_registers_can_be_read_by_aligned_pieces() {
    let mut bench = bench();
    assert_eq!(read(&mut bench, OWN, 4), Ok(0x1234_5678));
    assert_eq!(read(&mut bench, OWN + 2, 2), Ok(0x1234));
    assert_eq!(read(&mut bench, OWN + 3, 1), Ok(0x12));
    for (register, width) in [(OWN + 1, 2), (OWN + 2, 4), (OWN, 3), (OWN, 0), (256, 1)] {
        assert_eq!(read(&mut bench, register, width), Err(Errno::EINVAL));
    }
}

#[test]
fn a_driver_writes_its_own_registers_and_the_command() {
    let mut bench = bench();
    assert_eq!(write(&mut bench, OWN, 4, 77), Ok(()));
    assert_eq!(read(&mut bench, OWN, 4), Ok(77));
    assert_eq!(write(&mut bench, COMMAND, 2, 6), Ok(()));
    assert_eq!(read(&mut bench, COMMAND, 2), Ok(6));
}

#[test]
fn message_interrupts_are_the_hypervisors() {
    let mut bench = bench();
    for register in [MSIX, MSIX + 4, MSIX + 8, MSI, MSI + 4, MSI + 12] {
        let before = read(&mut bench, register, 4);
        assert_eq!(write(&mut bench, register, 4, 0), Err(Errno::EACCES));
        assert_eq!(write(&mut bench, register, 1, 0), Err(Errno::EACCES));
        assert_eq!(read(&mut bench, register, 4), before);
    }
}

#[test]
fn a_device_is_not_moved_and_tells_its_size_all_the_same() {
    let mut bench = bench();
    let here = read(&mut bench, REGION, 4).unwrap();
    assert_eq!(write(&mut bench, REGION, 4, 0x1000), Err(Errno::EACCES));
    for width in [1, 2] {
        assert_eq!(write(&mut bench, REGION, width, 0), Err(Errno::EACCES));
    }
    assert_eq!(write(&mut bench, REGION, 4, u32::MAX), Ok(()));
    assert_eq!(read(&mut bench, REGION, 4), Ok(0xffff_f000));
    assert_eq!(write(&mut bench, REGION, 4, here), Ok(()));
    assert_eq!(read(&mut bench, REGION, 4), Ok(here));
    assert_eq!(read(&mut bench, COMMAND, 2), Ok(7));
    let moved = bench
        .hv
        .machine()
        .with_device(|device| device.moved_live.clone());
    assert_eq!(moved, [], "its address changed while it decoded");
}

#[test]
fn a_message_is_bound_to_a_line_that_then_is_claimed() {
    let mut bench = bench();
    let pirq = bind(&mut bench, 3, 1).unwrap();
    let line = DeviceLine(u8::try_from(pirq).unwrap());
    assert!(bench.hv.lines().is_claimed(line));
    let last = u32::from(ENTRIES);
    for (device, entry, error) in [
        (3, last, Errno::ENODEV),
        (4, 0, Errno::ENODEV),
        (32, 0, Errno::EINVAL),
        (3, 1 << 16, Errno::EINVAL),
    ] {
        assert_eq!(bind(&mut bench, device, entry), Err(error));
    }
}
