//! The control server as its clients see it, on a fake hypervisor.

mod building;
mod changes;
mod consoles;
mod ends;
mod hostile;
mod lives;
mod moves;
mod sessions;
mod settings;

use super::{
    Manager, Setup,
    domain::Life,
    fake::{FakeHost, kernel},
};
use alloc::{boxed::Box, string::String, vec::Vec};
use dom0_protocol::{
    ClientMessage, DomainName, DomainSelector, ErrorCode, ErrorReply, Hello, Reply, Request,
    ServerMessage, StreamId,
    domain::{DomainRecord, DomainState},
    request::Create,
};
use hypercall_abi::control::host::most_overhead;

/// A manager and one connection to it.
pub(super) struct Bench {
    pub(super) manager: Manager<FakeHost>,
    next: u16,
}

/// The connection that tests use.
pub(super) const CONNECTION: u16 = 3;

impl Bench {
    pub(super) fn new() -> Self {
        let setup = Setup {
            demo: kernel(3, b"demo kernel"),
            store_bytes: 1 << 20,
            version: "test",
        };
        let mut bench = Self {
            manager: Manager::new(FakeHost::new(), setup),
            next: 0,
        };
        bench.greet(CONNECTION);
        bench
    }

    pub(super) fn greet(&mut self, connection: u16) {
        let id = StreamId::of_connection(connection);
        self.say(id, &ClientMessage::Hello(Hello::new(99, "test")));
        let answers = self.answers();
        assert!(
            matches!(answers.as_slice(), [(got, ServerMessage::Hello(hello))] if *got == id && hello.nonce == 99),
            "{answers:?}"
        );
    }

    pub(super) fn say(&mut self, id: StreamId, message: &ClientMessage) {
        let frame = message.encode(id).expect("fits");
        self.manager.receive(&frame.to_bytes());
    }

    /// Works until there is nothing to do at once.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let next = self.manager.work();
            self.manager.let_go();
            self.recount();
            if !next.again {
                return;
            }
        }
        panic!("there is no end of work");
    }

    /// The index of domains leads where they are, and what admission takes for promised is what all targets and records say.
    fn recount(&self) {
        let manager = &self.manager;
        assert!(manager.domains.is_whole());
        let promised = manager.domains.iter().map(|(_, domain)| {
            let body = manager.host.domains.get(&domain.id.get());
            let body = body.filter(|_| !matches!(domain.life, Life::Restarting { .. }));
            let record = body.map(|body| body.record);
            let owned = record.map_or(0, |record| record.frames);
            let taken = record.map_or(0, |record| record.overhead_frames + record.shared_frames);
            domain.memory.wanted.saturating_sub(owned)
                + most_overhead(domain.config.max_frames).saturating_sub(taken)
        });
        let promised = promised.sum::<u64>() + manager.kept_by_moves().expect("it is told");
        let ledger = manager.ledger().expect("it is told");
        assert_eq!(ledger.promised_frames, promised);
        assert_eq!(ledger.free_frames, manager.host.free());
    }

    /// Everything that was said so far.
    pub(super) fn answers(&mut self) -> Vec<(StreamId, ServerMessage)> {
        let mut answers = Vec::new();
        while let Some(frame) = self.manager.next_frame() {
            let id = frame.stream();
            answers.push((
                id,
                ServerMessage::decode(frame).expect("the server is right"),
            ));
        }
        answers
    }

    /// Opens a stream.
    pub(super) fn open(&mut self, request: Request) -> StreamId {
        self.next += 1;
        let id = StreamId::new(CONNECTION, self.next);
        self.say(id, &ClientMessage::Open(request));
        id
    }

    /// Asks and works until there is an answer; it must come without waiting.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, ErrorReply> {
        let id = self.open(request);
        self.settle();
        self.end_of(id).expect("an answer")
    }

    /// The last frame of a stream, if it has come.
    pub(super) fn end_of(&mut self, id: StreamId) -> Option<Result<Reply, ErrorReply>> {
        let mut end = None;
        for (from, message) in self.answers() {
            if from != id {
                continue;
            }
            if let ServerMessage::Done(reply) = message {
                end = Some(Ok(reply));
            } else if let ServerMessage::Error(error) = message {
                end = Some(Err(error));
            }
        }
        end
    }

    pub(super) fn create(&mut self, name: &str) -> u16 {
        match self.ask(Request::Create(Box::new(wish(name)))) {
            Ok(Reply::Created(created)) => created.id.expect("made"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn list(&mut self) -> Vec<DomainRecord> {
        match self.ask(Request::List) {
            Ok(Reply::Domains(records)) => records,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&mut self, name: &str) -> Option<DomainState> {
        let records = self.list();
        records
            .iter()
            .find(|record| record.name.as_str() == name)
            .map(|record| record.state)
    }

    pub(super) fn host(&mut self) -> &mut FakeHost {
        &mut self.manager.host
    }

    /// Time passes, and the manager looks.
    pub(super) fn pass(&mut self, nanoseconds: u64) {
        self.manager.host.now += nanoseconds;
        self.settle();
    }

    /// Nothing of any domain is left anywhere.
    pub(super) fn assert_empty(&mut self) {
        assert!(self.manager.domains.len() == 0, "domains");
        assert!(self.host().domains.is_empty(), "hypervisor's domains");
        assert!(self.host().attached.is_empty(), "rings");
        let left: Vec<String> = (self.manager.store.paths().iter())
            .map(|path| String::from(path.as_str()))
            .filter(|path| path.starts_with("/local/domain/") || path.starts_with("/vm/"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

pub(super) fn named(name: &str) -> DomainSelector {
    DomainSelector::Name(DomainName::new(name).expect("a name"))
}

pub(super) fn wish(name: &str) -> Create {
    Create {
        name: Some(DomainName::new(name).expect("a name")),
        cmdline: String::from("console=hvc0"),
        memory_bytes: 16 << 20,
        max_memory_bytes: 32 << 20,
        max_vcpus: 4,
        ..Create::default()
    }
}

pub(super) fn code(result: Result<Reply, ErrorReply>) -> ErrorCode {
    let error = result.expect_err("refused");
    assert!(
        !error.hint.is_empty(),
        "what to do next after: {}",
        error.message
    );
    error.code
}
