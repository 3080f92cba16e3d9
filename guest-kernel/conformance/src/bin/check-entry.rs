//! How a kernel is started: `start_info`, the first tables, the shared page, what is there before anything was asked for.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering::SeqCst;

use guest_conformance::fixture::{Frame, own_number, read};
use guest_conformance::instruction::{Outcome, run};
use guest_conformance::shared::Shared;
use guest_conformance::{
    Role, SELF, address_of, call, check, finish, instruction, prepare, role, seen, skip, start,
    unless_first,
};
use guest_kernel::paging::{Access, Mapping, Mfn};
use guest_kernel::start::Boot;
use guest_kernel::user::{Exit, Program};
use hypercall_abi::number::{EVENT_CHANNEL_OP, GRANT_TABLE_OP, MEMORY_OP, VCPU_OP};

guest_kernel::entry!(main);

instruction! {
    load_fs_base: "mov ecx, 0xc0000100", "rdmsr", "shl rdx, 32", "or rax, rdx";
    load_user_gs_base: "mov ecx, 0xc0000102", "rdmsr", "shl rdx, 32", "or rax, rdx";
    task_switched: "mov rax, cr0", "and eax, 8";
    vector_state: "sub rsp, 8", "stmxcsr [rsp]", "mov eax, [rsp]", "add rsp, 8";
}

fn main(boot: &'static Boot) {
    start(boot);
    numbers(boot);
    shared_page();
    state();
    if role() == Role::Ordinary {
        rings(boot);
    } else {
        skip("ring.console-port", "the first domain has no rings");
        skip("ring.store-port", "the first domain has no rings");
        skip("ring.console-grant", "the first domain has no rings");
        skip("ring.store-grant", "the first domain has no rings");
        skip("ring.frames-are-own-pages", "the first domain has no rings");
    }
    user_mode();
    finish()
}

fn numbers(boot: &Boot) {
    let info = boot.start_info();
    check("start_info.magic", true, || {
        seen(info.magic.starts_with(b"xen-3.0-x86_64\0"))
    });
    check("start_info.pages-are-owned", true, || {
        let owned = call(MEMORY_OP, &[3, address_of(&SELF)]);
        u64::try_from(owned).is_ok_and(|owned| owned + 64 >= info.nr_pages && info.nr_pages > 1000)
    });
    check("start_info.shared-page-is-aligned", true, || {
        seen(info.shared_info & 0xfff == 0 && info.shared_info != 0)
    });
    check("start_info.privilege-flags", unless_first(3, 0), || {
        seen(info.flags & 3)
    });
    check("start_info.no-package-of-modules", 0, || {
        seen(info.flags & 4)
    });
    check("start_info.tables-are-in-the-mapping", true, || {
        seen(info.pt_base >= 0xffff_ffff_8000_0000 && info.pt_base & 0xfff == 0)
    });
    check("start_info.table-count", true, || {
        seen((4..100).contains(&info.nr_pt_frames))
    });
    check("start_info.page-list-is-there", true, || {
        seen(info.mfn_list != 0)
    });
    check("start_info.command-line-is-ended", true, || {
        seen(info.cmd_line.contains(&0))
    });
    check("start_info.no-ramdisk", [0, 0], || {
        seen([info.mod_start, info.mod_len])
    });
    check("start_info.tools-list-flag", 0, || seen(info.flags & 16));
}

fn shared_page() {
    let shared = Shared::map();
    check("shared.other-vcpus-are-masked", [1; 3], || {
        seen([1, 2, 3].map(|vcpu| shared.byte(64 * vcpu + 1).load(SeqCst)))
    });
    check("shared.other-vcpus-have-nothing-pending", [0; 3], || {
        seen([1, 2, 3].map(|vcpu| shared.byte(64 * vcpu).load(SeqCst)))
    });
    check("shared.reserved-end-is-0", true, || {
        seen(
            (0xc40..4096)
                .step_by(8)
                .all(|at| shared.word(at).load(SeqCst) == 0),
        )
    });
    check("shared.clock-of-vcpu-0-is-valid", true, || {
        seen(shared.half(0x20).load(SeqCst) != 0 && shared.half(0x38).load(SeqCst) != 0)
    });
    check("shared.page-list-is-the-guests", [0, 0], || {
        seen([
            shared.word(0xc10).load(SeqCst),
            shared.word(0xc18).load(SeqCst),
        ])
    });
    check("shared.no-nmi-reason", 0, || {
        seen(shared.word(0xc20).load(SeqCst))
    });
}

fn state() {
    check("state.fs-base", Outcome::Gives(0), || {
        run(load_fs_base, 0, 0)
    });
    check("state.user-gs-base", Outcome::Gives(0), || {
        run(load_user_gs_base, 0, 0)
    });
    check("state.fpu-is-usable", Outcome::Gives(0), || {
        run(task_switched, 0, 0)
    });
    check("state.vector-control", Outcome::Gives(0x1f80), || {
        run(vector_state, 0, 0)
    });
    check("state.other-vcpus-are-down", 1, || {
        let up = [1, 2, 3].map(|vcpu| prepare(VCPU_OP, &[3, vcpu, 0]));
        call(VCPU_OP, &[3_u64, 0, 0]) - up.iter().sum::<i64>()
    });
    check("state.own-number", unless_first(true, true), || {
        let own = own_number();
        seen(if role() == Role::First {
            own == 0
        } else {
            own != 0 && own < 0x7ff0
        })
    });
}

