//! FIFO events through hypercalls, with the guest's side of the queues played here.

use alloc::vec::Vec;

use hypercall_abi::RawMfn;

use super::*;
use crate::fake::Access;
use crate::fake::bench::BASE;
use crate::ids::Mfn;
use crate::machine::Machine;

/// Pages of the image for the control blocks and for the words.
const CONTROL: u64 = BASE + 0x3000;
const WORDS: u64 = BASE + 0x4000;
/// Distance of the second vCPU's block from the first one's.
const BLOCK: usize = 128;
const MASKED: u32 = 1 << 30;
const LINKED: u32 = 1 << 29;
const PENDING: u32 = 1 << 31;

fn frame(bench: &Bench, address: u64) -> Mfn {
    bench.hv.machine().access(address, Access::Write).unwrap()
}

fn init(bench: &mut Bench, vcpu: u32, offset: u32) -> Result<EvtchnInitControl, Errno> {
    let request = EvtchnInitControl {
        control_gfn: RawMfn(frame(bench, CONTROL).get()),
        offset,
        vcpu,
        ..EvtchnInitControl::default()
    };
    op(bench, EVTCHNOP_INIT_CONTROL, request)
}

fn expand(bench: &mut Bench, mfn: u64) -> Result<(), Errno> {
    let request = EvtchnExpandArray {
        array_gfn: RawMfn(mfn),
    };
    op(bench, EVTCHNOP_EXPAND_ARRAY, request).map(drop)
}

fn priority(bench: &mut Bench, port: RawPort, priority: u32) -> Result<(), Errno> {
    op(
        bench,
        EVTCHNOP_SET_PRIORITY,
        EvtchnSetPriority { port, priority },
    )
    .map(drop)
}

fn unmask(bench: &mut Bench, port: RawPort) {
    op(bench, EVTCHNOP_UNMASK, EvtchnUnmask { port }).unwrap();
}

/// A domain with a block for each vCPU and one page of words.
fn queued() -> Bench {
    let mut bench = Bench::new();
    bench.write(CONTROL, &[0_u8; 4096]);
    bench.write(WORDS, &[0_u8; 4096]);
    assert_eq!(
        init(&mut bench, 0, 0).map(|answer| answer.link_bits),
        Ok(17)
    );
    init(&mut bench, 1, 128).unwrap();
    let words = frame(&bench, WORDS).get();
    expand(&mut bench, words).unwrap();
    bench
}

fn word(bench: &mut Bench, port: RawPort) -> u32 {
    bench.read(WORDS + 4 * u64::from(port.0))
}

fn set_word(bench: &mut Bench, port: RawPort, word: u32) {
    bench.write(WORDS + 4 * u64::from(port.0), &word);
}

/// What a guest does in its upcall: all ports of a vCPU, in the order in which it finds them. Takes each out of its queue.
fn drain(bench: &mut Bench, vcpu: usize) -> Vec<(usize, u32)> {
    let machine = bench.hv.machine();
    let (control, words) = (frame(bench, CONTROL), frame(bench, WORDS));
    let block = vcpu * BLOCK;
    let mut found = Vec::new();
    let mut heads = [0_u32; 16];
    let take = || machine.fetch_and_u64(control, block, !0xffff_ffff) & 0xffff_ffff;
    let mut ready = take();
    while ready != 0 {
        let queue = usize::try_from(ready.trailing_zeros()).unwrap();
        if heads[queue] == 0 {
            heads[queue] = machine.load_u32(control, block + 8 + 4 * queue);
        }
        let at = 4 * usize::try_from(heads[queue]).unwrap();
        let old = machine.load_u32(words, at);
        let link = old & 0x1_ffff;
        machine
            .compare_exchange_u32(words, at, old, old & !(LINKED | 0x1_ffff))
            .unwrap();
        if old & PENDING != 0 && old & MASKED == 0 {
            found.push((queue, heads[queue]));
            machine.store_u32(words, at, machine.load_u32(words, at) & !PENDING);
        }
        heads[queue] = link;
        if link == 0 {
            ready &= !(1 << queue);
        }
        ready |= take();
    }
    found
}

