//! What an entry into the guest's kernel looks like: the frame on its stack word by word, registers, flags and the upcall mask,
//! for exceptions, `int n`, upcalls and system calls, from kernel and from user mode.
#![no_std]
#![no_main]

mod bench;

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::shared::Shared;
use guest_conformance::{UNMAPPED, address_of, call, check, finish, prepare, seen, start};
use guest_kernel::event::upcall;
use guest_kernel::start::Boot;
use guest_kernel::trap;
use hypercall_abi::number::{CALLBACK_OP, PHYSDEV_OP, SET_CALLBACKS, VM_ASSIST};

use crate::bench::{
    Bench, Code, EVENT, MASK, R11, RBX, RCX, SYSCALL, SYSCALL_32, entry_of, frames_behind,
    frames_behind_nmi, frames_call, frames_gate, frames_halt, frames_load, frames_nmi,
    frames_undefined, place,
};

guest_kernel::entry!(main);

fn main(boot: &'static Boot) {
    start(boot);
    let masked = upcall::mask();
    let shared = Shared::map();
    MASK.store(shared.address() + 1, SeqCst);
    let Some(bench) = Bench::new(shared) else {
        panic!("there is no memory for user mode")
    };
    bench.open();
    exceptions(&bench);
    states(&bench);
    masks(&bench);
    upcalls(&bench);
    user_mode(&bench);
    system_calls(&bench);
    levels(&bench);
    // What came meanwhile went to the handlers here: the kernel looks at all of it.
    trap::install();
    bench.shared.word(8).store(u64::MAX, SeqCst);
    bench.shared.byte(0).store(1, SeqCst);
    drop(masked);
    finish()
}

fn exceptions(bench: &Bench) {
    check("exception.saved-registers", (6, [RCX, R11]), || {
        let record = bench.trip(frames_undefined);
        (
            seen(record.number),
            seen([record.words[0], record.words[1]]),
        )
    });
    check("exception.is-at-the-instruction", (6, true), || {
        let record = bench.trip(frames_undefined);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_undefined)),
        )
    });
    check("exception.code-segment-says-kernel", 0xe030, || {
        seen(bench.trip(frames_undefined).words[3] & 0xffff_ffff)
    });
    check("exception.stack-is-the-old-one", (true, 0xe02b), || {
        let record = bench.trip(frames_undefined);
        (seen(record.words[5] == bench.top()), seen(record.words[6]))
    });
    check("exception.frame-is-right-below", 7 * 8, || {
        seen(bench.top() - bench.trip(frames_undefined).rsp)
    });
    check("exception.frame-is-aligned", [56, 71, 57, 56], || {
        // So far below the top the stack pointer was: the frame begins at the next multiple of 16.
        [0, 1, 15, 16].map(|below| {
            let record = bench.with_mask(frames_undefined, 1, below, 0x202);
            let distance = bench.top() - below - record.rsp;
            seen(distance)
        })
    });
    check("exception.keeps-the-odd-stack-pointer", [true; 3], || {
        [1, 7, 15].map(|below| {
            let record = bench.with_mask(frames_undefined, 1, below, 0x202);
            seen(record.words[5] == bench.top() - below)
        })
    });
    check(
        "error-code.is-above-the-saved-registers",
        (13, [RCX, R11, 0]),
        || {
            let record = bench.trip(frames_halt);
            (
                seen(record.number),
                seen([record.words[0], record.words[1], record.words[2]]),
            )
        },
    );
    check("error-code.rest-of-the-frame", (true, 0xe030, 64), || {
        let record = bench.trip(frames_halt);
        (
            seen(record.words[3] == place(frames_halt)),
            seen(record.words[4] & 0xffff_ffff),
            seen(bench.top() - record.rsp),
        )
    });
    check("page-fault.code-of-the-kernel", (14, 0, true), || {
        let record = bench.trip(frames_load);
        let address = bench.shared.word(0x10).load(SeqCst);
        (
            seen(record.number),
            seen(record.words[2]),
            seen(address == UNMAPPED),
        )
    });
    check("gate.is-behind-the-instruction", (0x80, 2), || {
        let record = bench.trip(frames_gate);
        (
            seen(record.number),
            seen(record.words[2].wrapping_sub(place(frames_gate))),
        )
    });
    check("gate.has-no-error-code", (0x80, 56), || {
        let record = bench.trip(frames_gate);
        (seen(record.number), seen(bench.top() - record.rsp))
    });
    check("nmi.frame", (2, true, 1), || {
        let record = bench.trip(frames_nmi);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_behind_nmi)),
            seen(record.mask),
        )
    });
}

