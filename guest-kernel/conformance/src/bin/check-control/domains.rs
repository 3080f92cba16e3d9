//! Operations on another domain: one that is created here, given frames and a vCPU, and ended.

use guest_conformance::errno::{EBUSY, EEXIST, EINVAL, ENOENT, EPERM, ESRCH};
use guest_conformance::fixture::{Frame, read};
use guest_conformance::{address_of, prepare, seen};
use hypercall_abi::RawMfn;
use hypercall_abi::control::domain::{
    DOMAIN_STATE_BUILDING, DOMAIN_STATE_PAUSED, DOMAIN_STATE_RUNNING, DOMAIN_STATE_SHUTDOWN,
    DomainRecord,
};
use hypercall_abi::control::memory::MAX_MEMORY_FRAMES;
use hypercall_abi::control::vcpu::VCPU_STATE_DOWN;
use hypercall_abi::ids::RawGrantRef;
use hypercall_abi::memory::XENMEM_POPULATE_PHYSMAP;
use hypercall_abi::mmu::{MMUEXT_PIN_L4_TABLE, MmuextOp};
use hypercall_abi::number::{MEMORY_OP, MMUEXT_OP, SCHED_OP};
use hypercall_abi::sched::{SCHEDOP_REMOTE_SHUTDOWN, SHUTDOWN_SUSPEND};
use hypercall_abi::table::prelude::*;
use hypercall_abi::vcpu::VGCF_IN_KERNEL;
use zerocopy::FromZeros;

use super::{Suite, ask, prepared, result};

/// A number that no domain has here.
const NONE: RawDomId = RawDomId(1234);
/// This domain.
const SELF: RawDomId = RawDomId(0);

/// A domain that is being built, ended with this value.
pub(super) struct Other {
    pub(super) id: RawDomId,
    pub(super) frames: [u64; 2],
}

/// What a usual request to create asks for.
fn wanted() -> DomainCreate {
    DomainCreate {
        domid: RawDomId::INVALID,
        max_vcpus: 2,
        max_frames: 64,
        weight: 256,
        ..DomainCreate::default()
    }
}

impl Other {
    /// One with two frames.
    pub(super) fn create() -> Self {
        let Some(made) = prepared(wanted()) else {
            panic!("no domain can be created")
        };
        let frames = [0_u64, 1];
        let request = MemoryReservation {
            extent_start: GuestPtr::new(address_of(&frames)),
            nr_extents: 2,
            domid: made.domid,
            ..MemoryReservation::default()
        };
        let populate = [XENMEM_POPULATE_PHYSMAP.into(), address_of(&request)];
        assert!(prepare(MEMORY_OP, &populate) == 2, "no frames for a domain");
        let at = address_of(&frames);
        Self {
            id: made.domid,
            frames: [read(at), read(at + 8)],
        }
    }

    /// One that is not being built any more. It has no vCPU that could run.
    pub(super) fn running() -> Self {
        let other = Self::create();
        other.unpause();
        other
    }

    pub(super) fn unpause(&self) {
        prepared(DomainUnpause {
            domid: self.id,
            ..DomainUnpause::default()
        });
    }

    fn record(&self) -> Option<DomainRecord> {
        let mut question = DomainInfo::new_zeroed();
        question.first = self.id;
        prepared(question).map(|answer| answer.record)
    }

    fn state(&self) -> u32 {
        seen(self.record().map_or(u32::MAX, |record| record.state))
    }

    /// Stops it as if it had suspended itself.
    fn suspend(&self) {
        let request = SchedRemoteShutdown {
            domain_id: self.id,
            reason: SHUTDOWN_SUSPEND,
            ..SchedRemoteShutdown::default()
        };
        prepare(
            SCHED_OP,
            &[SCHEDOP_REMOTE_SHUTDOWN.into(), address_of(&request)],
        );
    }

    pub(super) fn destroy(&self) {
        prepared(DomainDestroy {
            domid: self.id,
            ..DomainDestroy::default()
        });
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.destroy();
    }
}

pub(super) fn checks(suite: &Suite) {
    lives(suite);
    pauses(suite);
    limits(suite);
    memory(suite);
    vcpus(suite);
    shares(suite);
    grants(suite);
}

