//! What a new domain looks like, and what is left of one that failed.

use super::{Bench, code, wish};
use crate::{DomId, control::fake::TOTAL, xenstore::Path};
use alloc::{boxed::Box, vec::Vec};
use dom0_protocol::{
    ClientMessage, Digest, ErrorCode, Reply, Request, ServerMessage,
    request::{Create, Execution, File, FilePurpose, KernelSource, Upload},
};
use sha2::{Digest as _, Sha256};

/// Reads a virtual address of a domain by walking its page tables; gives the frame.
fn walk(domain: &crate::control::fake::FakeDomain, address: u64) -> Option<u64> {
    let mut frame = domain.root?;
    for shift in [39, 30, 21, 12] {
        let page = domain.frames.get(&frame)?;
        let index = usize::try_from(address >> shift & 511).expect("small");
        let entry = u64::from_le_bytes(page[index * 8..][..8].try_into().expect("8 bytes"));
        if entry & 1 == 0 {
            return None;
        }
        frame = entry >> 12 & ((1 << 40) - 1);
    }
    Some(frame)
}

fn field(page: &[u8; 4096], offset: usize) -> u64 {
    u64::from_le_bytes(page[offset..][..8].try_into().expect("8 bytes"))
}

#[test]
fn a_built_domain_can_take_its_first_step() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let domain = bench.host().domain(id);
    assert_eq!(domain.record.frames, 4096);
    let context = domain.context.as_ref().expect("set").clone();
    let root = domain.root.expect("pinned");
    assert_eq!(context.ctrlreg[3], root << 12);
    let code = walk(domain, context.user_regs.rip).expect("mapped");
    assert_eq!(&domain.frames[&code][..11], b"demo kernel");
    let info = walk(domain, context.user_regs.rsi).expect("mapped");
    let info = &domain.frames[&info];
    assert_eq!(&info[..14], b"xen-3.0-x86_64");
    assert_eq!(field(info, 0x20), 4096);
    assert_eq!(field(info, 0x28), 0x77 << 12);
    assert_eq!(domain.grants[&1], field(info, 0x38), "xenstore ring");
    assert_eq!(domain.grants[&0], field(info, 0x48), "console ring");
    assert!(info[0x80..].starts_with(b"console=hvc0\0"));
    let list = walk(domain, field(info, 0x68)).expect("mapped");
    let first = field(&domain.frames[&list], 0);
    assert_eq!(domain.m2p[&first], 0, "the list and the M2P agree");
    assert!(walk(domain, context.user_regs.rsp - 8).is_some(), "a stack");
    let pt_base = field(info, 0x58);
    assert_eq!(walk(domain, pt_base), Some(root));
}

#[test]
fn its_nodes_are_there_before_it_runs_and_it_may_read_them() {
    let mut bench = Bench::new();
    let id = bench.create("a");
    let home = Path::home(DomId::new(id).expect("a domain"));
    let value = |name: &str| {
        bench
            .manager
            .store
            .value(&home.below(name))
            .map(<[u8]>::to_vec)
    };
    assert_eq!(value("name"), Some(b"a".to_vec()));
    assert_eq!(value("memory/target"), Some(b"16384".to_vec()));
    assert_eq!(value("memory/static-max"), Some(b"32768".to_vec()));
    assert_eq!(value("cpu/0/availability"), Some(b"online".to_vec()));
    assert_eq!(value("cpu/3/availability"), Some(b"offline".to_vec()));
    assert_eq!(value("cpu/4/availability"), None);
    assert_eq!(value("control/shutdown"), Some(Vec::new()));
    assert_eq!(value("device"), Some(Vec::new()));
}

#[test]
fn a_domain_that_comes_and_goes_leaves_nothing() {
    let mut bench = Bench::new();
    for _ in 0..200 {
        bench.create("a");
        let reply = bench.ask(Request::Destroy(super::named("a")));
        assert!(matches!(reply, Ok(Reply::Acted(acted)) if acted.state.is_none()));
        bench.assert_empty();
        assert_eq!(bench.host().free(), TOTAL);
    }
}

#[test]
fn a_failure_at_any_point_leaves_nothing_and_says_so() {
    let (mut points, mut told) = (0, 0);
    loop {
        let mut bench = Bench::new();
        bench.host().fail_after = Some(points);
        let result = bench.ask(Request::Create(Box::new(wish("a"))));
        if bench.host().fail_after.is_some() {
            assert!(result.is_ok(), "no point was left");
            break;
        }
        match result {
            Err(error) => assert_eq!(error.code, ErrorCode::InsufficientMemory, "point {points}"),
            // It was told before it was let go, which fails for a broken hypervisor only.
            Ok(_) => told += 1,
        }
        bench.assert_empty();
        assert_eq!(bench.host().free(), TOTAL, "point {points}");
        bench.create("a");
        points += 1;
    }
    assert!(points > 10 && told == 1, "{points} points, {told} told");
}

