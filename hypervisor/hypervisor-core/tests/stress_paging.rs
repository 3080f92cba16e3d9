//! Real threads, one per CPU, on the fake machine: what the models do one after the other happens at once here.
//!
//! Nothing can be said of single results. Recounts go on beside the threads and must find nothing. After each round all
//! threads rest, and the recount and the judge of stale translations must find nothing; at the end every frame comes back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Host, Op, Random, WINDOW, args};
use hypercall_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_PIN_L1_TABLE, MMUEXT_TLB_FLUSH_ALL, MMUEXT_UNPIN_TABLE, MmuUpdate,
    MmuextOp,
};
use hypervisor_core::audit::{Pace, Recount};
use hypervisor_core::fake::{Access, Preempt};
use hypervisor_core::frame::{FrameRef, WritableRef};
use hypervisor_core::ids::{Mfn, Pfn};
use hypervisor_core::machine::Machine;
use hypervisor_core::paging::descriptor::Shown;
use hypervisor_core::paging::{self, BatchEnd, Tables};

/// Rounds, unless PARAVANE_STRESS_ROUNDS says otherwise.
const ROUNDS: u64 = 40;
const STEPS: usize = 1500;
/// The pace of the recounts that go on beside.
const PACE: Pace = Pace {
    windows: 9,
    frames: 12,
    tables: 1,
    batch: 16,
};

struct Cpu<'a> {
    host: &'a Host,
    /// Frames that the domains own, as far as they know.
    frames: &'a [Mutex<Vec<Mfn>>; 2],
    random: Random,
    guest: usize,
    vcpu: usize,
}

impl Cpu<'_> {
    fn frame(&mut self, guest: usize) -> Mfn {
        let frames = self.frames[guest].lock().unwrap();
        frames[self.random.below(frames.len())]
    }

    fn entry(&mut self) -> u64 {
        let flags = self.random.pick(&[0, 1, 5, 7, 7]);
        self.frame(self.guest).address() | flags
    }

    fn issue(&mut self, op: Op, count: u32) {
        let mut next = args(count);
        while let BatchEnd::Again(again) = self.host.batch(self.guest, self.vcpu, op, next) {
            if self.random.chance(20) {
                return;
            }
            next = again;
        }
    }

    fn step(&mut self) {
        let guest = self.guest;
        match self.random.below(12) {
            0..=2 => {
                let index = self.random.pick(&[0, 1, 5, 300, 511]);
                let ptr = self.frame(guest).address() | index << 3 | self.random.pick(&[0, 2]);
                let val = self.entry();
                self.host.put(guest, &[MmuUpdate { ptr, val }]);
                self.issue(Op::Update, 1);
            }
            3..=5 => {
                let pin = MMUEXT_PIN_L1_TABLE + u32::try_from(self.random.below(4)).unwrap();
                let all = [
                    pin,
                    pin,
                    MMUEXT_UNPIN_TABLE,
                    MMUEXT_CLEAR_PAGE,
                    MMUEXT_TLB_FLUSH_ALL,
                ];
                let cmd = self.random.pick(&all);
                let arg1 = self.frame(guest).get();
                self.host.put(
                    guest,
                    &[MmuextOp {
                        cmd,
                        pad0: 0,
                        arg1,
                        arg2: 0,
                    }],
                );
                self.issue(Op::Ext, 1);
            }
            6 | 7 => {
                let page = u64::try_from(self.random.below(4)).unwrap();
                let value = self.entry();
                let _refused = self.host.with_call(guest, self.vcpu, |call, held| {
                    paging::update_va_mapping(call, WINDOW + page * 0x1000, value, 0, held).is_err()
                });
                self.host.on(guest, self.vcpu);
                let _missed = self
                    .host
                    .machine
                    .access(WINDOW + page * 0x1000, Access::Write);
            }
            8 => self.borrow(),
            9 => self.balloon(),
            10 => {
                let numbers = [self.frame(guest).get()];
                let _refused = self.host.with_call(guest, self.vcpu, |call, held| {
                    let (tables, _) = Tables::lock(call.ram, call.domain, call.vcpu, held);
                    tables
                        .set_gdt(call.vcpu, &numbers, 512, Shown::Here)
                        .is_err()
                });
            }
            _ => {
                self.host.ram().scrub_step();
            }
        }
    }

    /// References on the other domain's frames, as grants take them: without its lock.
    fn borrow(&mut self) {
        let other = 1 - self.guest;
        let frame = self.frame(other);
        let ram = self.host.ram();
        let owner = self.host.guests[other].memory.owner();
        let Ok(first) = ram.reference(owner, frame.get()) else {
            return;
        };
        let second = ram
            .reference(owner, frame.get())
            .and_then(FrameRef::writable);
        if let Ok(writable) = second {
            let state = self.host.frames.type_state(writable.mfn());
            assert!(
                state.count != 0
                    && !matches!(state.kind, hypervisor_core::frame::FrameType::Table(_))
            );
            drop(WritableRef::adopt(ram, writable.record()));
        }
        drop(first);
    }

    fn balloon(&mut self) {
        let ram = self.host.ram();
        let memory = &self.host.guests[self.guest].memory;
        let mut frames = self.frames[self.guest].lock().unwrap();
        if frames.len() > 8 && self.random.chance(2) {
            let at = self.random.below(frames.len());
            let frame = frames.swap_remove(at);
            drop(frames);
            assert_eq!(ram.end_allocation(memory.owner(), frame.get()), Ok(()));
        } else if let Ok(frame) = ram.allocate_for(memory.owner(), 0, u64::MAX) {
            for index in hypervisor_core::ids::EntryIndex::all() {
                assert_eq!(self.host.machine.read_entry(frame, index), 0, "zeroed");
            }
            if ram.set_pfn(memory.owner(), frame, Pfn::new(1)).is_ok() {
                frames.push(frame);
            } else {
                drop(frames);
                assert_eq!(ram.end_allocation(memory.owner(), frame.get()), Ok(()));
            }
        }
    }
}