#[test]
fn control_blocks_words_and_priorities_have_the_errors_of_the_abi() {
    let mut bench = Bench::new();
    let mfn = frame(&bench, WORDS).get();
    let port = ipi(&mut bench, 0).unwrap();
    assert_eq!(expand(&mut bench, mfn), Err(Errno::EOPNOTSUPP));
    assert_eq!(priority(&mut bench, RawPort(64), 0), Err(Errno::EINVAL));
    assert_eq!(priority(&mut bench, port, 16), Err(Errno::ENOSYS));
    assert_eq!(init(&mut bench, 2, 1).map(drop), Err(Errno::ENOENT));
    for offset in [4032, 4025, 4, u32::MAX] {
        assert_eq!(init(&mut bench, 0, offset).map(drop), Err(Errno::EINVAL));
    }
    let table = bench.domain().vcpus()[0].memory.kernel_root();
    let request = EvtchnInitControl {
        control_gfn: RawMfn(table.unwrap().get()),
        ..EvtchnInitControl::default()
    };
    let refused = op(&mut bench, EVTCHNOP_INIT_CONTROL, request).map(drop);
    assert_eq!(refused, Err(Errno::EINVAL), "a page table");
    assert!(!bench.domain().events.is_queued(), "nothing has changed");
    init(&mut bench, 0, 4024).unwrap();
    assert_eq!(init(&mut bench, 0, 0).map(drop), Err(Errno::EINVAL));
    assert_eq!(expand(&mut bench, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(priority(&mut bench, RawPort(0), 0), Err(Errno::EACCES));
    assert_eq!(priority(&mut bench, RawPort(9), 0), Err(Errno::EACCES));
    assert_eq!(priority(&mut bench, port, 16), Err(Errno::EINVAL));
    assert_eq!(priority(&mut bench, port, 15), Ok(()));
    for _ in 0..128 {
        assert_eq!(expand(&mut bench, mfn), Ok(()));
    }
    assert_eq!(expand(&mut bench, mfn), Err(Errno::ENOSPC));
}

#[test]
fn events_are_found_by_priority_and_in_order() {
    let mut bench = queued();
    let domain = own(&bench);
    let ports: Vec<RawPort> = (0..4).map(|_| ipi(&mut bench, 0).unwrap()).collect();
    priority(&mut bench, ports[3], 0).unwrap();
    for &port in &ports {
        send(&mut bench, port).unwrap();
        send(&mut bench, port).unwrap();
        assert!(is_set(&bench, &domain, port));
    }
    assert_eq!(
        upcall(&bench, &domain, 0),
        (1, 0),
        "no selector with queues"
    );
    assert_eq!(drain(&mut bench, 0), [(0, 4), (7, 1), (7, 2), (7, 3)]);
    assert_eq!(drain(&mut bench, 0), []);
    // The last of the queue that was emptied is linked anew, then another behind it.
    for port in [ports[2], ports[0]] {
        send(&mut bench, port).unwrap();
    }
    assert_eq!(upcall(&bench, &domain, 0).0, 1);
    assert_eq!(drain(&mut bench, 0), [(7, 3), (7, 1)]);
}

#[test]
fn a_masked_port_waits_for_its_unmask_in_no_queue() {
    let mut bench = queued();
    let domain = own(&bench);
    let port = ipi(&mut bench, 1).unwrap();
    set_word(&mut bench, port, MASKED);
    send(&mut bench, port).unwrap();
    assert_eq!(word(&mut bench, port), PENDING | MASKED);
    assert_eq!(upcall(&bench, &domain, 1).0, 0);
    unmask(&mut bench, port);
    assert_eq!(word(&mut bench, port), PENDING | LINKED);
    assert_eq!(upcall(&bench, &domain, 1).0, 1);
    assert_eq!(drain(&mut bench, 1), [(7, port.0)]);
    unmask(&mut bench, port);
    assert_eq!(upcall(&bench, &domain, 1).0, 0, "nothing is pending");
}

#[test]
fn what_was_pending_in_the_bitmaps_is_raised_with_the_first_words() {
    let mut bench = Bench::new();
    let domain = own(&bench);
    let ports: Vec<RawPort> = (0..3).map(|_| ipi(&mut bench, 0).unwrap()).collect();
    send(&mut bench, ports[0]).unwrap();
    bench.write(CONTROL, &[0_u8; 4096]);
    bench.write(WORDS, &[0_u8; 4096]);
    init(&mut bench, 0, 0).unwrap();
    send(&mut bench, ports[2]).unwrap();
    upcall(&bench, &domain, 0);
    assert!(!is_set(&bench, &domain, ports[0]), "there is no word yet");
    let words = frame(&bench, WORDS).get();
    expand(&mut bench, words).unwrap();
    assert_eq!(upcall(&bench, &domain, 0).0, 1);
    assert_eq!(drain(&mut bench, 0), [(7, 1), (7, 3)]);
}

#[test]
fn a_port_that_moves_to_another_vcpu_leaves_no_trace_in_its_old_queue() {
    let mut bench = queued();
    let far = unbound(&mut bench, RawDomId::SELF).unwrap();
    let near = connect(&mut bench, RawDomId::SELF, far).unwrap();
    assert_eq!(
        drain(&mut bench, 0),
        [(7, near.0)],
        "a new end looks at once"
    );
    let to = |bench: &mut Bench, vcpu| {
        op(
            bench,
            EVTCHNOP_BIND_VCPU,
            EvtchnBindVcpu { port: far, vcpu },
        )
        .unwrap();
    };
    for round in 0..3 {
        for vcpu in [0_u32, 1] {
            to(&mut bench, vcpu);
            send(&mut bench, near).unwrap();
            send(&mut bench, far).unwrap();
            let home = drain(&mut bench, vcpu.try_into().unwrap());
            assert!(home.contains(&(7, far.0)), "round {round}: {home:?}");
            drain(&mut bench, 0);
        }
    }
}

#[test]
fn a_freed_port_in_a_queue_is_not_given_out_until_the_guest_unlinks_it() {
    let mut bench = queued();
    let port = ipi(&mut bench, 0).unwrap();
    send(&mut bench, port).unwrap();
    close(&mut bench, port).unwrap();
    assert_eq!(word(&mut bench, port), LINKED, "it is not pending any more");
    let other = ipi(&mut bench, 0).unwrap();
    assert_ne!(other, port);
    assert_eq!(drain(&mut bench, 0), []);
    assert_eq!(ipi(&mut bench, 0), Ok(port));
}

#[test]
fn links_that_a_hostile_guest_wrote_are_never_followed() {
    let mut bench = queued();
    let ports: Vec<RawPort> = (0..8).map(|_| ipi(&mut bench, 0).unwrap()).collect();
    for round in 0..64_u32 {
        for (index, &port) in (0..).zip(&ports) {
            send(&mut bench, port).unwrap();
            let noise = round.wrapping_mul(0x9e37_79b9).rotate_left(index);
            set_word(&mut bench, port, noise);
            bench.write(CONTROL + 8 + u64::from(noise & 0x3c), &noise);
            unmask(&mut bench, port);
        }
    }
    let breaches = bench.result(number::SCHED_OP, [0, 0, 0]);
    assert_eq!(breaches, 0, "the machine runs on");
}

#[test]
fn a_reset_goes_back_to_bitmaps_and_lets_the_frames_go() {
    let mut bench = queued();
    let domain = own(&bench);
    let (control, words) = (frame(&bench, CONTROL), frame(&bench, WORDS));
    let before = [control, words].map(|mfn| bench.hv.frames().type_state(mfn).count);
    let reset = EvtchnReset {
        dom: RawDomId::SELF,
    };
    let port = ipi(&mut bench, 0).unwrap();
    op(&mut bench, EVTCHNOP_RESET, reset).unwrap();
    let after = [control, words].map(|mfn| bench.hv.frames().type_state(mfn).count);
    assert_eq!(after, [before[0] - 2, before[1] - 1]);
    assert!(!domain.events.is_queued());
    assert_eq!(ipi(&mut bench, 0), Ok(port));
    send(&mut bench, port).unwrap();
    assert_eq!(upcall(&bench, &domain, 0), (1, 1), "by the bitmaps");
    assert_eq!(word(&mut bench, port), 0);
    init(&mut bench, 0, 0).unwrap();
}