#[test]
fn wrong_wishes_change_nothing() {
    let mut bench = Bench::new();
    bench.create("taken");
    let cases: [(Create, ErrorCode); 11] = [
        (wish("taken"), ErrorCode::NameTaken),
        (wish("dom0"), ErrorCode::NameTaken),
        (
            Create {
                memory_bytes: 0,
                ..wish("a")
            },
            ErrorCode::InvalidArgument,
        ),
        (
            Create {
                memory_bytes: 1 << 20,
                ..wish("a")
            },
            ErrorCode::BelowMinimum,
        ),
        (
            Create {
                memory_bytes: 1 << 40,
                max_memory_bytes: 1 << 40,
                ..wish("a")
            },
            ErrorCode::InsufficientMemory,
        ),
        (
            Create {
                max_memory_bytes: 1 << 20,
                ..wish("a")
            },
            ErrorCode::InvalidArgument,
        ),
        (
            Create {
                vcpus: 0,
                max_vcpus: 0,
                ..wish("a")
            },
            ErrorCode::InvalidArgument,
        ),
        (
            Create {
                vcpus: 1000,
                max_vcpus: 1000,
                ..wish("a")
            },
            ErrorCode::OverMaximum,
        ),
        (
            Create {
                weight: 0,
                ..wish("a")
            },
            ErrorCode::InvalidArgument,
        ),
        (
            Create {
                affinity: 1 << 63,
                ..wish("a")
            },
            ErrorCode::InsufficientCpu,
        ),
        (
            Create {
                cmdline: "x".repeat(1024),
                ..wish("a")
            },
            ErrorCode::InvalidArgument,
        ),
    ];
    let free = bench.host().free();
    for (wish, expected) in cases {
        let text = alloc::format!("{wish:?}");
        let error = bench
            .ask(Request::Create(Box::new(wish)))
            .expect_err("refused");
        assert_eq!(error.code, expected, "{text}");
        assert!(
            !error.message.is_empty() && !error.hint.is_empty(),
            "{text}"
        );
        assert_eq!(bench.host().free(), free);
    }
}

#[test]
fn dom0_keeps_memory_for_itself() {
    let mut bench = Bench::new();
    bench.host().spare = 5 << 20;
    let error = bench
        .ask(Request::Create(Box::new(wish("a"))))
        .expect_err("refused");
    assert_eq!(error.code, ErrorCode::TooManyDomains);
    let upload = Request::Upload(Upload {
        sha256: Digest([1; 32]),
        length: 1 << 20,
        purpose: FilePurpose::Ramdisk,
    });
    bench.host().spare = 4 << 20;
    assert_eq!(code(bench.ask(upload)), ErrorCode::StoreFull);
    bench.assert_empty();
}

#[test]
fn a_dry_run_judges_and_changes_nothing() {
    let mut bench = Bench::new();
    let dry = Create {
        execution: Execution::DryRun,
        ..wish("a")
    };
    match bench.ask(Request::Create(Box::new(dry))) {
        Ok(Reply::Created(created)) => assert_eq!(created.id, None),
        other => panic!("{other:?}"),
    }
    bench.assert_empty();
}

#[test]
fn an_uploaded_kernel_is_kept_once_and_used() {
    let mut bench = Bench::new();
    let file = crate::control::fake::kernel(2, b"uploaded");
    let sha256 = Digest(Sha256::digest(&file).into());
    let request = Request::Upload(Upload {
        sha256,
        length: u64::try_from(file.len()).expect("small"),
        purpose: FilePurpose::Kernel,
    });
    let id = bench.open(request.clone());
    let window = bench.answers();
    assert!(
        matches!(window.as_slice(), [(_, ServerMessage::Window(_))]),
        "{window:?}"
    );
    for piece in file.chunks(1000) {
        bench.say(id, &ClientMessage::Data(piece.to_vec()));
    }
    assert!(matches!(bench.end_of(id), Some(Ok(Reply::Uploaded(_)))));
    match bench.ask(request) {
        Ok(Reply::Uploaded(uploaded)) => {
            assert_eq!(uploaded.stored, dom0_protocol::reply::Stored::Present)
        }
        other => panic!("{other:?}"),
    }
    let source = KernelSource::Uploaded(File {
        sha256,
        label: "mine".into(),
    });
    let made = bench.ask(Request::Create(Box::new(Create {
        kernel: source,
        ..wish("a")
    })));
    let Ok(Reply::Created(made)) = made else {
        panic!("{made:?}");
    };
    let domain = bench.host().domain(made.id.expect("made"));
    let context = domain.context.as_ref().expect("set").clone();
    let code = walk(domain, context.user_regs.rip).expect("mapped");
    assert_eq!(&domain.frames[&code][..8], b"uploaded");
}

#[test]
fn wrong_files_are_refused() {
    let mut bench = Bench::new();
    let upload = |length, byte| {
        Request::Upload(Upload {
            sha256: Digest([byte; 32]),
            length,
            purpose: FilePurpose::Ramdisk,
        })
    };
    assert_eq!(code(bench.ask(upload(0, 1))), ErrorCode::InvalidArgument);
    assert_eq!(code(bench.ask(upload(1 << 50, 1))), ErrorCode::StoreFull);
    let id = bench.open(upload(5, 1));
    bench.say(id, &ClientMessage::Data(b"wrong".to_vec()));
    assert_eq!(bench.end_of(id).map(code), Some(ErrorCode::BadUpload));
    // Uploads cut in the middle give their room back.
    for _ in 0..5 {
        let id = bench.open(upload(900_000, 2));
        bench.say(id, &ClientMessage::Data(alloc::vec![0; 1000]));
        bench.say(id, &ClientMessage::Close);
        assert!(matches!(
            bench.answers().last(),
            Some((_, ServerMessage::Close))
        ));
    }
    let unknown = KernelSource::Uploaded(File {
        sha256: Digest([9; 32]),
        label: "x".into(),
    });
    let wish = Create {
        kernel: unknown,
        ..wish("a")
    };
    assert_eq!(
        code(bench.ask(Request::Create(Box::new(wish)))),
        ErrorCode::NoSuchUpload
    );
}

#[test]
fn a_build_whose_client_goes_away_leaves_nothing() {
    for steps in 0..6 {
        let mut bench = Bench::new();
        let stream = bench.open(Request::Create(Box::new(wish("a"))));
        for _ in 0..steps {
            bench.manager.work();
        }
        if bench.end_of(stream).is_some() {
            break;
        }
        bench.say(stream, &ClientMessage::Close);
        bench.settle();
        bench.assert_empty();
        bench.create("a");
    }
}
