//! Event channels and their reference: what each port is bound to, and the bits that guests see.
//!
//! How bits are kept is in [`Events::raise`], [`Events::tell`] and [`Events::check`] alone; everything else holds for any
//! kind of delivery.

use std::collections::{BTreeMap, BTreeSet};

use hypercall_abi::event::*;
use hypercall_abi::{Errno, RawDomId, RawPort, number};
use hypervisor_core::event::{Binding, Port};
use hypervisor_core::ids::Place;
use hypervisor_core::machine::Machine;

use super::world::World;

/// Offsets in `shared_info`, and of a vCPU's part.
const PENDING: usize = 0x800;
const MASK: usize = 0xa00;
const SELECTOR: usize = 8;
const VCPU: usize = 64;
const VIRQS: u32 = 24;
const VIRQ_DOM_EXC: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Unbound(u16),
    Interdomain(u16, u32),
    Virq(u32),
    Ipi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    bound: Bound,
    vcpu: u32,
}

/// The reference.
#[derive(Default)]
pub(crate) struct Events {
    /// By domain and port.
    ends: BTreeMap<(u16, u32), End>,
    pending: BTreeSet<(u16, u32)>,
    masked: BTreeSet<(u16, u32)>,
    /// The highest port that a domain ever had: ports exist in groups of 64.
    highest: BTreeMap<u16, u32>,
    /// Bits of selectors, by domain and vCPU.
    told: BTreeSet<(u16, u32, u32)>,
}

impl Events {
    /// One operation of anybody's.
    pub(crate) fn step(&mut self, world: &mut World) -> String {
        let (caller, what) = (world.caller(), world.below(14));
        let (port, vcpu) = (
            self.any_port(world),
            u32::try_from(world.below(4)).expect("few"),
        );
        let (result, wanted) = match what {
            0 | 1 => self.alloc(world, caller),
            2..=4 => self.bind_interdomain(world, caller),
            5 => self.bind_virq(world, caller, vcpu),
            6 => self.bind_ipi(world, caller, vcpu),
            7 => {
                let request = EvtchnClose {
                    port: RawPort(port),
                };
                let got = simple(world, caller, EVTCHNOP_CLOSE, &request);
                (got, self.close(caller, port))
            }
            8 | 9 => {
                let request = EvtchnSend {
                    port: RawPort(port),
                };
                let got = simple(world, caller, EVTCHNOP_SEND, &request);
                (got, self.send(caller, port))
            }
            10 => {
                let request = EvtchnBindVcpu {
                    port: RawPort(port),
                    vcpu,
                };
                let got = simple(world, caller, EVTCHNOP_BIND_VCPU, &request);
                (got, self.bind_vcpu(caller, port, vcpu))
            }
            11 => {
                let request = EvtchnUnmask {
                    port: RawPort(port),
                };
                let got = simple(world, caller, EVTCHNOP_UNMASK, &request);
                (got, self.unmask(caller, port))
            }
            12 if world.below(8) == 0 => self.reset(world, caller),
            _ => {
                self.guest(world, caller, port);
                (Ok(0), Ok(0))
            }
        };
        assert_eq!(
            result, wanted,
            "d{caller}: event operation {what} on {port}"
        );
        format!("d{caller}: event operation {what} on {port}: {result:?}")
    }

    /// A domain has ended, or has nothing left but its memory.
    pub(crate) fn end(&mut self, world: &World, id: u16, gone: bool) {
        self.close_all(id);
        if gone {
            self.pending.retain(|(domain, _)| *domain != id);
            self.masked.retain(|(domain, _)| *domain != id);
            self.told.retain(|(domain, ..)| *domain != id);
            self.highest.remove(&id);
            // dom0 is told, if it listens.
            let listens = |(_, end): &(&(u16, u32), &End)| end.bound == Bound::Virq(VIRQ_DOM_EXC);
            let of_first = self.ends.range((0, 0)..(1, 0)).find(listens);
            if let Some((&(_, port), _)) = of_first {
                self.raise(0, port);
            }
        }
        let _ = world;
    }

