//! Every documented leaf of CPUID, and what each hides.

use guest_conformance::{check, seen, unless_first};
use guest_kernel::hypercall::cpuid;

/// A leaf as an observation.
fn leaf(number: u32, subleaf: u32) -> [u32; 4] {
    seen(cpuid(number, subleaf))
}

pub(super) fn leaves() {
    for (name, number) in [
        ("cpuid.leaf-3", 3),
        ("cpuid.leaf-8", 8),
        ("cpuid.leaf-9", 9),
        ("cpuid.leaf-0xc", 0xc),
        ("cpuid.leaf-0xe", 0xe),
        ("cpuid.leaf-0x14", 0x14),
        ("cpuid.leaf-0x1f", 0x1f),
        ("cpuid.hypervisor-leaf-4", 0x4000_0004),
        ("cpuid.hypervisor-leaf-6", 0x4000_0006),
        ("cpuid.next-hypervisor", 0x4000_0100),
        ("cpuid.centaur", 0xc000_0000),
        ("cpuid.extended-9", 0x8000_0009),
        ("cpuid.last", u32::MAX),
    ] {
        check(name, [0; 4], || leaf(number, 0));
    }
    check("cpuid.leaf-7-beyond", [0; 4], || leaf(7, 9));
    check("cpuid.leaf-0xd-without-state", true, || {
        let has = cpuid(1, 0)[2] >> 26 & 1 != 0;
        seen(has || cpuid(0xd, 0) == [0; 4])
    });
    check("cpuid.highest-extended-leaf", true, || {
        seen((0x8000_0008..=0x8000_0021).contains(&cpuid(0x8000_0000, 0)[0]))
    });
    check("cpuid.vendor-is-repeated", true, || {
        let [_, b, c, d] = cpuid(0, 0);
        let [_, extended_b, extended_c, extended_d] = cpuid(0x8000_0000, 0);
        let amd = b == 0x6874_7541;
        seen([extended_b, extended_c, extended_d] == if amd { [b, c, d] } else { [0; 3] })
    });
    check("cpuid.time-stamp-leaf", unless_first(false, true), || {
        let [_, _, khz, _] = cpuid(0x4000_0003, 0);
        seen(khz > 100_000)
    });
    check("cpuid.time-stamp-scale", unless_first(false, true), || {
        let [.., multiplier, _] = cpuid(0x4000_0003, 1);
        seen(multiplier >> 31 == 1)
    });
    check("cpuid.time-stamp-of-the-host", true, || {
        seen(cpuid(0x4000_0003, 2)[0] > 100_000)
    });
    check("cpuid.time-stamp-beyond", [0; 4], || leaf(0x4000_0003, 3));
    check("cpuid.address-width-of-grants", true, || {
        let [a, b, c, d] = cpuid(0x4000_0005, 0);
        seen([a, c, d] == [0; 3] && (28..=52).contains(&b))
    });
    check("cpuid.hypervisor-width-beyond", [0; 4], || {
        leaf(0x4000_0005, 1)
    });
    check("cpuid.subleaf-of-a-plain-leaf", true, || {
        seen(cpuid(1, 0)[0] == cpuid(1, 77)[0])
    });
    check("cpuid.brand-is-text", true, || {
        let text = cpuid(0x8000_0002, 0);
        seen(text.iter().all(|word| {
            word.to_le_bytes()
                .iter()
                .all(|&byte| byte == 0 || (32..127).contains(&byte))
        }))
    });
    check("cpuid.invariant-time-stamp-bits", 0, || {
        leaf(0x8000_0007, 0)[3] & !(1 << 8)
    });
    check("cpuid.feature-leaf-of-power", [0; 3], || {
        let [a, b, c, _] = leaf(0x8000_0007, 0);
        [a, b, c]
    });
    let rows: [(&str, u32, usize, u32); 17] = [
        ("hidden.thermal-monitor", 1, 3, 1 << 29),
        ("hidden.debug-store-64", 1, 2, 1 << 2 | 1 << 4),
        ("hidden.speed-step", 1, 2, 1 << 7 | 1 << 8),
        ("hidden.debug-interface", 1, 2, 1 << 11),
        (
            "hidden.task-priority-and-capabilities",
            1,
            2,
            1 << 14 | 1 << 15,
        ),
        ("hidden.direct-cache", 1, 2, 1 << 18),
        ("hidden.time-stamp-adjust", 7, 1, 1 << 1),
        ("hidden.enclaves", 7, 1, 1 << 2),
        ("hidden.cache-quality", 7, 1, 1 << 12 | 1 << 15),
        ("hidden.transactions", 7, 1, 1 << 4 | 1 << 11),
        ("hidden.waiting-and-shadow-stacks", 7, 2, 1 << 5 | 1 << 7),
        ("hidden.bus-lock-and-queues", 7, 2, 1 << 24 | 1 << 29),
        ("hidden.user-interrupts-and-hybrid", 7, 3, 1 << 5 | 1 << 15),
        (
            "hidden.branch-records-and-tiles",
            7,
            3,
            1 << 19 | 1 << 20 | 1 << 22 | 1 << 24 | 1 << 25,
        ),
        ("hidden.apic-extensions", 0x8000_0001, 2, 1 << 3 | 1 << 4),
        (
            "hidden.profiling-and-watchdog",
            0x8000_0001,
            2,
            1 << 13 | 1 << 15 | 1 << 19 | 1 << 22,
        ),
        (
            "hidden.counters-of-amd",
            0x8000_0001,
            2,
            1 << 23 | 1 << 24 | 1 << 28 | 1 << 29,
        ),
    ];
    for (name, number, register, bits) in rows {
        check(name, 0, || leaf(number, 0)[register] & bits);
    }
    check("hidden.memory-types", unless_first(1 << 12, 0), || {
        leaf(1, 0)[3] & 1 << 12
    });
}
