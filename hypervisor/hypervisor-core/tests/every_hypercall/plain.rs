//! Calls that have no file of their own.

use hypercall_abi::multicall::MulticallEntry;
use hypercall_abi::number;
use hypercall_abi::sched::*;
use hypercall_abi::trap::{CALLBACKTYPE_NMI, CallbackRegister, TrapInfo};
use hypercall_abi::{GuestPtr, RawDomId};
use hypervisor_core::fake::bench::{BASE, Bench, DATA, ENTRY, STACK};
use zerocopy::FromZeros;

use super::Arguments;
use super::events::alloc;
use super::setting::{LIST, PAGE, SECOND, create, create_with};

pub(crate) fn prepare(
    bench: &mut Bench,
    call: u32,
    operation: u32,
    variant: u8,
) -> Option<Arguments> {
    if variant > 0 {
        return None;
    }
    let sub = u64::from(operation);
    let arguments = match call {
        number::SET_TRAP_TABLE => {
            let info = |vector, address| TrapInfo {
                vector,
                address,
                ..TrapInfo::new_zeroed()
            };
            bench.write(DATA, &[info(3, ENTRY), info(14, ENTRY), info(0, 0)]);
            [DATA, 0, 0, 0, 0]
        }
        number::SET_GDT => {
            let frame = bench.frame_at(PAGE);
            assert_eq!(unmap(bench), 0);
            bench.write(LIST, &frame);
            [LIST, 512, 0, 0, 0]
        }
        number::UPDATE_DESCRIPTOR => {
            let frame = bench.frame_at(PAGE);
            [frame << 12, 0x00cf_f300_0000_ffff, 0, 0, 0]
        }
        number::MULTICALL => {
            let entry = |op: u32, args| MulticallEntry {
                op: op.into(),
                result: 99,
                args,
            };
            bench.write(
                DATA,
                &[
                    words(&entry(number::XEN_VERSION, [1, LIST, 0, 0, 0, 0])),
                    words(&entry(number::STACK_SWITCH, [0xe02b, STACK, 0, 0, 0, 0])),
                ],
            );
            [DATA, 2, 0, 0, 0]
        }
        number::UPDATE_VA_MAPPING => {
            bench.write(LIST, &1_u64);
            // Flush by a list of CPUs.
            [PAGE, (bench.frame_at(PAGE) << 12) + 5, LIST | 1, 0, 0]
        }
        number::UPDATE_VA_MAPPING_OTHERDOMAIN => {
            let frame = create_with(bench, 1)[0];
            [PAGE, (frame << 12) + 7, 0, SECOND.0.into(), 0]
        }
        number::IRET => {
            bench.write(
                DATA,
                &[1_u64, 2, 3, 0, ENTRY + 0x40, 0xe030, 0x202, STACK, 0xe028],
            );
            bench.state().registers.rsp = DATA;
            [0; 5]
        }
        number::CONSOLE_IO => {
            bench.write(DATA, b"some text\n");
            [sub, 10, DATA, 0, 0]
        }
        number::SCHED_OP => schedule(bench, operation)?,
        number::CALLBACK_OP => {
            let request = CallbackRegister {
                kind: CALLBACKTYPE_NMI,
                address: BASE + 0x300,
                ..CallbackRegister::new_zeroed()
            };
            bench.write(DATA, &request);
            [sub, DATA, 0, 0, 0]
        }
        number::NMI_OP => {
            bench.write(DATA, &[ENTRY, 0]);
            [sub, DATA, 0, 0, 0]
        }
        // The size of a page takes no place for it.
        number::XEN_VERSION if operation == 7 => [sub, 0, 0, 0, 0],
        number::PHYSDEV_OP | number::XEN_VERSION => [sub, DATA, 0, 0, 0],
        number::SET_CALLBACKS => [ENTRY, ENTRY, ENTRY, 0, 0],
        number::STACK_SWITCH => [0xe02b, STACK, 0, 0, 0],
        number::SET_TIMER_OP => [1 << 40, 0, 0, 0, 0],
        number::SET_DEBUGREG => [0, PAGE, 0, 0, 0],
        number::SET_SEGMENT_BASE => [sub, if operation == 3 { 0 } else { PAGE }, 0, 0, 0],
        number::VM_ASSIST => [sub, 4, 0, 0, 0],
        number::FPU_TASKSWITCH
        | number::PLATFORM_OP
        | number::GET_DEBUGREG
        | number::SYSCTL
        | number::DOMCTL
        | number::KEXEC_OP
        | number::XENPMU_OP
        | number::MCA => [0; 5],
        _ => return None,
    };
    Some(arguments)
}

/// Makes the page read-only, as what is to be a page of descriptors must be.
fn unmap(bench: &mut Bench) -> u64 {
    let entry = (bench.frame_at(PAGE) << 12) + 5;
    bench.result(number::UPDATE_VA_MAPPING, [PAGE, entry, 0])
}

fn words(entry: &MulticallEntry) -> [u64; 8] {
    zerocopy::transmute!(*entry)
}

fn schedule(bench: &mut Bench, operation: u32) -> Option<Arguments> {
    match operation {
        SCHEDOP_YIELD | SCHEDOP_BLOCK => {}
        SCHEDOP_SHUTDOWN | SCHEDOP_SHUTDOWN_CODE => {
            bench.write(DATA, &SchedShutdown { reason: 0 });
        }
        SCHEDOP_POLL => {
            let request = SchedPoll {
                ports: GuestPtr::new(LIST),
                nr_ports: 2,
                timeout: 1 << 40,
                ..SchedPoll::new_zeroed()
            };
            let ports = [alloc(bench, RawDomId::SELF), alloc(bench, RawDomId::SELF)];
            bench.write(LIST, &ports);
            bench.write(DATA, &request);
        }
        SCHEDOP_REMOTE_SHUTDOWN => {
            create(bench);
            let request = SchedRemoteShutdown {
                domain_id: SECOND,
                ..SchedRemoteShutdown::new_zeroed()
            };
            bench.write(DATA, &request);
        }
        SCHEDOP_WATCHDOG => bench.write(
            DATA,
            &SchedWatchdog {
                id: 0,
                timeout: 100,
            },
        ),
        SCHEDOP_PIN_OVERRIDE => bench.write(DATA, &0_i32),
        _ => return None,
    }
    Some([operation.into(), DATA, 0, 0, 0])
}
