//! The order in which the machine comes up, on the boot CPU and on the others.

use crate::boot::cmdline::Options;
use crate::boot::information::{self, BootInformation};
use crate::boot::inventory::{self, Inventory};
use crate::boot::memory_map::{FreeMemory, PhysRange};
use crate::boot::smp;
use crate::cpu::{apic, features, gdt, idt, msr, own_root, percpu, speculation, tlb};
use crate::entry::{frame, probe};
use crate::machine::Hardware;
use crate::mem::layout::{self, LARGE_PAGE, PAGE};
use crate::mem::own_tables::{self, OwnTables, Rights};
use crate::mem::{devices, heap};
use crate::power::{self, Ending};
use crate::{acpi, logger, policy, rtc, tsc, uart};
use arrayvec::ArrayVec;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use hypervisor_core::frame::Layout;
use hypervisor_core::ids::Nanos;
use hypervisor_core::machine::Machine;
use hypervisor_core::{BootInfo, BootModule, FirstDomain, Hypervisor};

global_asm!(include_str!("start.s"), direct_map = const layout::DIRECT_MAP);

/// Memory below this is left to firmware and to the trampoline.
const LOW_MEMORY: u64 = 1 << 20;
/// First address of the image and of the boot code below it.
const LOADED_AT: u64 = 0x20_0000;

/// The most domains at once.
const MAX_DOMAINS: u16 = 256;
/// log2 of the bytes of RAM in a chunk of frame records.
const FRAMES_CHUNK_SHIFT: u32 = 27;
/// Bytes of heap that every machine gets beside what grows with its memory.
const LEAST_HEAP: u64 = 2 << 20;
/// No machine has so many domains that they need more heap than this.
const DOMAINS_HEAP_MAX: u64 = 32 << 20;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

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
extern "sysv64" fn boot_main(magic: u64, information: u64) -> ! {
    uart::start();
    // SAFETY: start.s passes on what the loader gave, and nothing has been written yet.
    let information = match unsafe { information::read(magic, information) } {
        Ok(information) => information,
        Err(error) => panic!("boot information: {error}"),
    };
    let options = read_options(&information);
    features::detect();
    // SAFETY: only this CPU runs, and the boot tables are loaded.
    unsafe { speculation::decide(options.speculation) };
    features::enable_no_execute();
    features::configure(features::get().without_smap());

    let mut free = FreeMemory::new(&information.map);
    let image = own_tables::image();
    // What the direct map has no room for is not used.
    let beyond = (layout::DIRECT_MAP_SIZE, 1 << 52);
    for (start, end) in [(0, LOW_MEMORY), (image.start, image.end), beyond] {
        free.remove(PhysRange { start, end });
    }
    let first_steps = PhysRange {
        start: LOADED_AT,
        end: image.start,
    };
    free.hold(first_steps);
    let modules = information.modules.iter().map(|module| module.range);
    for range in modules.chain(information.in_use) {
        free.hold(range);
    }
    let mut tables = OwnTables::new(&information.map, &mut free);
    let devices = tables.l1_of(&mut free, layout::DEVICES);
    tables.l1_of(&mut free, layout::CPU_AREAS);
    own_root::adopt(&tables);
    own_root::load();
    devices::start(devices);
    let apic = PhysRange::with_length(apic::REGISTERS, PAGE);
    tables.map(&mut free, apic::MAPPED, apic, Rights::Device);
    percpu::map_area(&mut tables, &mut free, 0, frame::entry_addresses());

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
    let tsc_stable = start_cpus(&mut boot);
    hypervisor_core::sync::install_relax(tlb::serve);
    let inventory = Inventory::take(&boot.information.map, &boot.free, &mut boot.tables);
    let hypervisor = policy::install(make_hypervisor(&boot, &inventory, tsc_stable));
    let (used, total) = heap::usage();
    log::info!(
        "{} CPUs, {} MiB RAM, {} MiB for guests, {} KiB of {} KiB heap used",
        smp::online(),
        boot.information.map.ram_bytes() >> 20,
        boot.free.bytes() >> 20,
        used >> 10,
        total >> 10,
    );
    let first = build_first_domain(hypervisor, &boot.information);
    // Nothing refers any more to what boot held: the modules are copied, and all CPUs run on their own stacks and tables.
    hypervisor.frames().admit(&inventory.later);
    hypervisor.start_first_domain(&first);
    policy::run()
}

