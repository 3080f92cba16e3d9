//! The hypervisor's recount, step by step, so that dom0 serves everybody else meanwhile.
//!
//! There is one at a time. It goes on to its end also when nobody listens any more: until then the hypervisor has it on its books.

use super::{
    host::Host,
    manager::{Manager, Next},
    stream::Work,
    words,
};
use dom0_protocol::{ErrorCode, ErrorReply, Reply, StreamId};

/// A step ends when something else wants the CPU: it has it for so long before the next one. Nanoseconds.
const REST_NS: u64 = 2_000_000;

/// A recount under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recount {
    stream: StreamId,
    progress: u64,
    due: u64,
}

impl<H: Host> Manager<H> {
    /// Begins a recount; one that is under way ends.
    pub(super) fn begin_audit(&mut self, id: StreamId) {
        self.fail_streams(|work| {
            let text = "another recount has begun, and ended this one";
            let hint = "wait for that one, then ask again";
            matches!(work, Work::Audit)
                .then(|| ErrorReply::new(ErrorCode::Superseded, text).hint(hint))
        });
        self.recount = Some(Recount {
            stream: id,
            progress: 0,
            due: self.host.now(),
        });
        self.work_on(id, Work::Audit, 0);
    }

    pub(super) fn step_audit(&mut self, next: &mut Next) {
        let Some(mut recount) = self.recount else {
            return;
        };
        if self.host.now() < recount.due {
            next.by(recount.due);
            return;
        }
        let step = self.host.audit_step(recount.progress);
        let end = match step {
            Ok(audit) if audit.progress != 0 => {
                recount.progress = audit.progress;
                recount.due = self.host.now().saturating_add(REST_NS);
                next.by(recount.due);
                self.recount = Some(recount);
                return;
            }
            Ok(audit) => Ok(Reply::Audit(super::query::audit_report(&audit))),
            Err(error) => Err(words::host(error)),
        };
        self.recount = None;
        let stream = self.streams.get(&recount.stream);
        if !stream.is_some_and(|stream| matches!(stream.work, Work::Audit)) {
            return;
        }
        match end {
            Ok(reply) => self.done(recount.stream, reply),
            Err(error) => self.fail(recount.stream, error),
        }
    }
}
