//! A host with a few domains on the fake machine, as the models, the fault injection and the preemption tests use it.
//!
//! Each domain has stable tables that map one page of arguments at [`ARGS`] and, in the same L1 table, a window for
//! `update_va_mapping`; its other frames are free for a test to play with. The recount and the judge of stale translations
//! run whenever a test asks.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test binary uses its part"
)]

use std::collections::BTreeMap;
use std::sync::RwLock;

use hypervisor_core::audit::{self, Hold, Holders, Pace, Recount, Report};
use hypervisor_core::domain::account::DomainMemory;
use hypervisor_core::fake::{Access, CachedUse, FakeMachine, next_random};
use hypervisor_core::frame::{AllocError, FrameRange, FrameTable, FrameType, Layout, OwnerId, Ram};
use hypervisor_core::ids::{EntryIndex, Frames, Level, Mfn, PhysCpu};
use hypervisor_core::machine::Machine;
use hypervisor_core::paging::{
    self, BatchArgs, BatchEnd, Call, Remains, Step, Tables, Teardown, VcpuMemory, World, root,
};
use hypervisor_core::sync::Held;
use hypervisor_core::vcpu::state::Mode;
use zerocopy::IntoBytes;

/// The address of the page of arguments: entry 0 of the stable L1 table.
pub(crate) const ARGS: u64 = 0xffff_ffff_8000_0000;
/// First address of the window: entry 1 of that table.
pub(crate) const WINDOW: u64 = ARGS + 0x1000;
/// Bytes of the argument page that the `done` word is behind.
pub(crate) const DONE: u64 = ARGS + 0xf00;

const POOL: [FrameRange; 2] = [
    FrameRange {
        start: 0x100,
        end: 0x128,
    },
    FrameRange {
        start: 0x400,
        end: 0x420,
    },
];

/// One domain.
pub(crate) struct Guest {
    pub(crate) domid: u16,
    pub(crate) memory: DomainMemory,
    pub(crate) vcpus: Vec<VcpuMemory>,
    /// The stable L4, L3, L2, L1 tables, then the page of arguments.
    pub(crate) stable: [Mfn; 5],
    /// Frames to play with.
    pub(crate) frames: Vec<Mfn>,
}

/// The machine and its domains. Domain 0 controls the others.
pub(crate) struct Host {
    pub(crate) machine: FakeMachine,
    pub(crate) frames: FrameTable,
    pub(crate) guests: Vec<Guest>,
    /// Who runs on each CPU: domain, vCPU.
    pub(crate) running: Vec<Option<(usize, usize)>>,
    pub(crate) holds: Vec<(Mfn, Hold)>,
    /// The recount goes on beside what happens, at this pace, and not after each step.
    pub(crate) beside: Option<Pace>,
    under_way: Option<Recount>,
    /// Shared by CPUs that are in the middle of something.
    pub(crate) busy: RwLock<()>,
    seen: BTreeMap<(u8, u64, u64), OwnerId>,
}

/// What one caller knows of the world.
pub(crate) struct View<'a> {
    host: &'a Host,
    caller: usize,
}

impl<'a> World for View<'a> {
    type Peer = &'a DomainMemory;

    fn own_domid(&self) -> u16 {
        self.host.guests[self.caller].domid
    }

    fn peer(&self, domid: u16) -> Option<&'a DomainMemory> {
        self.host
            .guests
            .iter()
            .find(|guest| guest.domid == domid)
            .map(|guest| &guest.memory)
    }

    fn controls(&self, _domid: u16) -> bool {
        self.own_domid() == 0
    }

    fn vcpu_count(&self) -> u32 {
        u32::try_from(self.host.guests[self.caller].vcpus.len()).unwrap()
    }

    fn cpu_of_vcpu(&self, vcpu: u32) -> Option<PhysCpu> {
        let vcpu = usize::try_from(vcpu).unwrap();
        let at = self
            .host
            .running
            .iter()
            .position(|&r| r == Some((self.caller, vcpu)))?;
        PhysCpu::new(u8::try_from(at).unwrap())
    }
}

