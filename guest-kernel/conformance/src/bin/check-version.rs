//! `xen_version`, `console_io`, `vm_assist`: what runs underneath, and what it can be told to do otherwise.
#![no_std]
#![no_main]

use guest_conformance::errno::{E2BIG, EFAULT, EINVAL, ENOSYS, EPERM};
use guest_conformance::fixture::read;
use guest_conformance::{
    HYPERVISOR, Role, UNMAPPED, address_of, call, check, finish, prepare, role, seen, skip, start,
    unless_first,
};
use guest_kernel::start::Boot;
use hypercall_abi::number::{CONSOLE_IO, VM_ASSIST, XEN_VERSION};

guest_kernel::entry!(main);

fn main(boot: &'static Boot) {
    start(boot);
    texts();
    numbers();
    faults();
    console();
    assists();
    finish()
}

/// A place that a call fills, and that held something else before.
struct Place([u64; 160]);

impl Place {
    const fn new() -> Self {
        Self([0xa5a5_a5a5_a5a5_a5a5; 160])
    }

    /// Byte by byte, as it is now.
    fn byte(&self, place: u64) -> u8 {
        let word = read(address_of(&self.0) + place / 8 * 8);
        word.to_le_bytes()[usize::try_from(place % 8).unwrap_or(0)]
    }

    /// Whether the text that begins at one place is ended, and nothing but zeros are behind it up to another.
    fn is_padded(&self, from: u64, to: u64) -> bool {
        let end = (from..to).find(|&place| self.byte(place) == 0);
        seen(end.is_some_and(|end| (end..to).all(|place| self.byte(place) == 0)))
    }

    /// Whether a text begins so.
    fn begins(&self, text: &[u8]) -> bool {
        seen(
            (0_u64..)
                .zip(text)
                .all(|(place, &byte)| self.byte(place) == byte),
        )
    }
}

fn texts() {
    let place = Place::new();
    let at = address_of(&place.0);
    check("version.extraversion", (0, true), || {
        (call(XEN_VERSION, &[1, at]), place.is_padded(0, 16))
    });
    check("version.extraversion-writes-16", (0, 0xa5), || {
        let place = Place::new();
        let result = call(XEN_VERSION, &[1, address_of(&place.0)]);
        (result, seen(place.byte(16)))
    });
    check("version.compile_info", (0, [true; 4]), || {
        let result = call(XEN_VERSION, &[2, at]);
        let ended = |from, to| (from..to).any(|byte| place.byte(byte) == 0);
        (
            result,
            seen([ended(0, 64), ended(64, 80), ended(80, 112), ended(112, 144)]),
        )
    });
    check("version.capabilities", (0, true, true), || {
        let result = call(XEN_VERSION, &[3, at]);
        (
            result,
            place.begins(b"xen-3.0-x86_64"),
            place.is_padded(0, 1024),
        )
    });
    check("version.changeset", (0, true), || {
        let result = call(XEN_VERSION, &[4, at]);
        (result, seen((0..64).any(|byte| place.byte(byte) == 0)))
    });
    check("version.guest_handle", 0, || call(XEN_VERSION, &[8, at]));
    check("version.guest_handle-writes-16", (0, 0xa5), || {
        let place = Place::new();
        let result = call(XEN_VERSION, &[8, address_of(&place.0)]);
        (result, seen(place.byte(16)))
    });
    check("version.commandline", (0, true), || {
        let result = call(XEN_VERSION, &[9, at]);
        (result, seen((0..1024).any(|byte| place.byte(byte) == 0)))
    });
    if role() == Role::Ordinary {
        check("version.commandline-denied", (0, true), || {
            let result = call(XEN_VERSION, &[9, at]);
            (result, place.begins(b"<denied>\0"))
        });
        check("version.build_id-denied", EPERM, || {
            call(XEN_VERSION, &[10, 0])
        });
    } else {
        skip("version.commandline-denied", "the first domain may read it");
        skip("version.build_id-denied", "the first domain may read it");
        // A null address asks for the length.
        check("version.build_id", 1, || call(XEN_VERSION, &[10, 0]).min(1));
    }
}

