//! Random operations of the first domain on another one, half of them hostile, interrupted at random: tables, mappings,
//! grants, exchanges, and its end at any moment. All frames are recounted after each step.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hypercall_abi::control::ControlArgument;
use hypercall_abi::control::audit::Audit;
use hypercall_abi::control::domain::{
    DOMAIN_STATE_DYING, DomainCreate, DomainDestroy, DomainInfo, DomainSetLimit,
};
use hypercall_abi::control::grant::GrantSeed;
use hypercall_abi::control::host::{HostInfo, HostPromises, most_overhead};
use hypercall_abi::grant::{
    GNTMAP_DEVICE_MAP, GNTMAP_HOST_MAP, GNTMAP_READONLY, GNTTABOP_MAP_GRANT_REF,
    GNTTABOP_UNMAP_GRANT_REF, MapGrantRef, UnmapGrantRef,
};
use hypercall_abi::memory::{
    MemoryExchange, MemoryReservation, XENMEM_DECREASE_RESERVATION, XENMEM_EXCHANGE,
    XENMEM_POPULATE_PHYSMAP,
};
use hypercall_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE, MmuUpdate, MmuextOp};
use hypercall_abi::table::prelude::RegisterArgument;
use hypercall_abi::{GuestPtr, RawDomId, RawGrantRef, RawMfn, number};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::entry::Entry;
use crate::fake::bench::{Bench, DATA};
use crate::fake::{Preempt, next_random};

const SECOND: RawDomId = RawDomId(3);
/// Both halves of the domain word mean the second domain.
const BOTH: u64 = 4 << 16 | 3;
const LIST: u64 = DATA + 0x800;
/// Pages of the first domain whose mappings the storm uses.
const WINDOWS: [u64; 2] = [DATA + 0x1000, DATA + 0x2000];
const FRAMES: u64 = 12;
const STEPS: usize = 400;

struct Storm {
    bench: Bench,
    random: u64,
    frames: Vec<u64>,
    handles: Vec<(u32, u64, u64)>,
    /// The device's address by handle, as told last.
    told: BTreeMap<u32, u64>,
    /// Frames up to which the second domain may take more.
    limit: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        Self {
            bench: Bench::new(),
            random: next_random(seed),
            frames: Vec::new(),
            handles: Vec::new(),
            told: BTreeMap::new(),
            limit: FRAMES,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = next_random(self.random);
        (self.random >> 33) % limit
    }

    /// A frame of the second domain's, or one that was; at times any other.
    fn frame(&mut self) -> u64 {
        if self.frames.is_empty() || self.below(16) == 0 {
            return 0x100 + self.below(0x80);
        }
        let index = self.below(u64::try_from(self.frames.len()).unwrap());
        self.frames[usize::try_from(index).unwrap()]
    }

    fn window(&mut self) -> u64 {
        WINDOWS[usize::try_from(self.below(2)).unwrap()]
    }

    /// A hypercall, repeated as often as it asks for that.
    fn call(&mut self, number: u32, arguments: [u64; 4]) -> u64 {
        let registers = &mut self.bench.state().registers;
        registers.rax = number.into();
        [registers.rdi, registers.rsi, registers.rdx, registers.r10] = arguments;
        registers.rip += 2;
        let rip = registers.rip;
        for _ in 0..10_000 {
            self.bench.enter(Entry::Syscall);
            let registers = &mut self.bench.state().registers;
            if registers.rip == rip {
                return registers.rax;
            }
            assert_eq!(registers.rip, rip - 2);
            registers.rip = rip;
        }
        panic!("hypercall {number} never ends");
    }

    fn with<T: IntoBytes + Immutable>(&mut self, number: u32, argument: &T, rest: [u64; 3]) -> u64 {
        self.bench.write(DATA, argument);
        let [a, b, c] = rest;
        self.call(number, [DATA, a, b, c])
    }

    fn control<T: ControlArgument>(&mut self, fill: impl FnOnce(&mut T)) -> (u64, T) {
        let mut argument = T::new_zeroed();
        argument.as_mut_bytes()[..8].copy_from_slice(T::HEADER.as_bytes());
        fill(&mut argument);
        self.bench.write(DATA, &argument);
        let operation = T::OPERATION.to_register();
        let result = self.call(number::PARAVANE_OP, [operation, DATA, 0, 0]);
        (result, self.bench.read(DATA))
    }

    fn preempt(&mut self, when: Preempt) {
        self.bench
            .hv
            .machine()
            .order(|orders| orders.preempt = when);
    }