fn states(bench: &Bench) {
    check("entry.segments", [0xe033, 0xe02b], || {
        seen(bench.trip(frames_undefined).segments)
    });
    check("entry.rcx-is-the-handler", true, || {
        seen(bench.trip(frames_undefined).rcx == entry_of(6))
    });
    check("entry.r11-is-the-flags", true, || {
        let record = bench.trip(frames_undefined);
        seen(record.r11 == record.flags)
    });
    check("entry.other-registers-kept", RBX, || {
        seen(bench.trip(frames_undefined).rbx)
    });
    let flags = |flags: u64| {
        let record = bench.with_mask(frames_undefined, 1, 0, flags);
        (seen(record.flags), seen(record.words[4]))
    };
    check("entry.arithmetic-flags", (0xad7, 0x8d7), || {
        let (entry, saved) = flags(0x8d7);
        (entry | 0x200, saved)
    });
    check("entry.direction-flag-is-kept", (0x602, 0x402), || {
        flags(0x402)
    });
    check("entry.nested-task-is-cleared", (0x202, 0x4002), || {
        flags(0x4002)
    });
    check(
        "entry.alignment-check-is-cleared",
        (0x202, 0x4_0002),
        || flags(0x4_0002),
    );
    check(
        "entry.identification-is-kept",
        (0x20_0202, 0x20_0002),
        || flags(0x20_0002),
    );
    check("entry.single-step-is-cleared", (1, 0x202, 0x102), || {
        let record = bench.with_mask(frames_undefined, 1, 0, 0x102);
        (
            seen(record.number),
            seen(record.flags),
            seen(record.words[4]),
        )
    });
}

fn masks(bench: &Bench) {
    let of = |code: Code, mask: u8| {
        let record = bench.with_mask(code, mask, 0, 0x202);
        let (code, flags) = if record.number == 13 {
            (record.words[4], record.words[5])
        } else {
            (record.words[3], record.words[4])
        };
        (
            seen(record.mask),
            seen(code >> 32 & 0xff),
            seen(flags & 0x200),
        )
    };
    check("mask.kept-without-the-flag", (0, 0, 0x200), || {
        of(frames_undefined, 0)
    });
    check("mask.set-by-the-flag", (1, 0, 0x200), || of(frames_halt, 0));
    check("mask.was-set", (1, 1, 0), || of(frames_halt, 1));
    check("mask.whole-byte-is-saved", (0x54, 0x54, 0), || {
        of(frames_undefined, 0x54)
    });
    check("mask.flag-adds-one-bit", (0x55, 0x54, 0), || {
        of(frames_halt, 0x54)
    });
    check("mask.of-a-gate", (1, 0, 0x200), || of(frames_gate, 0));
    check(
        "mask.kept-by-a-gate-without-the-flag",
        (0, 0, 0x200),
        || {
            bench.entry(0x80, 3);
            let answer = of(frames_gate, 0);
            bench.entry(0x80, 4 | 3);
            answer
        },
    );
    check("mask.bytes-behind-it", 0xaa_aaaa, || {
        for at in [2, 3, 4] {
            bench.shared.byte(at).store(0xaa, SeqCst);
        }
        let record = bench.trip(frames_undefined);
        for at in [2, 3, 4] {
            bench.shared.byte(at).store(0, SeqCst);
        }
        seen(record.words[3] >> 40)
    });
}