/// Hands the machine over to the policy: from here on what is free is the pool.
fn make_hypervisor(
    boot: &Handover,
    inventory: &Inventory,
    tsc_stable: bool,
) -> Hypervisor<Hardware> {
    let layout = Layout {
        pool: &inventory.pool,
        withheld: &inventory.withheld,
        address_bits: inventory::address_bits(),
        no_execute: true,
        max_domains: MAX_DOMAINS,
    };
    let wallclock = Nanos::new(rtc::seconds() * NANOS_PER_SECOND);
    let information = BootInfo {
        layout,
        machine_map: &inventory.firmware_map,
        cpus: Hardware.online_cpus(),
        options: boot.options.for_policy(MAX_DOMAINS),
        wallclock: wallclock.saturating_sub(Nanos::new(tsc::nanos())),
        tsc_stable,
    };
    match Hypervisor::new(Hardware, &information) {
        Ok(hypervisor) => hypervisor,
        Err(error) => panic!("cannot start: {error}"),
    }
}

fn build_first_domain(
    hypervisor: &Hypervisor<Hardware>,
    information: &BootInformation,
) -> FirstDomain {
    let bytes = |range: PhysRange| {
        let start = layout::direct(range.start) as *const u8;
        // SAFETY: the module is not in the pool yet, so nobody writes there, and the direct map has all RAM.
        unsafe { core::slice::from_raw_parts(start, range.length() as usize) }
    };
    let modules: ArrayVec<BootModule<'_>, { information::MODULES }> = information
        .modules
        .iter()
        .map(|module| BootModule {
            bytes: bytes(module.range),
            line: &module.line,
        })
        .collect();
    match hypervisor.build_first_domain(&modules) {
        Ok(first) => first,
        Err(error) => {
            log::error!("the first domain does not start: {error}");
            power::end(Ending::NoFirstDomain)
        }
    }
}

/// Everything that each CPU sets up for itself.
fn configure_cpu() {
    let local = percpu::local();
    features::configure(features::get());
    gdt::load(local);
    idt::load();
    msr::configure(local.index(), features::get());
    speculation::configure();
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
    log::info!("{}", features::get());
    speculation::report();
}

/// Gives the heap its memory: the records of all frames, room for the domains that so much memory can hold, and what
/// any machine needs.
fn give_heap(boot: &mut Handover) {
    let records = records(boot.free.ranges());
    let domains = (boot.information.map.ram_bytes() >> 10).min(DOMAINS_HEAP_MAX);
    let length = records + domains + LEAST_HEAP;
    let memory = boot
        .free
        .take(length, LARGE_PAGE)
        .expect("the machine has memory for a heap");
    // SAFETY: taken from free memory for ever, and in the direct map.
    unsafe { heap::give(layout::direct(memory.start), memory.length()) };
}

/// Bytes of heap for the records of all frames in ascending ranges, which come in chunks of 2^15: 1 MiB for each chunk.
fn records(ranges: &[PhysRange]) -> u64 {
    let mut chunks = 0;
    let mut next = 0;
    for range in ranges {
        let first = (range.start >> FRAMES_CHUNK_SHIFT).max(next);
        next = ((range.end - 1) >> FRAMES_CHUNK_SHIFT) + 1;
        chunks += next.saturating_sub(first);
    }
    chunks << 20
}

/// Gives whether the CPUs' time stamp counters agree.
fn start_cpus(boot: &mut Handover) -> bool {
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
            frame::entry_addresses(),
        );
    }
    let trampoline = smp::trampoline_tables(&boot.tables, &mut boot.free);
    smp::start_others(&others, trampoline.root(), other_cpu_main)
}

/// Where the other CPUs come from the trampoline, on their own stack.
extern "sysv64" fn other_cpu_main() -> ! {
    own_root::load();
    configure_cpu();
    smp::announce();
    policy::run()
}