fn status(port: u64) -> (i64, u64, u64) {
    let place = [SELF | port << 32, 0, 0];
    let result = call(EVENT_CHANNEL_OP, &[5, address_of(&place)]);
    (
        result,
        read(address_of(&place) + 8) & 0xffff_ffff,
        read(address_of(&place) + 16) & 0xffff,
    )
}

fn rings(boot: &Boot) {
    let info = boot.start_info();
    check("ring.console-port", (0, 2, 0), || {
        let (result, state, domain) = status(u64::from(info.console_evtchn.0));
        (result, seen(state), seen(domain))
    });
    check("ring.store-port", (0, 2, 0), || {
        let (result, state, domain) = status(u64::from(info.store_evtchn.0));
        (result, seen(state), seen(domain))
    });
    let list = [0_u64];
    let setup = [SELF | 1 << 32, 0, address_of(&list)];
    prepare(GRANT_TABLE_OP, &[2, address_of(&setup), 1]);
    let table = Mapping::new(&[Mfn(read(address_of(&list)))], Access::ReadWrite);
    let entry = |place: u64| {
        let value = table
            .as_ref()
            .map_or(0, |table| read(table.address() as u64 + 8 * place));
        // Who is there may be using it: type, domain, frame.
        (value & 3, value >> 16 & 0xffff, value >> 32)
    };
    check("ring.console-grant", (1, 0, true), || {
        let (kind, domain, frame) = entry(0);
        (seen(kind), seen(domain), seen(frame == info.console_mfn.0))
    });
    check("ring.store-grant", (1, 0, true), || {
        let (kind, domain, frame) = entry(1);
        (seen(kind), seen(domain), seen(frame == info.store_mfn.0))
    });
    check("ring.frames-are-own-pages", [true; 2], || {
        let page = |frame: u64| read(0xffff_8000_0000_0000 + 8 * frame) < info.nr_pages;
        seen([page(info.console_mfn.0), page(info.store_mfn.0)])
    });
}

/// Runs a user program until it stops for a reason of its own, with RDI.
fn user(code: &[u8], argument: u64) -> (u64, u64, u64) {
    let Some(mut thread) = Program::load(code)
        .ok()
        .and_then(|mut program| program.thread().ok())
    else {
        return (u64::MAX, 0, 0);
    };
    thread.frame_mut().rdi = argument;
    loop {
        match thread.run() {
            Exit::Event => {}
            Exit::SystemCall { number, argument } => return (seen(256_u64), number, argument),
            Exit::Fault(fault) => return (seen(fault.vector), fault.error_code, 0),
        }
    }
}

fn user_mode() {
    let page = Frame::take();
    check("user.syscall-reaches-the-kernel", (256, 17, 5), || {
        // mov eax, 17; syscall
        user(&[0xb8, 17, 0, 0, 0, 0x0f, 0x05], 5)
    });
    check("user.undefined", (6, 0, 0), || user(&[0x0f, 0x0b], 0));
    check("user.breakpoint", (3, 0, 0), || user(&[0xcc], 0));
    check("user.halt", (13, 0, 0), || user(&[0xf4], 0));
    check("user.cli", (13, 0, 0), || user(&[0xfa], 0));
    check("user.in", (13, 0, 0), || user(&[0xe4, 0x80], 0));
    check("user.rdmsr", (13, 0, 0), || {
        user(&[0xb9, 0x77, 2, 0, 0, 0x0f, 0x32], 0)
    });
    check("user.read-cr0", (13, 0, 0), || user(&[0x0f, 0x20, 0xc0], 0));
    check("user.kernel-page-is-not-there", (14, 4, 0), || {
        // mov rax, [rdi]
        user(&[0x48, 0x8b, 0x07], page.address)
    });
    check("user.store-to-kernel-page", (14, 6, 0), || {
        // mov [rdi], rax
        user(&[0x48, 0x89, 0x07], page.address)
    });
    check("user.fault-code-has-the-user-bit", (14, 4, 0), || {
        user(&[0x48, 0x8b, 0x07], 0x1000)
    });
    check("user.code-cannot-be-written", (14, 7, 0), || {
        // lea rdi, [rip]; mov [rdi], rax
        user(&[0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0x48, 0x89, 0x07], 0)
    });
    check("user.hypervisor-is-not-there", 14, || {
        user(&[0x48, 0x8b, 0x07], 0xffff_8300_0000_0000).0
    });
    check("user.forced-cpuid", (256, 1, 0x566e_6558), || {
        // mov eax, 0x40000000; forced cpuid; mov edi, ebx; mov eax, 1; syscall
        user(
            &[
                0xb8, 0, 0, 0, 0x40, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2, 0x89, 0xdf, 0xb8, 1,
                0, 0, 0, 0x0f, 0x05,
            ],
            0,
        )
    });
    check("user.selectors", (256, 1, 0xe033), || {
        // mov edi, cs; mov eax, 1; syscall
        user(&[0x8c, 0xcf, 0xb8, 1, 0, 0, 0, 0x0f, 0x05], 0)
    });
    check("user.stack-selector", (256, 1, 0xe02b), || {
        // mov edi, ss; mov eax, 1; syscall
        user(&[0x8c, 0xd7, 0xb8, 1, 0, 0, 0, 0x0f, 0x05], 0)
    });
    check("user.interrupts-read-enabled", (256, 1, 0x200), || {
        // pushfq; pop rdi; and edi, 0x200; mov eax, 1; syscall
        user(
            &[
                0x9c, 0x5f, 0x81, 0xe7, 0, 2, 0, 0, 0xb8, 1, 0, 0, 0, 0x0f, 0x05,
            ],
            0,
        )
    });
}