fn upcalls(bench: &Bench) {
    check("upcall.comes-behind-the-call", (EVENT, true), || {
        let record = bench.trip(frames_call);
        (
            seen(record.number),
            seen(record.words[2] == place(frames_behind)),
        )
    });
    check("upcall.masks", (1, 0), || {
        let record = bench.trip(frames_call);
        (seen(record.mask), seen(record.words[3] >> 32 & 0xff))
    });
    check("upcall.leaves-pending", (EVENT, 1), || {
        let record = bench.trip(frames_call);
        (seen(record.number), seen(bench.shared.byte(0).load(SeqCst)))
    });
    check("upcall.frame-has-no-error-code", (EVENT, 56), || {
        let record = bench.trip(frames_call);
        (seen(record.number), seen(bench.top() - record.rsp))
    });
    check("upcall.result-of-the-call-is-kept", (EVENT, 0x202), || {
        let record = bench.trip(frames_call);
        // R11 has the flags, as behind any call.
        (seen(record.number), seen(record.words[1] & 0x3202))
    });
    check("upcall.registered-by-set_callbacks", (0, EVENT), || {
        let result = call(SET_CALLBACKS, &[entry_of(EVENT), 0, entry_of(SYSCALL)]);
        (result, seen(bench.trip(frames_call).number))
    });
}

fn user_mode(bench: &Bench) {
    check("user.frame-is-on-the-kernel-stack", (6, [56, 56]), || {
        let record = bench.user(0x10);
        let first = bench.kernel.address + 4096 - record.rsp;
        bench.kernel_stack(25);
        // 25 below, and then down to a multiple of 16.
        let second = bench.kernel.address + 4096 - 32 - bench.user(0x10).rsp;
        bench.kernel_stack(0);
        (seen(record.number), seen([first, second]))
    });
    check("user.code-segment-says-user", (6, 0xe033), || {
        let record = bench.user(0x10);
        (seen(record.number), seen(record.words[3] & 0xffff_ffff))
    });
    check("user.stack-is-the-users", (true, 0xe02b), || {
        let record = bench.user(0x10);
        (
            seen(record.words[5] == bench.user_stack),
            seen(record.words[6]),
        )
    });
    check("user.registers-of-the-return", [RCX, R11, RBX], || {
        let record = bench.user(0x10);
        seen([record.words[0], record.words[1], record.rbx])
    });
    check("user.direction-flag-is-kept", (0x602, 0x602), || {
        let record = bench.user(0x60);
        (seen(record.flags), seen(record.words[4]))
    });
    check("user.page-fault-code", (14, 4), || {
        let record = bench.user(0x30);
        (seen(record.number), seen(record.words[2]))
    });
    check("user.gate-that-is-open", (0x80, 2), || {
        let record = bench.user(0x40);
        (
            seen(record.number),
            seen(record.words[2].wrapping_sub(bench.code + 0x40)),
        )
    });
    check("user.gate-that-is-not", (13, true), || {
        let record = bench.user(0x20);
        (
            seen(record.number),
            seen(record.words[3] == bench.code + 0x20),
        )
    });
    check("user.gate-80-is-open-to-all", 0x80, || {
        bench.entry(0x80, 4);
        let record = bench.user(0x40);
        bench.entry(0x80, 4 | 3);
        seen(record.number)
    });
    check("user.privileged", (13, 0, true), || {
        let record = bench.user(0x80);
        (
            seen(record.number),
            seen(record.words[2]),
            seen(record.words[3] == bench.code + 0x80),
        )
    });
}