fn lives(suite: &Suite) {
    let create = |change: fn(&mut DomainCreate)| {
        let mut request = wanted();
        change(&mut request);
        let (result, made) = ask(request);
        if result == 0 {
            prepared(DomainDestroy {
                domid: made.domid,
                ..DomainDestroy::default()
            });
        }
        result
    };
    suite.check("domain_create.chooses-a-number", 0, || create(|_| ()));
    suite.check("domain_create.number-in-use", EEXIST, || {
        create(|request| request.domid = SELF)
    });
    suite.check("domain_create.no-vcpu", EINVAL, || {
        create(|request| request.max_vcpus = 0)
    });
    suite.check("domain_create.too-many-vcpus", EINVAL, || {
        create(|request| request.max_vcpus = 1 << 16)
    });
    suite.check("domain_create.no-weight", EINVAL, || {
        create(|request| request.weight = 0)
    });
    suite.check("domain_create.no-cpu", EINVAL, || {
        create(|request| request.affinity = 1 << 63)
    });
    suite.check("domain_create.no-number", EINVAL, || {
        create(|request| request.domid = RawDomId(0x7ff1))
    });
    suite.check("domain_create.is-building", DOMAIN_STATE_BUILDING, || {
        Other::create().state()
    });
    let destroy = |domid| {
        result(DomainDestroy {
            domid,
            ..DomainDestroy::default()
        })
    };
    suite.check("domain_destroy.ends-it", (0, true), || {
        let other = Other::create();
        let result = destroy(other.id);
        let gone = other.record().is_none_or(|record| record.domid != other.id);
        (result, seen(gone))
    });
    suite.check("domain_destroy.nobody", ESRCH, || destroy(NONE));
    suite.check("domain_destroy.self", EPERM, || destroy(SELF));
    let info = |first| {
        let mut question = DomainInfo::new_zeroed();
        question.first = first;
        ask(question)
    };
    suite.check("domain_info.own", (0, true), || {
        let (result, answer) = info(SELF);
        (
            result,
            seen(answer.record.domid == SELF && answer.record.frames > 0),
        )
    });
    suite.check("domain_info.next-from", (0, true), || {
        let other = Other::create();
        let (result, answer) = info(RawDomId(1));
        (
            result,
            seen(answer.record.domid == other.id && answer.record.max_frames == 64),
        )
    });
    suite.check("domain_info.behind-the-last", ESRCH, || info(NONE).0);
    let counters = |domid| {
        let mut question = DomainCounters::new_zeroed();
        question.domid = domid;
        ask(question)
    };
    suite.check("domain_counters.own-hypercalls", (0, true), || {
        let (result, answer) = counters(SELF);
        (result, seen(answer.counts[56] > 0))
    });
    suite.check("domain_counters.nobody", ESRCH, || counters(NONE).0);
}

fn pauses(suite: &Suite) {
    let pause = |domid| {
        result(DomainPause {
            domid,
            ..DomainPause::default()
        })
    };
    let unpause = |domid| {
        result(DomainUnpause {
            domid,
            ..DomainUnpause::default()
        })
    };
    suite.check("domain_pause.stops-it", (0, DOMAIN_STATE_PAUSED), || {
        let other = Other::running();
        (pause(other.id), other.state())
    });
    suite.check("domain_pause.is-counted", (0, DOMAIN_STATE_PAUSED), || {
        let other = Other::running();
        let result = pause(other.id) | pause(other.id) | unpause(other.id);
        (result, other.state())
    });
    suite.check("domain_pause.refused", [ESRCH, EPERM], || {
        [NONE, SELF].map(pause)
    });
    suite.check(
        "domain_unpause.ends-the-building",
        (0, DOMAIN_STATE_RUNNING),
        || {
            let other = Other::create();
            (unpause(other.id), other.state())
        },
    );
    suite.check("domain_unpause.not-paused", EINVAL, || {
        unpause(Other::running().id)
    });
    suite.check("domain_unpause.refused", [ESRCH, EPERM], || {
        [NONE, SELF].map(unpause)
    });
    let resume = |domid| {
        result(DomainResume {
            domid,
            ..DomainResume::default()
        })
    };
    suite.check(
        "remote_shutdown.stops-it",
        (0, DOMAIN_STATE_SHUTDOWN),
        || {
            let other = Other::running();
            let request = SchedRemoteShutdown {
                domain_id: other.id,
                reason: SHUTDOWN_SUSPEND,
                ..SchedRemoteShutdown::default()
            };
            let result = guest_conformance::call(
                SCHED_OP,
                &[SCHEDOP_REMOTE_SHUTDOWN.into(), address_of(&request)],
            );
            (result, other.state())
        },
    );
    suite.check("domain_resume.goes-on", (0, DOMAIN_STATE_RUNNING), || {
        let other = Other::running();
        other.suspend();
        (resume(other.id), other.state())
    });
    suite.check("domain_resume.not-suspended", EINVAL, || {
        resume(Other::running().id)
    });
    suite.check("domain_resume.refused", [ESRCH, EPERM], || {
        [NONE, SELF].map(resume)
    });
}