    fn recount(&mut self, step: usize, what: u64) {
        self.preempt(Preempt::Never);
        let (result, audit) = self.control(|_: &mut Audit| {});
        let first = core::str::from_utf8(&audit.first).unwrap();
        assert_eq!(
            (result, audit.breaches),
            (0, 0),
            "step {step}, {what}: {first}"
        );
        self.recount_promises();
        self.preempt(Preempt::OneIn(4));
    }

    /// What the second domain can take yet is what its record leaves of its limit.
    fn recount_promises(&mut self) {
        let (_, info) = self.control(|request: &mut DomainInfo| request.first = SECOND);
        let record = info.record;
        let promised = if record.domid == SECOND && record.state != DOMAIN_STATE_DYING {
            let taken = record.shared_frames + record.overhead_frames;
            let overhead = most_overhead(record.max_frames) - taken;
            self.limit.saturating_sub(record.frames) + overhead
        } else {
            0
        };
        let (_, host) = self.control(|_: &mut HostInfo| {});
        let (result, told) = self.control(|_: &mut HostPromises| {});
        assert_eq!((result, told.promised_frames), (0, promised));
        assert_eq!(told.free_frames, host.free_frames);
    }

    fn set_limit(&mut self) {
        let limit = self.below(2 * FRAMES);
        let (result, _) = self.control(|request: &mut DomainSetLimit| {
            (request.domid, request.limit_frames) = (SECOND, limit);
        });
        if result == 0 {
            self.limit = limit;
        }
    }

    fn create(&mut self) {
        let (result, _) = self.control(|request: &mut DomainCreate| {
            (request.domid, request.max_vcpus) = (SECOND, 1);
            (request.max_frames, request.weight) = (FRAMES, 256);
        });
        if result == 0 {
            self.frames.clear();
            self.limit = FRAMES;
        }
    }

    fn destroy(&mut self) -> u64 {
        self.control(|request: &mut DomainDestroy| request.domid = SECOND)
            .0
    }

    fn reservation(count: u64, order: u32) -> MemoryReservation {
        MemoryReservation {
            extent_start: GuestPtr::new(LIST),
            nr_extents: count,
            extent_order: order,
            domid: SECOND,
            ..MemoryReservation::default()
        }
    }

    fn memory<T: IntoBytes + Immutable>(&mut self, operation: u32, argument: &T) -> u64 {
        self.bench.write(DATA, argument);
        self.call(number::MEMORY_OP, [operation.into(), DATA, 0, 0])
    }

    fn populate(&mut self) {
        let pfns: [u64; 4] = core::array::from_fn(|_| self.below(64));
        self.bench.write(LIST, &pfns);
        let done = self.memory(XENMEM_POPULATE_PHYSMAP, &Self::reservation(4, 0));
        let given: [u64; 4] = self.bench.read(LIST);
        self.frames
            .extend(given.iter().take(usize::try_from(done).unwrap()));
    }

    fn decrease(&mut self) {
        let frame = self.frame();
        self.bench.write(LIST, &frame);
        self.memory(XENMEM_DECREASE_RESERVATION, &Self::reservation(1, 0));
    }

    fn exchange(&mut self) {
        let list: [u64; 4] = core::array::from_fn(|_| self.frame());
        self.bench.write(LIST, &list);
        let large = self.below(2) == 0;
        let mut argument = MemoryExchange::new_zeroed();
        argument.input = Self::reservation(2, 0);
        argument.output = if large {
            Self::reservation(1, 1)
        } else {
            Self::reservation(2, 0)
        };
        argument.output.extent_start = GuestPtr::new(LIST + 0x100);
        self.bench.write(LIST + 0x100, &[1_u64, 2]);
        if self.memory(XENMEM_EXCHANGE, &argument) == 0 {
            let new: [u64; 2] = self.bench.read(LIST + 0x100);
            let second = if large { new[0] + 1 } else { new[1] };
            self.frames.extend([new[0], second]);
        }
    }

    fn update(&mut self) {
        let flags = [0, 1, 3, 5, 7, 0x67][usize::try_from(self.below(6)).unwrap()];
        let offset = self.below(4) * 8 + self.below(2) * 0x800;
        let request = MmuUpdate {
            ptr: (self.frame() << 12) + offset + (self.below(3) & 2),
            val: (self.frame() << 12) + flags,
        };
        self.with(number::MMU_UPDATE, &request, [1, 0, BOTH]);
    }

    fn extended(&mut self) {
        let cmd = if self.below(3) == 0 {
            MMUEXT_UNPIN_TABLE
        } else {
            MMUEXT_PIN_L1_TABLE + u32::try_from(self.below(4)).unwrap()
        };
        let request = MmuextOp {
            cmd,
            arg1: self.frame(),
            ..MmuextOp::new_zeroed()
        };
        self.with(number::MMUEXT_OP, &request, [1, 0, 3]);
    }