    /// All ports and all bits are as the reference says.
    pub(crate) fn check(&self, world: &World, place: &str) {
        for (&id, domain) in &world.domains {
            let used = domain.events.used().map(|(port, record)| {
                let bound = match record.binding {
                    Binding::Unbound(remote) => Bound::Unbound(remote.0),
                    Binding::Interdomain(remote, peer) => {
                        Bound::Interdomain(remote.get(), peer.get().into())
                    }
                    Binding::Virq(virq) => Bound::Virq(virq.get().into()),
                    Binding::Ipi => Bound::Ipi,
                    Binding::Free | Binding::Line(_) => panic!("{place}: {record:?}"),
                };
                let vcpu = u32::from(record.vcpu.get());
                ((id, u32::from(port.get())), End { bound, vcpu })
            });
            let wanted = self.ends.range((id, 0)..(id + 1, 0));
            assert!(
                used.eq(wanted.map(|(&a, &b)| (a, b))),
                "{place}: ports of d{id}"
            );
            let machine = world.bench.hv.machine();
            let shared = domain.shared_info();
            for word in 0..64 {
                let bits = |set: &BTreeSet<(u16, u32)>| {
                    (0..64).fold(0_u64, |bits, bit| {
                        bits | u64::from(set.contains(&(id, word * 64 + bit))) << bit
                    })
                };
                let at = usize::try_from(word).expect("few") * 8;
                let pending = machine.load_u64(shared, PENDING + at);
                assert_eq!(pending, bits(&self.pending), "{place}: pending of d{id}");
                let masked = machine.load_u64(shared, MASK + at);
                assert_eq!(masked, bits(&self.masked), "{place}: masks of d{id}");
            }
            for vcpu in 0..2_u32 {
                let told = (0..64).fold(0_u64, |bits, word| {
                    bits | u64::from(self.told.contains(&(id, vcpu, word))) << word
                });
                let at = usize::try_from(vcpu).expect("few") * VCPU + SELECTOR;
                let found = machine.load_u64(shared, at);
                assert_eq!(found, told, "{place}: selector of d{id}v{vcpu}");
            }
        }
    }

    /// A port in use, or nearly any other number.
    fn any_port(&self, world: &mut World) -> u32 {
        let hostile = [
            0,
            1,
            2,
            63,
            64,
            1023,
            1024,
            4095,
            4096,
            1 << 16 | 1,
            u32::MAX,
        ];
        if self.ends.is_empty() || world.below(5) == 0 {
            return world.pick(&hostile);
        }
        let ports: Vec<u32> = self.ends.keys().map(|&(_, port)| port).collect();
        world.pick(&ports)
    }

    fn exists(&self, domain: u16, port: u32) -> bool {
        let highest = self.highest.get(&domain).copied().unwrap_or(0);
        port <= highest | 63
    }

    fn free_port(&self, domain: u16) -> u32 {
        (1..)
            .find(|&port| !self.ends.contains_key(&(domain, port)))
            .expect("there are more")
    }

    fn make(&mut self, domain: u16, bound: Bound, vcpu: u32) -> u32 {
        let port = self.free_port(domain);
        let highest = self.highest.entry(domain).or_default();
        *highest = port.max(*highest);
        self.ends.insert((domain, port), End { bound, vcpu });
        port
    }

    fn alloc(&mut self, world: &mut World, caller: u16) -> Both {
        let (named, remote) = (world.any_domid(), world.any_domid());
        let request = EvtchnAllocUnbound {
            dom: RawDomId(named),
            remote_dom: RawDomId(remote),
            port: RawPort(0),
        };
        let got = world.call(
            caller,
            number::EVENT_CHANNEL_OP,
            EVTCHNOP_ALLOC_UNBOUND,
            &request,
        );
        let target = if named == 0x7ff0 { caller } else { named };
        let remote = if remote == 0x7ff0 { caller } else { remote };
        let wanted = if !world.domains.contains_key(&target) {
            Err(Errno::ESRCH)
        } else if world.dying.contains(&target) {
            Err(Errno::EINVAL)
        } else if target != caller && caller != 0 {
            Err(Errno::EPERM)
        } else {
            Ok(self.make(target, Bound::Unbound(remote), 0).into())
        };
        (got.0.map(|_| got.1.port.0.into()), wanted)
    }