fn system_calls(bench: &Bench) {
    check(
        "syscall.saved-registers-are-rip-and-flags",
        (SYSCALL, [2, 0x202]),
        || {
            let record = bench.user(0);
            (
                seen(record.number),
                seen([
                    record.words[0].wrapping_sub(bench.code),
                    record.words[1] & 0x3202,
                ]),
            )
        },
    );
    check("syscall.frame", (SYSCALL, [2, 0xe033, 0x202], true), || {
        let record = bench.user(0);
        (
            seen(record.number),
            seen([
                record.words[2].wrapping_sub(bench.code),
                record.words[3] & 0xffff_ffff,
                record.words[4],
            ]),
            seen(record.words[5] == bench.user_stack),
        )
    });
    check("syscall.direction-flag", (SYSCALL, 0x602, 0x602), || {
        let record = bench.user(0x50);
        (
            seen(record.number),
            seen(record.flags),
            seen(record.words[4]),
        )
    });
    check(
        "syscall.other-flags-are-cleared",
        (SYSCALL, 0x202, 0x4_4202),
        || {
            let record = bench.user_with(0, 0xe033, 0x4_4202);
            (
                seen(record.number),
                seen(record.flags),
                seen(record.words[4]),
            )
        },
    );
    check(
        "syscall.mask-is-kept-without-the-flag",
        (SYSCALL, 0),
        || {
            let record = bench.user(0);
            (seen(record.number), seen(record.mask))
        },
    );
    check("syscall.mask-is-set-by-the-flag", (0, 1), || {
        let place = [2 | 1 << 16, entry_of(SYSCALL)];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        (result, seen(bench.user(0).mask))
    });
    check("syscall.set_callbacks-clears-the-flag", (0, 0), || {
        bench.callback(2, SYSCALL, 1);
        let result = call(SET_CALLBACKS, &[entry_of(EVENT), 0, entry_of(SYSCALL)]);
        (result, seen(bench.user(0).mask))
    });
    check("syscall.without-a-callback", (0, (6, 0)), || {
        let place = [2_u64, 0];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        let record = bench.user(0);
        bench.callback(2, SYSCALL, 0);
        let at = record.words[2].wrapping_sub(bench.code);
        (result, (seen(record.number), seen(at)))
    });
    check("syscall32.frame", (SYSCALL_32, [2, 0xe023]), || {
        let record = bench.user_with(0, 0xe023, 0x202);
        (
            seen(record.number),
            seen([
                record.words[2].wrapping_sub(bench.code),
                record.words[3] & 0xffff_ffff,
            ]),
        )
    });
    check("syscall32.mask-is-set-by-its-flag", (SYSCALL_32, 0), || {
        bench.callback(7, SYSCALL_32, 1);
        let record = bench.user_with(0, 0xe023, 0x202);
        bench.callback(7, SYSCALL_32, 0);
        (seen(record.number), seen(record.mask))
    });
    check("syscall32.without-a-callback", (0, (6, 0)), || {
        let place = [7_u64, 0];
        let result = call(CALLBACK_OP, &[0, address_of(&place)]);
        let record = bench.user_with(0, 0xe023, 0x202);
        let at = record.words[2].wrapping_sub(bench.code);
        (result, (seen(record.number), seen(at)))
    });
}

fn levels(bench: &Bench) {
    let set = |level: u64| {
        prepare(PHYSDEV_OP, &[6, address_of(&level)]);
    };
    check("level.is-not-shown", 0, || {
        set(3);
        let record = bench.trip(frames_undefined);
        set(1);
        seen(record.words[4] & 0x3000)
    });
    check("level.is-shown-with-the-assist", (0, 0x3000), || {
        let on = call(VM_ASSIST, &[0, 4]);
        set(3);
        let record = bench.trip(frames_undefined);
        set(0);
        prepare(VM_ASSIST, &[1, 4]);
        (on, seen(record.words[4] & 0x3000))
    });
    check(
        "level.comes-from-a-return-with-the-assist",
        (0, 0x2000),
        || {
            let on = call(VM_ASSIST, &[0, 4]);
            let record = bench.user_with(0x10, 0xe033, 0x2202);
            set(0);
            prepare(VM_ASSIST, &[1, 4]);
            (on, seen(record.words[4] & 0x3000))
        },
    );
}
