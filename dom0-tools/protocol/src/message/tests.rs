//! Every message survives the wire, and nothing else is taken for one.

use super::*;
use crate::ending::Awaited;
use crate::error::ErrorCode;
use crate::names::{DomainName, DomainSelector};
use crate::progress::{Phase, Unit};
use crate::request::{
    Await, Balloon, Console, ConsoleMode, Create, Dmesg, File, FilePurpose, KernelSource,
    MaxMemory, Move, Rename, Sched, Shutdown, Sysrq, Upload, Vcpus,
};
use crate::wait::{Otherwise, Wait};
use crate::{Digest, MAX_PAYLOAD};
use alloc::boxed::Box;
use alloc::vec;
use proptest::prelude::*;

const STREAM: StreamId = StreamId::new(3, 9);

fn requests() -> Vec<Request> {
    let domain = DomainSelector::Name(DomainName::new("a").unwrap());
    let wait = Wait::UntilReached {
        timeout_ms: 60_000,
        otherwise: Otherwise::RollBack,
    };
    vec![
        Request::Version,
        Request::HostInfo,
        Request::Dmesg(Dmesg {
            cursor: 7,
            follow: true,
        }),
        Request::List,
        Request::Show(DomainSelector::Id(3)),
        Request::Upload(Upload {
            sha256: Digest([5; 32]),
            length: 1 << 33,
            purpose: FilePurpose::Kernel,
        }),
        Request::Create(Box::new(Create {
            kernel: KernelSource::Uploaded(File {
                sha256: Digest([6; 32]),
                label: "vmlinux".into(),
            }),
            cmdline: "a b".into(),
            memory_bytes: 1,
            max_memory_bytes: 2,
            vcpus: 3,
            max_vcpus: 4,
            ..Create::default()
        })),
        Request::Balloon(Balloon {
            domain: domain.clone(),
            target_bytes: 9,
            wait,
        }),
        Request::Vcpus(Vcpus {
            domain: domain.clone(),
            target: 2,
            wait: Wait::No,
        }),
        Request::Pause(domain.clone()),
        Request::Unpause(domain.clone()),
        Request::Shutdown(Shutdown {
            domain: domain.clone(),
            wait,
        }),
        Request::Reboot(Shutdown {
            domain: domain.clone(),
            wait: Wait::No,
        }),
        Request::Destroy(domain.clone()),
        Request::Console(Console {
            domain: domain.clone(),
            mode: ConsoleMode::Attach,
        }),
        Request::Poweroff,
        Request::Audit,
        Request::Sched(Sched {
            domain: domain.clone(),
            weight: Some(512),
            cap_percent: None,
            affinity: Some(3),
        }),
        Request::Move(Move {
            from: domain.clone(),
            to: DomainSelector::Id(4),
            bytes: 1 << 20,
            timeout_ms: 5,
        }),
        Request::MaxMemory(MaxMemory {
            domain: domain.clone(),
            max_memory_bytes: 1 << 30,
        }),
        Request::Rename(Rename {
            domain: domain.clone(),
            name: DomainName::new("b").unwrap(),
        }),
        Request::Sysrq(Sysrq {
            domain: domain.clone(),
            key: 'h',
            timeout_ms: 10,
        }),
        Request::Wait(Await {
            domain: domain.clone(),
            state: Awaited::Gone,
            timeout_ms: None,
        }),
        Request::Counters(domain),
    ]
}

#[test]
fn requests_survive_the_wire_and_keep_their_numbers() {
    for (number, request) in requests().into_iter().enumerate() {
        let message = ClientMessage::Open(request);
        let frame = message.encode(STREAM).unwrap();
        assert_eq!(usize::from(frame.payload()[0]), number);
        assert_eq!(ClientMessage::decode(frame), Ok(message));
    }
    assert_eq!(
        Request::VARIANTS,
        Some(u32::try_from(requests().len()).unwrap())
    );
}

#[test]
fn an_unknown_request_is_not_a_malformed_one() {
    let number = Request::VARIANTS.unwrap();
    let open = |payload: Vec<u8>| {
        ClientMessage::decode(Frame::new(Kind::Open, STREAM, payload).unwrap()).unwrap_err()
    };
    let unknown = open(vec![u8::try_from(number).unwrap(), 1, 2, 3]);
    assert_eq!(
        unknown,
        ProtocolError::Unknown {
            what: "request",
            number
        }
    );
    assert_eq!(ErrorReply::from(unknown).code, ErrorCode::UnknownRequest);
    assert_eq!(open(vec![]), ProtocolError::Malformed("request"));
    assert_eq!(open(vec![4, 9]), ProtocolError::Malformed("request"));
    assert_eq!(
        open(vec![0, 9]),
        ProtocolError::Trailing {
            what: "request",
            extra: 1
        }
    );
}

#[test]
fn server_messages_survive_the_wire() {
    for message in [
        ServerMessage::Hello(Hello::new(4, "dom0")),
        ServerMessage::Reset(u64::MAX),
        ServerMessage::Data(vec![1; MAX_PAYLOAD]),
        ServerMessage::Window(u32::MAX),
        ServerMessage::Progress(Progress {
            phase: Phase::Changing,
            unit: Unit::Bytes,
            from: 0,
            now: 1,
            target: 2,
            note: "x".into(),
        }),
        ServerMessage::Done(Reply::PoweringOff),
        ServerMessage::Error(ErrorReply::new(ErrorCode::NoSuchDomain, "no").hint("list")),
        ServerMessage::Close,
    ] {
        let frame = message.encode(STREAM).unwrap();
        assert_eq!(ServerMessage::decode(frame), Ok(message));
    }
}

#[test]
fn each_side_may_send_its_own_kinds_only() {
    let frame = |kind| Frame::new(kind, STREAM, vec![]).unwrap();
    for kind in [Kind::Progress, Kind::Done, Kind::Error, Kind::Unknown(77)] {
        let wanted = Err(ProtocolError::UnexpectedKind(kind.number()));
        assert_eq!(ClientMessage::decode(frame(kind)), wanted);
    }
    for kind in [Kind::Open, Kind::Unknown(0)] {
        let wanted = Err(ProtocolError::UnexpectedKind(kind.number()));
        assert_eq!(ServerMessage::decode(frame(kind)), wanted);
    }
}

proptest! {
    #[test]
    fn random_payloads_never_panic(
        kind in any::<u8>(),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let frame = Frame::new(Kind::from_number(kind), STREAM, payload).unwrap();
        if let Ok(message) = ClientMessage::decode(frame.clone()) {
            prop_assert_eq!(ClientMessage::decode(message.encode(STREAM).unwrap()), Ok(message));
        }
        if let Ok(message) = ServerMessage::decode(frame) {
            prop_assert_eq!(ServerMessage::decode(message.encode(STREAM).unwrap()), Ok(message));
        }
    }
}