fn limits(suite: &Suite) {
    let maximum = |domid| {
        result(DomainSetMax {
            domid,
            max_frames: 99,
            ..DomainSetMax::default()
        })
    };
    suite.check("domain_set_max.is-told", (0, 99), || {
        let other = Other::create();
        let result = maximum(other.id);
        let told = other.record().map_or(0, |record| record.max_frames);
        (result, seen(told))
    });
    suite.check("domain_set_max.nobody", ESRCH, || maximum(NONE));
    let limit = |domid, limit_frames| {
        result(DomainSetLimit {
            domid,
            limit_frames,
            ..DomainSetLimit::default()
        })
    };
    suite.check("domain_set_limit.holds", (0, 0), || {
        let other = Other::create();
        let result = limit(other.id, 2);
        let list = [2_u64];
        let request = MemoryReservation {
            extent_start: GuestPtr::new(address_of(&list)),
            nr_extents: 1,
            domid: other.id,
            ..MemoryReservation::default()
        };
        let populate = [XENMEM_POPULATE_PHYSMAP.into(), address_of(&request)];
        (result, seen(prepare(MEMORY_OP, &populate)))
    });
    suite.check("domain_set_limit.nobody", ESRCH, || limit(NONE, 2));
}

fn memory(suite: &Suite) {
    let page = Frame::take();
    let write = |other: &Other, count, done| {
        ask(MemoryWrite {
            domid: other.id,
            count,
            done,
            frames: GuestPtr::new(address_of(&other.frames)),
            data: GuestPtr::new(page.address),
            ..MemoryWrite::default()
        })
    };
    let read_back = |other: &Other, count, done| {
        ask(MemoryRead {
            domid: other.id,
            count,
            done,
            frames: GuestPtr::new(address_of(&other.frames)),
            data: GuestPtr::new(page.address),
            ..MemoryRead::default()
        })
    };
    suite.check("memory.written-is-read", (0, 0, 0x5eed), || {
        let other = Other::create();
        page.set_word(7, 0x5eed);
        let written = write(&other, 1, 0).0;
        page.set_word(7, 0);
        let back = read_back(&other, 1, 0).0;
        (written, back, seen(page.word(7)))
    });
    suite.check("memory.fresh-frames-are-zero", (0, 0), || {
        let other = Other::create();
        page.set_word(3, 9);
        (read_back(&other, 1, 0).0, seen(page.word(3)))
    });
    suite.check("memory.too-many", [EINVAL; 2], || {
        let other = Other::create();
        let count = MAX_MEMORY_FRAMES + 1;
        [write(&other, count, 0).0, read_back(&other, count, 0).0]
    });
    suite.check("memory.done-beyond-them", [EINVAL; 2], || {
        let other = Other::create();
        [write(&other, 1, 2).0, read_back(&other, 1, 2).0]
    });
    let stranger = |mut other: Other| {
        other.frames = [page.mfn; 2];
        other
    };
    suite.check("memory.not-its-frame", [EINVAL; 2], || {
        let other = stranger(Other::create());
        [write(&other, 1, 0).0, read_back(&other, 1, 0).0]
    });
    let nobody = core::mem::ManuallyDrop::new(Other {
        id: NONE,
        frames: [0; 2],
    });
    suite.check("memory_write.nobody", ESRCH, || write(&nobody, 1, 0).0);
    suite.check("memory_read.nobody", ESRCH, || read_back(&nobody, 1, 0).0);
    suite.check("memory_write.not-building", EBUSY, || {
        write(&Other::running(), 1, 0).0
    });
}