fn numbers() {
    check("version.version", 0x40011, || call(XEN_VERSION, &[0, 0]));
    check("version.version-ignores-argument", 0x40011, || {
        call(XEN_VERSION, &[0, HYPERVISOR])
    });
    check(
        "version.platform_parameters",
        (0, 0xffff_8000_0000_0000),
        || {
            let start = 1_u64;
            let result = call(XEN_VERSION, &[5, address_of(&start)]);
            (result, seen(read(address_of(&start))))
        },
    );
    check("version.pagesize", 4096, || call(XEN_VERSION, &[7, 0]));
    check("version.pagesize-wants-null", EINVAL, || {
        let word = 0_u64;
        call(XEN_VERSION, &[7, address_of(&word)])
    });
    let features = |word: u64| {
        let info = [word];
        let result = call(XEN_VERSION, &[6, address_of(&info)]);
        (result, read(address_of(&info)) >> 32)
    };
    for (bit, wanted, name) in [
        (0, false, "feature.writable_page_tables"),
        (1, false, "feature.writable_descriptor_tables"),
        (2, false, "feature.auto_translated_physmap"),
        (3, false, "feature.supervisor_mode_kernel"),
        (5, true, "feature.mmu_pt_update_preserve_ad"),
        (6, true, "feature.highmem_assist"),
        (7, true, "feature.gnttab_map_avail_bits"),
        (8, false, "feature.hvm_callback_vector"),
        (13, true, "feature.memory_op_vnode_supported"),
        (17, true, "feature.direct_mapped"),
        (18, false, "feature.runstate_phys_area"),
        (11, role() == Role::First, "feature.dom0"),
    ] {
        check(name, (0, wanted), || {
            let (result, bits) = features(0);
            (result, seen(bits >> bit & 1 != 0))
        });
    }
    check("feature.reserved-bits", (0, 0), || {
        let (result, bits) = features(0);
        (result, seen(bits >> 21))
    });
    check("feature.word-1", EINVAL, || features(1).0);
    check("feature.word-max", EINVAL, || features(0xffff_ffff).0);
    for command in 11..=14 {
        let name = match command {
            11 => "version.11",
            12 => "version.12",
            13 => "version.13",
            _ => "version.14",
        };
        check(name, ENOSYS, || call(XEN_VERSION, &[command, 0]));
    }
}

fn faults() {
    for (command, name) in [
        (1, "version-fault.extraversion"),
        (2, "version-fault.compile_info"),
        (3, "version-fault.capabilities"),
        (4, "version-fault.changeset"),
        (5, "version-fault.platform_parameters"),
        (6, "version-fault.get_features"),
        (8, "version-fault.guest_handle"),
        (9, "version-fault.commandline"),
    ] {
        check(name, [EFAULT; 2], || {
            [
                call(XEN_VERSION, &[command, UNMAPPED]),
                call(XEN_VERSION, &[command, HYPERVISOR]),
            ]
        });
    }
}

fn console() {
    let text = *b"console text of the suite\n";
    check("console.write", unless_first(0, EPERM), || {
        call(CONSOLE_IO, &[0, text.len() as u64, address_of(&text)])
    });
    check("console.write-nothing", unless_first(0, EPERM), || {
        call(CONSOLE_IO, &[0, 0, address_of(&text)])
    });
    check("console.write-fault", unless_first(EFAULT, EPERM), || {
        call(CONSOLE_IO, &[0, 8, UNMAPPED])
    });
    check("console.read-nothing-there", unless_first(0, EPERM), || {
        call(CONSOLE_IO, &[1, 8, address_of(&text)])
    });
    check("console.read-too-much", unless_first(E2BIG, EPERM), || {
        call(CONSOLE_IO, &[1, 0x8000_0000, address_of(&text)])
    });
}

fn assists() {
    for (kind, name) in [
        (0, "assist.4gb_segments"),
        (1, "assist.4gb_segments_notify"),
        (2, "assist.writable_pagetables"),
        (4, "assist.architectural_iopl"),
        (5, "assist.runstate_update_flag"),
        (32, "assist.m2p_strict"),
    ] {
        check(name, (0, 0), || {
            let on = call(VM_ASSIST, &[0, kind]);
            (on, call(VM_ASSIST, &[1, kind]))
        });
    }
    check("assist.disable-no-such-type", EINVAL, || {
        call(VM_ASSIST, &[1, 60])
    });
    check("assist.disable-what-is-off", 0, || call(VM_ASSIST, &[1, 0]));
    check("assist.enable-twice", (0, 0), || {
        (call(VM_ASSIST, &[0, 0]), call(VM_ASSIST, &[0, 0]))
    });
    check(
        "assist.pae_extended_cr3-shows-as-feature",
        (0, true),
        || {
            let result = call(VM_ASSIST, &[0, 3]);
            let info = [0_u64];
            prepare(XEN_VERSION, &[6, address_of(&info)]);
            (result, seen(read(address_of(&info)) >> 36 & 1 != 0))
        },
    );
    check("assist.no-such-type", [EINVAL; 3], || {
        [6, 31, 33].map(|kind| call(VM_ASSIST, &[0, kind]))
    });
}
