//! Each call in a list of calls, and lists that cannot be read or written.

use guest_conformance::errno::EFAULT;
use guest_conformance::fixture::{Frame, WRITABLE};
use guest_conformance::multicall::Entry;
use guest_conformance::returns::return_in_list;
use guest_conformance::{HYPERVISOR, SELF, UNMAPPED, address_of, call, check, note, prepare, seen};
use hypercall_abi::number::{
    self, MEMORY_OP, MMU_UPDATE, MMUEXT_OP, MULTICALL, PHYSDEV_OP, SET_DEBUGREG, SET_GDT,
    SET_SEGMENT_BASE, SET_TIMER_OP, UPDATE_VA_MAPPING, VCPU_OP,
};

pub(crate) fn checks() {
    check("multicall.each-call-answers-as-alone", (0, true), || {
        let (words, empty, level) = ([0_u64; 8], [0_u64; 2], 4_u64);
        let at = address_of(&words);
        let list = [
            Entry::new(number::SET_TRAP_TABLE, &[address_of(&empty)]),
            Entry::new(MMU_UPDATE, &[at, 0, 0, SELF]),
            Entry::new(SET_GDT, &[UNMAPPED, 7169]),
            Entry::new(number::FPU_TASKSWITCH, &[0]),
            Entry::new(SET_DEBUGREG, &[8, 0]),
            Entry::new(number::GET_DEBUGREG, &[6]),
            Entry::new(number::UPDATE_DESCRIPTOR, &[4, 0]),
            Entry::new(MEMORY_OP, &[3, address_of(&SELF)]),
            Entry::new(UPDATE_VA_MAPPING, &[HYPERVISOR, 0, 0]),
            Entry::new(SET_TIMER_OP, &[0]),
            Entry::new(number::XEN_VERSION, &[0]),
            Entry::new(number::CONSOLE_IO, &[60]),
            Entry::new(number::GRANT_TABLE_OP, &[60]),
            Entry::new(number::VM_ASSIST, &[0, 60]),
            Entry::new(number::UPDATE_VA_MAPPING_OTHERDOMAIN, &[0, 0, 0, 1234]),
            Entry::new(VCPU_OP, &[3, 0]),
            Entry::new(SET_SEGMENT_BASE, &[4]),
            Entry::new(MMUEXT_OP, &[at, 0, 0, 1234]),
            Entry::new(number::NMI_OP, &[60]),
            Entry::new(number::SCHED_OP, &[0]),
            Entry::new(number::CALLBACK_OP, &[60]),
            Entry::new(number::EVENT_CHANNEL_OP, &[60]),
            Entry::new(PHYSDEV_OP, &[6, address_of(&level)]),
            Entry::new(number::SYSCTL, &[UNMAPPED]),
            Entry::new(number::DOMCTL, &[UNMAPPED]),
            Entry::new(number::XENPMU_OP, &[0, at]),
            Entry::new(63, &[]),
        ];
        let result = call(MULTICALL, &[address_of(&list), list.len() as u64]);
        let same = list
            .iter()
            .all(|entry| entry.result() == prepare(entry.number, &entry.arguments[..5]));
        (result, seen(same))
    });
    check("multicall.list-that-cannot-be-written", (EFAULT, 5), || {
        // The call was made before its result could not be told.
        let (page, data) = (Frame::take(), Frame::take());
        let request = [data.slot(0), 5];
        let call_of = Entry::new(MMU_UPDATE, &[address_of(&request), 1, 0, SELF]);
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
        let list = [
            Entry::new(number::IRET, &[]),
            Entry::new(number::XEN_VERSION, &[]),
        ];
        let result = return_in_list(&list);
        (result, seen(list[1].result()))
    });
    check(
        "multicall.goes-on-behind-an-error-in-memory",
        (0, 0x40011),
        || {
            let list = [
                Entry::new(MMU_UPDATE, &[HYPERVISOR, 1, 0, SELF]),
                Entry::new(number::XEN_VERSION, &[]),
            ];
            let result = call(MULTICALL, &[address_of(&list), 2]);
            note(list[0].number, &list[0].arguments, list[0].result());
            (result, seen(list[1].result()))
        },
    );
}