impl Holders for Host {
    fn for_each_vcpu(&self, found: &mut dyn FnMut(&VcpuMemory)) {
        self.guests
            .iter()
            .flat_map(|guest| &guest.vcpus)
            .for_each(found);
    }

    fn for_each_hold(&self, found: &mut dyn FnMut(Mfn, Hold)) {
        self.holds.iter().for_each(|&(mfn, hold)| found(mfn, hold));
    }

    fn records(&self, _: OwnerId) -> Frames {
        Frames::new(0)
    }

    fn with_memory(&self, owner: OwnerId, work: &mut dyn FnMut(&DomainMemory)) {
        let mut guests = self.guests.iter().map(|guest| &guest.memory);
        guests.find(|memory| memory.owner() == owner).map(work);
    }

    fn stand_still(&self, work: &mut dyn FnMut()) {
        let _still = self.busy.write().unwrap();
        work();
    }
}

impl Host {
    /// A host with `domains` domains of two vCPUs and `frames` frames each, and as many CPUs as vCPUs.
    pub(crate) fn new(domains: u16, frames: usize) -> Self {
        let cpus = u8::try_from(domains * 2).unwrap();
        let machine = FakeMachine::new(&POOL, cpus);
        let layout = Layout {
            pool: &POOL,
            withheld: &[FrameRange {
                start: 0,
                end: 0x100,
            }],
            address_bits: 40,
            no_execute: true,
            max_domains: 8,
        };
        machine.order(|orders| orders.fetch_once = true);
        let table = FrameTable::new(&machine, &layout).unwrap();
        let mut host = Self {
            machine,
            frames: table,
            guests: Vec::new(),
            running: vec![None; usize::from(cpus)],
            holds: Vec::new(),
            beside: None,
            under_way: None,
            busy: RwLock::new(()),
            seen: BTreeMap::new(),
        };
        for domid in 0..domains {
            host.add_guest(domid, frames);
        }
        host
    }