#[test]
fn threads_on_all_cpus_keep_every_invariant() {
    let rounds = std::env::var("PARAVANE_STRESS_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |n| {
        n.parse().expect("PARAVANE_STRESS_ROUNDS is a number")
    });
    let mut recounts = 0_u64;
    for round in 0..rounds {
        let mut host = Host::new(2, 12);
        host.machine
            .order(|o| (o.preempt, o.fetch_once) = (Preempt::OneIn(3), false));
        let frames = [0, 1].map(|guest: usize| Mutex::new(host.guests[guest].frames.clone()));
        let left = AtomicUsize::new(4);
        std::thread::scope(|scope| {
            for (guest, vcpu) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let seed = round * 4 + u64::try_from(guest * 2 + vcpu).unwrap();
                let mut cpu = Cpu {
                    host: &host,
                    frames: &frames,
                    random: Random(seed),
                    guest,
                    vcpu,
                };
                let left = &left;
                scope.spawn(move || {
                    for _ in 0..STEPS {
                        let _busy = cpu.host.busy.read().unwrap();
                        cpu.step();
                    }
                    left.fetch_sub(1, Ordering::Release);
                });
            }
            while left.load(Ordering::Acquire) != 0 {
                recounts += 1;
                let mut recount = Recount::begin(host.ram(), &host, PACE).unwrap();
                while !recount.step(host.ram(), &host) {}
                let report = recount.report();
                if let Some(breach) = report.first {
                    panic!(
                        "beside round {round}: {breach} ({} breaches)",
                        report.breaches
                    );
                }
            }
        });
        host.check("after a round");
        host.destroy(&[0, 1]);
        assert_eq!(host.frames.free().get() + 3, host.frames.total().get());
    }
    assert!(recounts > rounds, "recounts ran beside the threads");
}