    fn bind_interdomain(&mut self, world: &mut World, caller: u16) -> Both {
        let waiting = |(&(domain, port), end): (&(u16, u32), &End)| {
            (end.bound == Bound::Unbound(caller)).then_some((domain, port))
        };
        let waiting: Vec<(u16, u32)> = self.ends.iter().filter_map(waiting).collect();
        let (named, port) = if waiting.is_empty() || world.below(4) == 0 {
            (world.any_domid(), self.any_port(world))
        } else {
            world.pick(&waiting)
        };
        let request = EvtchnBindInterdomain {
            remote_dom: RawDomId(named),
            remote_port: RawPort(port),
            ..EvtchnBindInterdomain::default()
        };
        let operation = EVTCHNOP_BIND_INTERDOMAIN;
        let got = world.call(caller, number::EVENT_CHANNEL_OP, operation, &request);
        let remote = if named == 0x7ff0 { caller } else { named };
        let far = self.ends.get(&(remote, port)).copied();
        let wanted = match far {
            _ if !world.domains.contains_key(&remote) => Err(Errno::ESRCH),
            Some(far) if far.bound == Bound::Unbound(caller) => {
                let own = self.make(caller, Bound::Interdomain(remote, port), 0);
                let bound = Bound::Interdomain(caller, own);
                self.ends.insert((remote, port), End { bound, ..far });
                self.raise(caller, own);
                Ok(own.into())
            }
            _ => Err(Errno::EINVAL),
        };
        (got.0.map(|_| got.1.local_port.0.into()), wanted)
    }

    fn bind_virq(&mut self, world: &mut World, caller: u16, vcpu: u32) -> Both {
        let virq = world.pick(&[0, 1, 2, 3, 8, 23, VIRQS, u32::MAX]);
        let request = EvtchnBindVirq {
            virq,
            vcpu,
            port: RawPort(0),
        };
        let got = world.call(
            caller,
            number::EVENT_CHANNEL_OP,
            EVTCHNOP_BIND_VIRQ,
            &request,
        );
        let global = !virq_is_per_vcpu(virq);
        let bound = |(&(domain, _), end): (&(u16, u32), &End)| {
            let same = end.bound == Bound::Virq(virq) && (global || end.vcpu == vcpu);
            domain == caller && same
        };
        let wanted = if virq >= VIRQS || (global && vcpu != 0) {
            Err(Errno::EINVAL)
        } else if vcpu >= 2 {
            Err(Errno::ENOENT)
        } else if self.ends.iter().any(bound) {
            Err(Errno::EEXIST)
        } else {
            Ok(self.make(caller, Bound::Virq(virq), vcpu).into())
        };
        (got.0.map(|_| got.1.port.0.into()), wanted)
    }

    fn bind_ipi(&mut self, world: &mut World, caller: u16, vcpu: u32) -> Both {
        let request = EvtchnBindIpi {
            vcpu,
            port: RawPort(0),
        };
        let got = world.call(
            caller,
            number::EVENT_CHANNEL_OP,
            EVTCHNOP_BIND_IPI,
            &request,
        );
        let wanted = if vcpu >= 2 {
            Err(Errno::ENOENT)
        } else {
            Ok(self.make(caller, Bound::Ipi, vcpu).into())
        };
        (got.0.map(|_| got.1.port.0.into()), wanted)
    }

    fn close(&mut self, caller: u16, port: u32) -> Result<u64, Errno> {
        let end = self.ends.remove(&(caller, port)).ok_or(Errno::EINVAL)?;
        self.pending.remove(&(caller, port));
        if let Bound::Interdomain(remote, peer) = end.bound
            && let Some(far) = self.ends.get_mut(&(remote, peer))
        {
            far.bound = Bound::Unbound(caller);
        }
        Ok(0)
    }

    fn close_all(&mut self, domain: u16) {
        let ports: Vec<u32> = self
            .ends
            .range((domain, 0)..(domain + 1, 0))
            .map(|(k, _)| k.1)
            .collect();
        for port in ports {
            self.close(domain, port).expect("it is in use");
        }
    }