    fn map(&mut self) {
        let flags = [0, 5, 7][usize::try_from(self.below(3)).unwrap()];
        let entry = (self.frame() << 12) + flags;
        let window = self.window();
        let entry = if flags == 0 { 0 } else { entry };
        self.call(number::UPDATE_VA_MAPPING_OTHERDOMAIN, [window, entry, 0, 3]);
    }

    fn grant(&mut self) {
        let (frame, gref) = (self.frame(), u32::try_from(self.below(8)).unwrap());
        self.control(|request: &mut GrantSeed| {
            (request.domid, request.gref) = (SECOND, RawGrantRef(gref));
            request.mfn = RawMfn(frame);
        });
        let kinds = [
            GNTMAP_HOST_MAP,
            GNTMAP_DEVICE_MAP,
            GNTMAP_HOST_MAP | GNTMAP_DEVICE_MAP,
        ];
        let read_only = [0, GNTMAP_READONLY][usize::try_from(self.below(2)).unwrap()];
        let request = MapGrantRef {
            host_addr: self.window(),
            flags: kinds[usize::try_from(self.below(3)).unwrap()] | read_only,
            gref: RawGrantRef(gref),
            dom: SECOND,
            ..MapGrantRef::default()
        };
        self.bench.write(DATA, &request);
        let command = u64::from(GNTTABOP_MAP_GRANT_REF);
        self.call(number::GRANT_TABLE_OP, [command, DATA, 1, 0]);
        let answer: MapGrantRef = self.bench.read(DATA);
        if answer.status == 0 {
            self.told.insert(answer.handle, answer.dev_bus_addr);
            self.handles
                .push((answer.handle, request.host_addr, answer.dev_bus_addr));
        }
    }

    fn unmap(&mut self) {
        let Some((handle, host_addr, dev_bus_addr)) = self.handles.pop() else {
            return;
        };
        let request = UnmapGrantRef {
            host_addr: if self.below(4) == 0 { 0 } else { host_addr },
            dev_bus_addr: if self.below(4) == 0 { 0 } else { dev_bus_addr },
            handle,
            ..UnmapGrantRef::default()
        };
        self.bench.write(DATA, &request);
        let command = u64::from(GNTTABOP_UNMAP_GRANT_REF);
        self.call(number::GRANT_TABLE_OP, [command, DATA, 1, 0]);
        if self.below(2) == 0 {
            self.handles.insert(0, (handle, host_addr, dev_bus_addr));
        }
    }

    fn step(&mut self) -> u64 {
        let what = self.below(41);
        match what {
            0..8 => self.update(),
            8..16 => self.extended(),
            16..20 => self.map(),
            20..25 => self.grant(),
            25..30 => self.unmap(),
            30..32 => self.decrease(),
            32..35 => self.populate(),
            35..38 => self.exchange(),
            38 => {
                self.destroy();
            }
            39 => self.set_limit(),
            _ => self.create(),
        }
        what
    }

    /// Ends everything: nothing may be left of the second domain.
    fn end(mut self, before: u64) {
        self.preempt(Preempt::Never);
        for window in WINDOWS {
            self.call(number::UPDATE_VA_MAPPING, [window, 0, 0, 0]);
        }
        for (handle, dev_bus_addr) in core::mem::take(&mut self.told) {
            let request = UnmapGrantRef {
                dev_bus_addr,
                handle,
                ..UnmapGrantRef::default()
            };
            self.bench.write(DATA, &request);
            let command = u64::from(GNTTABOP_UNMAP_GRANT_REF);
            self.call(number::GRANT_TABLE_OP, [command, DATA, 1, 0]);
        }
        let ended = self.destroy();
        let gone = hypercall_abi::Errno::ESRCH.to_register();
        assert!(ended == 0 || ended == gone, "{ended:#x}");
        self.recount(STEPS, 0);
        let (_, host) = self.control(|_: &mut HostInfo| {});
        assert_eq!(host.free_frames, before);
    }
}

#[test]
fn a_storm_over_another_domain_keeps_every_count() {
    for seed in 1..9 {
        let mut storm = Storm::new(seed);
        for window in WINDOWS {
            storm.call(number::UPDATE_VA_MAPPING, [window, 0, 0, 0]);
        }
        let (_, host) = storm.control(|_: &mut HostInfo| {});
        storm.bench.hv.machine().seed(seed);
        storm.create();
        storm.populate();
        for step in 0..STEPS {
            let what = storm.step();
            storm.recount(step, what);
        }
        storm.end(host.free_frames);
    }
}