    pub(crate) fn ram(&self) -> Ram<'_, FakeMachine> {
        Ram {
            machine: &self.machine,
            frames: &self.frames,
        }
    }

    pub(crate) fn allocate(&self, memory: &DomainMemory) -> Result<Mfn, AllocError> {
        loop {
            match self.ram().allocate_for(memory.owner(), 0, u64::MAX) {
                Err(AllocError::NotYet) => {}
                done => return done,
            }
        }
    }

    fn add_guest(&mut self, domid: u16, frames: usize) {
        let memory = DomainMemory::new(self.ram(), domid, Frames::new(200)).unwrap();
        let stable = [0; 5].map(|_| self.allocate(&memory).unwrap());
        for (level, pair) in Level::ALL.into_iter().rev().zip(stable.windows(2)) {
            let index = EntryIndex::of_virtual(ARGS, level);
            self.machine
                .write_entry(pair[0], index, pair[1].address() | 7);
        }
        let frames = (0..frames)
            .map(|_| self.allocate(&memory).unwrap())
            .collect();
        let vcpus: Vec<VcpuMemory> = (0..3).map(|_| VcpuMemory::new()).collect();
        self.guests.push(Guest {
            domid,
            memory,
            vcpus,
            stable,
            frames,
        });
        let at = self.guests.len() - 1;
        // The third vCPU never runs: it keeps the stable root a root.
        for vcpu in 0..3 {
            let guest = &self.guests[at];
            let mut held = Held::enter();
            let (tables, _) =
                Tables::lock(self.ram(), &guest.memory, &guest.vcpus[vcpu], &mut held);
            let assigned = tables.assign_roots(&guest.vcpus[vcpu], guest.stable[0].get(), 0);
            assert_eq!(assigned, Ok(Step::Done(())));
            drop(tables);
            if vcpu < 2 {
                self.run(u8::try_from(at * 2 + vcpu).unwrap(), Some((at, vcpu)));
            }
        }
    }

    /// Lets a CPU run a vCPU, or idle.
    pub(crate) fn run(&mut self, cpu: u8, next: Option<(usize, usize)>) {
        self.machine.set_cpu(cpu);
        let before = self.running[usize::from(cpu)].map(|(g, _)| &self.guests[g].memory);
        match next {
            Some((g, v)) => {
                let guest = &self.guests[g];
                root::enter(
                    self.ram(),
                    &guest.memory,
                    &guest.vcpus[v],
                    Mode::Kernel,
                    before,
                )
                .unwrap();
            }
            None => {
                if let Some(before) = before {
                    root::leave(self.ram(), before);
                }
            }
        }
        self.running[usize::from(cpu)] = next;
    }

    /// Makes the CPU of a vCPU the current one.
    pub(crate) fn on(&self, guest: usize, vcpu: usize) {
        let at = self
            .running
            .iter()
            .position(|&r| r == Some((guest, vcpu)))
            .expect("it runs");
        self.machine.set_cpu(u8::try_from(at).unwrap());
    }

    /// A call of a vCPU.
    pub(crate) fn with_call<T>(
        &self,
        guest: usize,
        vcpu: usize,
        make: impl FnOnce(Call<'_, FakeMachine, View<'_>>, &mut Held<'_, 0>) -> T,
    ) -> T {
        self.on(guest, vcpu);
        self.machine.begin_call();
        let world = View {
            host: self,
            caller: guest,
        };
        let domain = &self.guests[guest];
        let call = Call {
            ram: self.ram(),
            domain: &domain.memory,
            vcpu: &domain.vcpus[vcpu],
            world: &world,
        };
        make(call, &mut Held::enter())
    }

    /// Puts an array where the arguments are.
    pub(crate) fn put<T: IntoBytes + zerocopy::Immutable>(&self, guest: usize, array: &[T]) {
        self.machine
            .ram()
            .write(self.guests[guest].stable[4], 0, array.as_bytes());
    }

    pub(crate) fn batch(&self, guest: usize, vcpu: usize, op: Op, args: BatchArgs) -> BatchEnd {
        self.with_call(guest, vcpu, |call, held| match op {
            Op::Update => paging::mmu_update(call, args, held),
            Op::Ext => paging::mmuext_op(call, args, held),
        })
    }

    /// Issues a batch until it is done.
    pub(crate) fn batch_to_end(&self, guest: usize, vcpu: usize, op: Op, args: BatchArgs) -> i64 {
        let mut args = args;
        for _ in 0..100_000 {
            match self.batch(guest, vcpu, op, args) {
                BatchEnd::Done(result) => return result,
                BatchEnd::Again(next) => args = next,
            }
        }
        panic!("a batch makes no progress: {args:?}");
    }

    /// One request of `mmu_update` on own frames.
    pub(crate) fn update(&self, guest: usize, vcpu: usize, ptr: u64, val: u64) -> i64 {
        self.put(guest, &[hypercall_abi::mmu::MmuUpdate { ptr, val }]);
        self.batch_to_end(guest, vcpu, Op::Update, args(1))
    }

    /// One request of `mmuext_op`.
    pub(crate) fn ext(&self, guest: usize, vcpu: usize, cmd: u32, arg1: u64, arg2: u64) -> i64 {
        self.put(
            guest,
            &[hypercall_abi::mmu::MmuextOp {
                cmd,
                pad0: 0,
                arg1,
                arg2,
            }],
        );
        self.batch_to_end(guest, vcpu, Op::Ext, args(1))
    }

    /// Brings a vCPU back to its stable root, so that its arguments can be read again.
    pub(crate) fn rescue(&self, guest: usize, vcpu: usize) {
        self.on(guest, vcpu);
        let domain = &self.guests[guest];
        loop {
            let mut held = Held::enter();
            let (tables, _) =
                Tables::lock(self.ram(), &domain.memory, &domain.vcpus[vcpu], &mut held);
            if tables.finish_pending() == Step::Again {
                continue;
            }
            match tables.new_kernel_root(&domain.vcpus[vcpu], domain.stable[0].get()) {
                Ok(Step::Again) => {}
                done => {
                    assert_eq!(done, Ok(Step::Done(())));
                    return;
                }
            }
        }
    }

    /// Destroys domains step by step, with recounts. They may map each other's frames: each goes as far as it can until
    /// the others have let go. Their frames are all free afterwards.
    pub(crate) fn destroy(&mut self, guests: &[usize]) {
        for cpu in 0..self.running.len() {
            if self.running[cpu].is_some_and(|(g, _)| guests.contains(&g)) {
                self.run(u8::try_from(cpu).unwrap(), None);
            }
        }
        let mut ends: Vec<(usize, Teardown)> =
            guests.iter().map(|&g| (g, Teardown::new())).collect();
        for &guest in guests {
            self.guests[guest]
                .memory
                .account(&self.frames)
                .unwrap()
                .set_dying();
        }
        for step in 0..100_000 {
            let Some((guest, mut end)) = ends.pop() else {
                return;
            };
            let domain = &self.guests[guest];
            let remains = end.step(
                self.ram(),
                &domain.memory,
                domain.vcpus.iter(),
                &mut Held::enter(),
            );
            if remains == Remains::Nothing {
                assert!(self.frames.close_account(self.guests[guest].memory.owner()));
                self.check("a domain is destroyed");
            } else {
                ends.insert(0, (guest, end));
            }
            if step % 16 == 0 {
                self.check("destroying domains");
            }
        }
        panic!("the destruction makes no progress");
    }

    /// One more step of the recount that goes on beside what happens; what it has found so far.
    fn audit_beside(&mut self, pace: Pace) -> Report {
        let begun = self.under_way.take();
        let mut recount = begun.unwrap_or_else(|| Recount::begin(self.ram(), self, pace).unwrap());
        let done = recount.step(self.ram(), self);
        let report = *recount.report();
        self.under_way = (!done).then_some(recount);
        report
    }

    pub(crate) fn audit(&self) -> Report {
        audit::audit(self.ram(), self).unwrap()
    }

    /// Panics on the first breach.
    pub(crate) fn check(&mut self, what: &str) {
        let report = match self.beside {
            Some(pace) => self.audit_beside(pace),
            None => self.audit(),
        };
        if let Some(breach) = report.first {
            panic!("{what}: {breach} ({} breaches)", report.breaches);
        }
        self.judge(what);
    }

    /// Panics if a stale translation reaches what it must not: a table or descriptor page to write, data to walk, or
    /// somebody else's frame.
    fn judge(&mut self, what: &str) {
        let cached = self.machine.cached();
        let mut seen = BTreeMap::new();
        for (cpu, entry) in cached {
            let state = self.frames.type_state(entry.frame);
            let holding = self.frames.holding(entry.frame);
            let wrong = match (entry.how, state.kind) {
                _ if state.count == 0 => false,
                (CachedUse::Write, FrameType::Table(_) | FrameType::Descriptor) => true,
                (CachedUse::Walk(_), FrameType::Writable | FrameType::Descriptor) => true,
                (CachedUse::Walk(level), FrameType::Table(now)) => level != now,
                _ => false,
            };
            assert!(
                !wrong,
                "{what}: CPU {cpu} holds {entry:?}, but the frame is {state:?}"
            );
            let key = (
                cpu,
                entry.address << 2 | walk_bits(entry.how),
                entry.frame.get(),
            );
            let before = *self.seen.get(&key).unwrap_or(&holding.owner);
            let moved = holding.owner != before && holding.count != 0;
            assert!(
                !moved,
                "{what}: CPU {cpu} holds {entry:?}, but the frame went to another owner"
            );
            seen.insert(key, before);
        }
        self.seen = seen;
    }
}

fn walk_bits(how: CachedUse) -> u64 {
    match how {
        CachedUse::Walk(Level::L1) => 1,
        CachedUse::Walk(Level::L2) => 2,
        CachedUse::Walk(_) => 3,
        CachedUse::Read | CachedUse::Write => 0,
    }
}

/// Which batch call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Update,
    Ext,
}

/// Arguments of a first call with `count` requests, on own frames.
pub(crate) fn args(count: u32) -> BatchArgs {
    BatchArgs {
        array: ARGS,
        count,
        done: DONE,
        domain: 0x7ff0,
    }
}

/// A seeded generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = next_random(self.0);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// An access as guest code would make it.
pub(crate) fn touch(host: &Host, address: u64, how: Access) -> Option<Mfn> {
    host.machine.access(address, how)
}