    fn send(&mut self, caller: u16, port: u32) -> Result<u64, Errno> {
        match self.ends.get(&(caller, port)).ok_or(Errno::EINVAL)?.bound {
            Bound::Interdomain(remote, peer) => self.raise(remote, peer),
            Bound::Ipi => self.raise(caller, port),
            Bound::Unbound(_) => {}
            Bound::Virq(_) => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    fn bind_vcpu(&mut self, caller: u16, port: u32, vcpu: u32) -> Result<u64, Errno> {
        if vcpu >= 2 {
            return Err(Errno::ENOENT);
        }
        let end = self.ends.get_mut(&(caller, port)).ok_or(Errno::EINVAL)?;
        let fixed = match end.bound {
            Bound::Virq(virq) => virq_is_per_vcpu(virq),
            Bound::Ipi => true,
            Bound::Unbound(_) | Bound::Interdomain(..) => false,
        };
        if fixed {
            return Err(Errno::EINVAL);
        }
        end.vcpu = vcpu;
        Ok(0)
    }

    fn unmask(&mut self, caller: u16, port: u32) -> Result<u64, Errno> {
        if !self.exists(caller, port) {
            return Err(Errno::EINVAL);
        }
        if self.masked.remove(&(caller, port)) && self.pending.contains(&(caller, port)) {
            self.tell(caller, port);
        }
        Ok(0)
    }

    fn reset(&mut self, world: &mut World, caller: u16) -> Both {
        let named = world.any_domid();
        let request = EvtchnReset {
            dom: RawDomId(named),
        };
        let got = simple(world, caller, EVTCHNOP_RESET, &request);
        let target = if named == 0x7ff0 { caller } else { named };
        let wanted = if !world.domains.contains_key(&target) {
            Err(Errno::ESRCH)
        } else if target != caller && caller != 0 {
            Err(Errno::EPERM)
        } else if world.dying.contains(&target) {
            Err(Errno::EINVAL)
        } else {
            self.close_all(target);
            Ok(0)
        };
        (got, wanted)
    }

    /// What a guest does by itself, in memory that it shares with the hypervisor.
    fn guest(&mut self, world: &mut World, caller: u16, port: u32) {
        let shared = world.domains[&caller].shared_info();
        let vcpu = u32::try_from(world.below(2)).expect("few");
        let what = world.below(4);
        let machine = world.bench.hv.machine();
        let at = usize::try_from(vcpu).expect("few") * VCPU + SELECTOR;
        if what == 0 {
            machine.store_u64(shared, at, 0);
            machine.store_u8(Place::new(shared, at - SELECTOR), 0);
            self.told.retain(|&(d, v, _)| (d, v) != (caller, vcpu));
            return;
        }
        let Some(known) = Port::new(port) else { return };
        let word = usize::from(known.word()) * 8;
        match what {
            1 => {
                machine.fetch_or_u64(Place::new(shared, MASK + word), known.bit());
                self.masked.insert((caller, port));
            }
            2 => {
                machine.fetch_and_u64(shared, PENDING + word, !known.bit());
                self.pending.remove(&(caller, port));
            }
            // Nothing happened there: it cheats itself.
            _ => {
                machine.fetch_or_u64(Place::new(shared, PENDING + word), known.bit());
                self.pending.insert((caller, port));
            }
        }
    }

    /// Something happened on a port.
    fn raise(&mut self, domain: u16, port: u32) {
        if self.pending.insert((domain, port)) && !self.masked.contains(&(domain, port)) {
            self.tell(domain, port);
        }
    }

    fn tell(&mut self, domain: u16, port: u32) {
        let vcpu = self.ends.get(&(domain, port)).map_or(0, |end| end.vcpu);
        self.told.insert((domain, vcpu, port / 64));
    }
}

/// What came out and what should.
type Both = (Result<u64, Errno>, Result<u64, Errno>);

fn simple<T: zerocopy::IntoBytes + zerocopy::FromBytes + zerocopy::Immutable>(
    world: &mut World,
    caller: u16,
    operation: u32,
    argument: &T,
) -> Result<u64, Errno> {
    world
        .call(caller, number::EVENT_CHANNEL_OP, operation, argument)
        .0
}
