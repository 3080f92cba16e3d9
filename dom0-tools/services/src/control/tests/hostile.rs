//! A guest that writes nonsense into every page that it shares with dom0, and asks for everything: it harms nobody else.

use super::{Bench, named};
use crate::{
    DomId,
    control::host::{LocalPort, Ring},
    shared_page::SharedPage,
    xenstore::{Operation, Path},
};
use alloc::{rc::Rc, sync::Arc, vec::Vec};
use dom0_protocol::{Reply, Request, domain::DomainState, request::Balloon, wait::Wait};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn offset(&mut self) -> usize {
        usize::try_from(self.below(1024)).expect("small") * 4
    }

    fn word(&mut self) -> u32 {
        let special = [0, 1, 1024, 1025, 2048, u32::MAX, 0x8000_0000];
        match self.below(3) {
            0 => special[usize::try_from(self.below(7)).expect("small")],
            1 => u32::try_from(self.below(4096)).expect("small"),
            _ => u32::try_from(self.below(1 << 32)).expect("32 bits"),
        }
    }
}

/// Nodes below a home, with the same nonsense that a guest may write there itself.
const NODES: [&str; 5] = [
    "data/balloon",
    "control/shutdown",
    "control/sysrq",
    "drivers",
    "memory/target",
];

fn nonsense(bench: &mut Bench, id: u16, random: &mut Random) {
    let rings: Vec<_> = bench
        .host()
        .domain(id)
        .rings
        .values()
        .map(Rc::clone)
        .collect();
    for page in rings {
        for _ in 0..random.below(20) {
            let (offset, word) = (random.offset(), random.word());
            page.store(offset, word);
        }
        // The indices, so that some of the nonsense is looked at.
        if random.below(2) == 0 {
            for offset in [3072, 3084, 2052, 2056] {
                page.store(offset, u32::try_from(random.below(900)).expect("small"));
            }
        }
    }
    let node = NODES[usize::try_from(random.below(5)).expect("small")];
    let texts = [
        &b"{\"minimum_kib\":99999999999999999999}"[..],
        b"{\"maximum_kib\":18446744073709551615,\"minimum_kib\":-1",
        b"\xff\xfe\0\0",
        b"",
    ];
    let write = Operation::Write {
        path: Path::home(DomId::new(id).expect("a domain")).below(node),
        value: Arc::from(texts[usize::try_from(random.below(4)).expect("small")]),
    };
    bench.manager.store.apply(&[write]).expect("a node");
    for port in bench
        .host()
        .attached
        .iter()
        .copied()
        .collect::<Vec<LocalPort>>()
    {
        bench.manager.port_event(port);
    }
}

#[test]
fn nonsense_in_every_ring_and_node_is_the_guests_own_matter() {
    for seed in 1..=60 {
        let mut bench = Bench::new();
        let (hostile, other) = (bench.create("h"), bench.create("o"));
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        for round in 0..40 {
            nonsense(&mut bench, hostile, &mut random);
            bench.settle();
            bench.pass(10_000_000);
            if round % 10 == 0 {
                // Requests about it are answered, one way or the other.
                let balloon = Request::Balloon(Balloon {
                    domain: named("h"),
                    target_bytes: 8 << 20,
                    wait: Wait::No,
                });
                drop(bench.ask(balloon));
                assert!(bench.ask(Request::Show(named("h"))).is_ok());
            }
        }
        assert_eq!(bench.state("o"), Some(DomainState::Running), "seed {seed}");
        let page = Rc::clone(&bench.host().domain(other).rings[&Ring::Console]);
        assert_eq!(page.load(3080), 0, "the other's ring is as it was");
        for name in ["h", "o"] {
            bench.ask(Request::Destroy(named(name))).expect("there");
        }
        bench.assert_empty();
    }
}

/// What admission would give to a newcomer.
fn available(bench: &mut Bench) -> u64 {
    match bench.ask(Request::HostInfo) {
        Ok(Reply::Host(host)) => host.available_memory_bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_domains_make_the_hypervisor_take_was_kept_for_them() {
    let mut bench = Bench::new();
    let ids: Vec<u16> = (0..7)
        .map(|n| bench.create(&alloc::format!("d{n}")))
        .collect();
    let before = available(&mut bench);
    for id in ids {
        let record = &mut bench.host().domain(id).record;
        record.shared_frames += 63;
        record.overhead_frames += 64 + 32;
    }
    assert_eq!(available(&mut bench), before, "it was nobody else's");
}
