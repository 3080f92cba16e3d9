//! The order in which the machine comes up, on the boot CPU and on the others.

use crate::boot::cmdline::Options;
use crate::boot::memory_map::{FreeMemory, PhysRange};
use crate::boot::pvh::BootInformation;
use crate::boot::{pvh, smp};
use crate::cpu::{apic, features, gdt, idt, msr, percpu};
use crate::entry::{frame, probe};
use crate::mem::heap;
use crate::mem::layout::{self, LARGE_PAGE, PAGE};
use crate::mem::own_tables::{self, OwnTables, Rights};
use crate::{acpi, logger, tsc, uart};
use arrayvec::ArrayVec;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

global_asm!(include_str!("start.s"), direct_map = const layout::DIRECT_MAP);

/// Memory below this is left to firmware and to the trampoline.
const LOW_MEMORY: u64 = 1 << 20;
/// First address of the image and of the boot code below it.
const LOADED_AT: u64 = 0x20_0000;

/// The root of our own tables, for every CPU.
static OWN_ROOT: AtomicU64 = AtomicU64::new(0);

/// What the boot CPU carries from its first stack to its second.
struct Handover {
    information: BootInformation,
    options: Options,
    free: FreeMemory,
    tables: OwnTables,
}

struct HandoverCell(UnsafeCell<Option<Handover>>);

// SAFETY: used by the boot CPU only, before others run.
unsafe impl Sync for HandoverCell {}

static HANDOVER: HandoverCell = HandoverCell(UnsafeCell::new(None));

/// The first Rust function: on the boot stack and the boot tables, interrupts off.
#[unsafe(no_mangle)]
extern "sysv64" fn boot_main(start_info: u64) -> ! {
    uart::start();
    // SAFETY: start.s passes on what the loader gave, and nothing has been written yet.
    let information = match unsafe { pvh::read(start_info) } {
        Ok(information) => information,
        Err(error) => panic!("boot information: {error}"),
    };
    let options = read_options(&information);
    features::detect();
    features::enable_no_execute();
    features::configure(features::get().without_smap());

    let mut free = FreeMemory::new(&information.map);
    for (start, end) in [(0, LOW_MEMORY), (LOADED_AT, own_tables::image().end)] {
        free.remove(PhysRange { start, end });
    }
    if let Some(module) = information.module {
        free.remove(module);
    }
    let mut tables = OwnTables::new(&information.map, &mut free);
    OWN_ROOT.store(tables.root(), Ordering::Relaxed);
    load_own_root();
    let apic = PhysRange::with_length(apic::REGISTERS, PAGE);
    tables.map(&mut free, apic::MAPPED, apic, Rights::Device);
    percpu::map_area(&mut tables, &mut free, 0, frame::guest_entry_address());

    // SAFETY: only the boot CPU runs.
    unsafe {
        *HANDOVER.0.get() = Some(Handover {
            information,
            options,
            free,
            tables,
        });
    }
    continue_on(percpu::stack_top(0), boot_on_own_stack)
}

fn read_options(information: &BootInformation) -> Options {
    let line = core::str::from_utf8(&information.command_line).unwrap_or("");
    let options = Options::parse(line, |_| ());
    if !options.console {
        uart::stop();
    }
    logger::start(options.log_level);
    log::info!("Paravane {} starts", env!("CARGO_PKG_VERSION"));
    Options::parse(line, |word| {
        log::warn!("command line: `{word}` means nothing and is ignored");
    });
    options
}

/// Loads our own root on this CPU.
pub(crate) fn load_own_root() {
    let root = OWN_ROOT.load(Ordering::Relaxed);
    // SAFETY: the root maps the hypervisor where it runs.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Begins anew on another stack.
fn continue_on(stack: u64, next: extern "sysv64" fn() -> !) -> ! {
    // SAFETY: the stack is mapped and unused; nothing of the old one is needed, as `next` does not return.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            stack = in(reg) stack,
            next = in(reg) next,
            options(noreturn),
        )
    }
}

extern "sysv64" fn boot_on_own_stack() -> ! {
    // SAFETY: only the boot CPU runs, and `boot_main` has left this for it.
    let handover = unsafe { (*HANDOVER.0.get()).take() };
    let mut boot = handover.expect("boot_main fills it");
    // SAFETY: once, on the boot CPU.
    unsafe { idt::build() };
    configure_cpu();
    let clock = tsc::calibrate();
    log::info!(
        "time stamp counter {} kHz, APIC timer {} kHz",
        clock.khz,
        clock.apic_khz
    );
    decide_smap(&boot.tables, &mut boot.free);
    give_heap(&mut boot);
    start_cpus(&mut boot);
    log::info!(
        "{} CPUs, {} MiB RAM, {} MiB for guests",
        smp::online(),
        boot.information.map.ram_bytes() >> 20,
        boot.free.bytes() >> 20,
    );
    panic!("end of boot")
}

/// Everything that each CPU sets up for itself.
fn configure_cpu() {
    let local = percpu::local();
    features::configure(features::get());
    gdt::load(local);
    idt::load();
    msr::configure(local.index(), features::get());
    apic::configure(local.index());
}

/// Keeps SMAP only where a guest's own IRETQ works beside it.
fn decide_smap(tables: &OwnTables, free: &mut FreeMemory) {
    if features::get().smap && !probe::iretq_at_ring_3_works(tables, free) {
        log::warn!(
            "iretq at ring 3 reads its frame as supervisor here (a fault of QEMU's TCG): SMAP stays off"
        );
        features::forbid_smap();
        features::configure(features::get());
    }
    log::info!("{:?}", features::get());
}

/// Gives the heap its memory: a fixed part and one that grows with the machine.
fn give_heap(boot: &mut Handover) {
    let length = (boot.information.map.ram_bytes() / 256).clamp(2 << 20, 64 << 20);
    let memory = boot
        .free
        .take(length, LARGE_PAGE)
        .expect("the machine has memory for a heap");
    // SAFETY: taken from free memory for ever, and in the direct map.
    unsafe { heap::give(layout::direct(memory.start), memory.length()) };
}

fn start_cpus(boot: &mut Handover) {
    let own = apic::id();
    let others: ArrayVec<u8, { layout::MAX_CPUS }> = acpi::cpus(boot.information.rsdp)
        .into_iter()
        .filter(|&id| id != own)
        .take(boot.options.max_cpus - 1)
        .collect();
    for index in 1..=others.len() {
        percpu::map_area(
            &mut boot.tables,
            &mut boot.free,
            index,
            frame::guest_entry_address(),
        );
    }
    let trampoline = smp::trampoline_tables(&boot.tables, &mut boot.free);
    smp::start_others(&others, trampoline.root(), other_cpu_main);
}

/// Where the other CPUs come from the trampoline, on their own stack.
extern "sysv64" fn other_cpu_main() -> ! {
    load_own_root();
    configure_cpu();
    smp::announce();
    loop {
        x86_64::instructions::hlt();
    }
}
