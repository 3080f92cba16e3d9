//! Each call in a list of calls, and lists that cannot be read or written.

use core::arch::asm;

use guest_conformance::errno::EFAULT;
use guest_conformance::fixture::{Frame, WRITABLE, read};
use guest_conformance::{HYPERVISOR, SELF, UNMAPPED, address_of, call, check, note, prepare, seen};
use hypercall_abi::number::{
    self, MEMORY_OP, MMU_UPDATE, MMUEXT_OP, MULTICALL, PHYSDEV_OP, SET_DEBUGREG, SET_GDT,
    SET_SEGMENT_BASE, SET_TIMER_OP, UPDATE_VA_MAPPING, VCPU_OP,
};

/// One entry of a multicall list.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    number: u64,
    result: i64,
    arguments: [u64; 6],
}

fn entry(number: u32, arguments: &[u64]) -> Entry {
    let argument = |place: usize| arguments.get(place).copied().unwrap_or(0);
    Entry {
        number: u64::from(number),
        result: 77,
        arguments: [0, 1, 2, 3, 4, 5].map(argument),
    }
}

fn stored(entry: &Entry) -> i64 {
    read(address_of(&entry.result)).cast_signed()
}

pub(crate) fn checks() {
    check("multicall.each-call-answers-as-alone", (0, true), || {
        let (words, empty, level) = ([0_u64; 8], [0_u64; 2], 4_u64);
        let at = address_of(&words);
        let list = [
            entry(number::SET_TRAP_TABLE, &[address_of(&empty)]),
            entry(MMU_UPDATE, &[at, 0, 0, SELF]),
            entry(SET_GDT, &[UNMAPPED, 7169]),
            entry(number::FPU_TASKSWITCH, &[0]),
            entry(SET_DEBUGREG, &[8, 0]),
            entry(number::GET_DEBUGREG, &[6]),
            entry(number::UPDATE_DESCRIPTOR, &[4, 0]),
            entry(MEMORY_OP, &[3, address_of(&SELF)]),
            entry(UPDATE_VA_MAPPING, &[HYPERVISOR, 0, 0]),
            entry(SET_TIMER_OP, &[0]),
            entry(number::XEN_VERSION, &[0]),
            entry(number::CONSOLE_IO, &[60]),
            entry(number::GRANT_TABLE_OP, &[60]),
            entry(number::VM_ASSIST, &[0, 60]),
            entry(number::UPDATE_VA_MAPPING_OTHERDOMAIN, &[0, 0, 0, 1234]),
            entry(VCPU_OP, &[3, 0]),
            entry(SET_SEGMENT_BASE, &[4]),
            entry(MMUEXT_OP, &[at, 0, 0, 1234]),
            entry(number::NMI_OP, &[60]),
            entry(number::SCHED_OP, &[0]),
            entry(number::CALLBACK_OP, &[60]),
            entry(number::EVENT_CHANNEL_OP, &[60]),
            entry(PHYSDEV_OP, &[6, address_of(&level)]),
            entry(number::SYSCTL, &[UNMAPPED]),
            entry(number::DOMCTL, &[UNMAPPED]),
            entry(number::XENPMU_OP, &[0, at]),
            entry(63, &[]),
        ];
        let result = call(MULTICALL, &[address_of(&list), list.len() as u64]);
        let same = list
            .iter()
            .all(|entry| stored(entry) == prepare(entry.number, &entry.arguments[..5]));
        (result, seen(same))
    });
    check("multicall.list-that-cannot-be-written", (EFAULT, 5), || {
        // The call was made before its result could not be told.
        let (page, data) = (Frame::take(), Frame::take());
        let request = [data.slot(0), 5];
        let call_of = entry(MMU_UPDATE, &[address_of(&request), 1, 0, SELF]);
        page.set_word(0, call_of.number);
        for (index, argument) in (2..).zip(call_of.arguments) {
            page.set_word(index, argument);
        }
        let page = page.read_only();
        let result = call(MULTICALL, &[page.address, 1]);
        (result, seen(data.word(0)))
    });
    check(
        "multicall.list-that-ends-in-a-hole",
        (EFAULT, 0x40011),
        || {
            let (page, beside) = Frame::neighbours();
            page.set_word(512 - 8, u64::from(number::XEN_VERSION));
            beside.unmap();
            let result = call(MULTICALL, &[page.address + 4096 - 64, 2]);
            beside.remap(WRITABLE);
            (result, seen(page.word(512 - 7)))
        },
    );
    check("multicall.return-from-an-exception", (1, 77), || {
        let list = [entry(number::IRET, &[]), entry(number::XEN_VERSION, &[])];
        let result = with_frame(&list);
        (result, seen(stored(&list[1])))
    });
    check(
        "multicall.goes-on-behind-an-error-in-memory",
        (0, 0x40011),
        || {
            let list = [
                entry(MMU_UPDATE, &[HYPERVISOR, 1, 0, SELF]),
                entry(number::XEN_VERSION, &[]),
            ];
            let result = call(MULTICALL, &[address_of(&list), 2]);
            note(list[0].number, &list[0].arguments, stored(&list[0]));
            (result, seen(stored(&list[1])))
        },
    );
}

/// Makes the calls of a list while a frame for `iret` is on the stack, which leads behind the call; RAX is 1 there.
fn with_frame(list: &[Entry; 2]) -> i64 {
    if let Some(instead) = guest_conformance::sabotaged() {
        return instead;
    }
    let result: u64;
    // SAFETY: the frame returns behind the call, where the stack is taken back; the list is the caller's.
    unsafe {
        asm!(
            "mov r12, rsp",
            "push 0xe02b", "push r12", "push 0x202", "push 0xe030",
            "lea rax, [rip + 2f]", "push rax",
            "push 0", "push 0", "push 0", "push 1",
            "mov eax, {multicall}", "mov rsi, 2", "syscall",
            "2: mov rsp, r12",
            multicall = const MULTICALL,
            in("rdi") address_of(list),
            out("rax") result, out("r12") _, out("rcx") _, out("r11") _, out("rsi") _, out("rdx") _, out("r8") _,
            out("r9") _, out("r10") _,
        );
    }
    note(MULTICALL.into(), &[address_of(list), 2], 0);
    result.cast_signed()
}
