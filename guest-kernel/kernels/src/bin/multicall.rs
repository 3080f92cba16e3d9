//! Rule tested: a list of calls is carried out in order, each with its own result, an error in one does not stop the
//! rest, and a list inside a list is refused.
#![no_std]
#![no_main]

use guest_kernel::hypercall::{Errno, hypercall};
use guest_kernel::start::Boot;
use guest_kernels::{check, finish};
use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::number as call;

guest_kernel::entry!(main);

fn entry(op: u32, args: [u64; 6]) -> MulticallEntry {
    MulticallEntry {
        op: u64::from(op),
        args,
        ..MulticallEntry::default()
    }
}

fn run(list: &mut [MulticallEntry]) -> Result<u64, Errno> {
    let address = list.as_mut_ptr().addr() as u64;
    // SAFETY: the calls in the lists ask for numbers or are refused.
    unsafe {
        hypercall(
            u64::from(call::MULTICALL),
            [address, list.len() as u64, 0, 0, 0],
        )
    }
}

fn version() -> MulticallEntry {
    entry(call::XEN_VERSION, [0; 6])
}

fn result(entry: &MulticallEntry) -> Result<u64, Errno> {
    Errno::from_register(u64::from_ne_bytes(entry.result.to_ne_bytes()))
}

fn main(_: &'static Boot) {
    let mut list = [
        version(),
        entry(63, [1, 2, 3, 4, 5, 6]),
        entry(call::SCHED_OP, [60, 0, 0, 0, 0, 0]),
        entry(call::MULTICALL, [0; 6]),
        version(),
        entry(call::SET_SEGMENT_BASE, [0, 1 << 62, 0, 0, 0, 0]),
    ];
    check!(run(&mut list) == Ok(0), "a list runs to its end");
    check!(
        result(&list[0]).is_ok_and(|version| version >> 16 == 4),
        "the first call has its result"
    );
    check!(
        result(&list[1]) == Err(Errno::ENOSYS),
        "a call that does not exist has its error"
    );
    check!(
        result(&list[2]) == Err(Errno::ENOSYS),
        "so has an operation"
    );
    check!(
        result(&list[3]) == Err(Errno::EINVAL),
        "a list in a list is EINVAL"
    );
    check!(
        result(&list[4]) == result(&list[0]),
        "a call behind errors is carried out"
    );
    check!(result(&list[5]) == Err(Errno::EINVAL), "the last too");
    check!(run(&mut []) == Ok(0), "an empty list is done");

    let mut long = [const {
        MulticallEntry {
            op: call::XEN_VERSION as u64,
            result: 0,
            args: [0; 6],
        }
    }; 512];
    check!(run(&mut long) == Ok(0), "512 calls are carried out");
    check!(
        long.iter().all(|entry| result(entry) == result(&list[0])),
        "each with its result"
    );
    // SAFETY: the address is not this kernel's: refused.
    let bad = unsafe {
        hypercall(
            u64::from(call::MULTICALL),
            [0xffff_8300_0000_0000, 1, 0, 0, 0],
        )
    };
    check!(
        bad == Err(Errno::EFAULT),
        "a list at an address of the hypervisor is EFAULT"
    );
    // SAFETY: nothing is mapped there: refused.
    let unmapped = unsafe {
        hypercall(
            u64::from(call::MULTICALL),
            [0xffff_9008_0000_0000, 1, 0, 0, 0],
        )
    };
    check!(
        unmapped == Err(Errno::EFAULT),
        "so is one where nothing is mapped"
    );
    finish()
}