fn vcpus(suite: &Suite) {
    let give = |domid, vcpu, root: u64| {
        let mut context = VcpuGuestContext::new_zeroed();
        context.flags = VGCF_IN_KERNEL;
        context.ctrlreg[3] = root << 12;
        result(VcpuSetContext {
            domid,
            vcpu,
            context: GuestPtr::new(address_of(&context)),
            ..VcpuSetContext::default()
        })
    };
    let pinned = || {
        let other = Other::create();
        let request = MmuextOp {
            cmd: MMUEXT_PIN_L4_TABLE,
            arg1: other.frames[0],
            ..MmuextOp::default()
        };
        let arguments = [address_of(&request), 1, 0, u64::from(other.id.0)];
        assert!(prepare(MMUEXT_OP, &arguments) == 0, "an empty root");
        other
    };
    suite.check("vcpu_set_context.once", (0, EEXIST), || {
        let other = pinned();
        let root = other.frames[0];
        (give(other.id, 0, root), give(other.id, 0, root))
    });
    suite.check("vcpu_set_context.no-root", EINVAL, || {
        give(Other::create().id, 0, 0)
    });
    suite.check("vcpu_set_context.no-such-vcpu", ENOENT, || {
        give(Other::create().id, 2, 0)
    });
    suite.check("vcpu_set_context.nobody", ESRCH, || give(NONE, 0, 0));
    suite.check("vcpu_set_context.not-building", EBUSY, || {
        give(Other::running().id, 0, 0)
    });
    let info = |domid, vcpu| {
        let mut question = VcpuRecord::new_zeroed();
        (question.domid, question.vcpu) = (domid, vcpu);
        ask(question)
    };
    suite.check("vcpu_info.never-started", (0, VCPU_STATE_DOWN), || {
        let other = Other::create();
        let (result, answer) = info(other.id, 1);
        (result, seen(answer.state))
    });
    suite.check("vcpu_info.no-such-vcpu", ENOENT, || info(SELF, 1000).0);
    suite.check("vcpu_info.nobody", ESRCH, || info(NONE, 0).0);
}

fn shares(suite: &Suite) {
    let set = |domid, weight, cap_percent, affinity| {
        result(SchedSet {
            domid,
            weight,
            cap_percent,
            affinity,
            ..SchedSet::default()
        })
    };
    let get = |domid| {
        ask(SchedGet {
            domid,
            ..SchedGet::default()
        })
    };
    suite.check("sched.set-is-got", (0, 0, (512, 50, 1)), || {
        let other = Other::create();
        let set = set(other.id, 512, 50, 1);
        let (result, answer) = get(other.id);
        let told = (
            seen(answer.weight),
            seen(answer.cap_percent),
            seen(answer.affinity),
        );
        (set, result, told)
    });
    suite.check("sched_set.no-weight", EINVAL, || {
        set(Other::create().id, 0, 0, 0)
    });
    suite.check("sched_set.no-cpu", EINVAL, || {
        set(Other::create().id, 256, 0, 1 << 63)
    });
    suite.check("sched_set.nobody", ESRCH, || set(NONE, 256, 0, 0));
    suite.check("sched_get.nobody", ESRCH, || get(NONE).0);
}

fn grants(suite: &Suite) {
    let seed = |domid, reference, frame| {
        result(GrantSeed {
            domid,
            backend: SELF,
            gref: RawGrantRef(reference),
            mfn: RawMfn(frame),
            ..GrantSeed::default()
        })
    };
    suite.check("grant_seed.reserved-entry", 0, || {
        let other = Other::create();
        seed(other.id, 1, other.frames[1])
    });
    suite.check("grant_seed.other-entry", EINVAL, || {
        let other = Other::create();
        seed(other.id, 8, other.frames[1])
    });
    suite.check("grant_seed.not-its-frame", EINVAL, || {
        seed(Other::create().id, 1, Frame::take().mfn)
    });
    suite.check("grant_seed.nobody", ESRCH, || seed(NONE, 1, 0));
    suite.check("grant_seed.not-building", EBUSY, || {
        let other = Other::running();
        seed(other.id, 1, other.frames[1])
    });
}
