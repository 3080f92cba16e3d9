//! A port, what it is bound to, and how both share one word.
//!
//! A record fits a word so that `send` may read it without a lock and still never see half of a change.

use hypercall_abi::RawDomId;
use hypercall_abi::event::{
    EVTCHN_2L_NR_CHANNELS, EVTCHNSTAT_CLOSED, EVTCHNSTAT_INTERDOMAIN, EVTCHNSTAT_IPI,
    EVTCHNSTAT_PIRQ, EVTCHNSTAT_UNBOUND, EVTCHNSTAT_VIRQ, NR_VIRQS, virq_is_per_vcpu,
};

use crate::domain::DomId;
use crate::ids::VcpuId;
use crate::machine::DeviceLine;

/// A port that can exist with two-level events: 1..=4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// The port of this number, if there can be one. Port 0 is reserved for ever.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        let number = u16::try_from(number).ok()?;
        (number != 0 && u32::from(number) < EVTCHN_2L_NR_CHANNELS).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Which word of a bitmap of ports it is in; also its bit in the selector.
    #[must_use]
    pub const fn word(self) -> u16 {
        self.0 >> 6
    }

    /// Its bit in that word.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self.0 & 63)
    }
}

/// A virtual interrupt that can be bound: below [`NR_VIRQS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirqNumber(u8);

impl VirqNumber {
    /// The virtual interrupt that a guest names, if there is one.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        if number < NR_VIRQS {
            u8::try_from(number).ok().map(Self)
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether each vCPU has its own.
    #[must_use]
    pub fn is_per_vcpu(self) -> bool {
        virq_is_per_vcpu(self.0.into())
    }
}

/// What a port is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: it can be given out.
    Free,
    /// It waits for a domain, which need not exist, to bind the other end.
    Unbound(RawDomId),
    /// The other end is this port of this domain.
    Interdomain(DomId, Port),
    /// A device's interrupt.
    Line(DeviceLine),
    /// A virtual interrupt.
    Virq(VirqNumber),
    /// Its own vCPUs.
    Ipi,
}

/// A port's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is bound to.
    pub binding: Binding,
    /// Which vCPU is notified.
    pub vcpu: VcpuId,
}

const KIND: u64 = 7;
const DOMAIN_SHIFT: u32 = 4;
const PEER_SHIFT: u32 = 20;
const VCPU_SHIFT: u32 = 36;
const HALF: u64 = 0xffff;

impl Record {
    /// A port that nobody uses.
    #[must_use]
    pub fn free() -> Self {
        Self {
            binding: Binding::Free,
            vcpu: VcpuId::FIRST,
        }
    }

    /// The record as a word. A free port's is 0.
    #[must_use]
    pub fn pack(self) -> u64 {
        let (kind, domain, peer) = match self.binding {
            Binding::Free => (EVTCHNSTAT_CLOSED, 0, 0),
            Binding::Unbound(remote) => (EVTCHNSTAT_UNBOUND, remote.0, 0),
            Binding::Interdomain(remote, port) => (EVTCHNSTAT_INTERDOMAIN, remote.get(), port.0),
            Binding::Line(line) => (EVTCHNSTAT_PIRQ, 0, line.0.into()),
            Binding::Virq(virq) => (EVTCHNSTAT_VIRQ, 0, virq.0.into()),
            Binding::Ipi => (EVTCHNSTAT_IPI, 0, 0),
        };
        let vcpu = u64::from(self.vcpu.get());
        u64::from(kind)
            | u64::from(domain) << DOMAIN_SHIFT
            | u64::from(peer) << PEER_SHIFT
            | vcpu << VCPU_SHIFT
    }

    /// The record in a word.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        let half = |shift: u32| u16::try_from(word.wrapping_shr(shift) & HALF).unwrap_or(0);
        let peer = half(PEER_SHIFT);
        let binding = match u32::try_from(word & KIND).unwrap_or(EVTCHNSTAT_CLOSED) {
            EVTCHNSTAT_UNBOUND => Some(Binding::Unbound(RawDomId(half(DOMAIN_SHIFT)))),
            EVTCHNSTAT_INTERDOMAIN => DomId::new(half(DOMAIN_SHIFT))
                .zip(Port::new(peer.into()))
                .map(|(domain, port)| Binding::Interdomain(domain, port)),
            EVTCHNSTAT_PIRQ => u8::try_from(peer)
                .ok()
                .map(|line| Binding::Line(DeviceLine(line))),
            EVTCHNSTAT_VIRQ => VirqNumber::new(peer.into()).map(Binding::Virq),
            EVTCHNSTAT_IPI => Some(Binding::Ipi),
            _ => None,
        };
        Self {
            binding: binding.unwrap_or(Binding::Free),
            vcpu: VcpuId::new(half(VCPU_SHIFT)),
        }
    }

    /// The port at the other end, if a word is of a port whose other end is one of `domain`.
    #[must_use]
    #[inline]
    pub fn peer_in(word: u64, domain: DomId) -> Option<Port> {
        let head = u64::from(EVTCHNSTAT_INTERDOMAIN) | u64::from(domain.get()) << DOMAIN_SHIFT;
        let [low, high, ..] = (word >> PEER_SHIFT).to_le_bytes();
        let same = word & (HALF << DOMAIN_SHIFT | KIND) == head;
        same.then(|| Port::new(u16::from_le_bytes([low, high]).into()))?
    }

    /// The vCPU in a word, if that is of a port whose other end is `port` of `domain`.
    #[must_use]
    pub fn end_of(word: u64, domain: DomId, port: Port) -> Option<VcpuId> {
        let expected = Self {
            binding: Binding::Interdomain(domain, port),
            vcpu: VcpuId::FIRST,
        };
        let vcpu = word ^ expected.pack();
        (vcpu & !(HALF << VCPU_SHIFT) == 0)
            .then(|| VcpuId::new(u16::try_from(vcpu >> VCPU_SHIFT).unwrap_or(0)))
    }

    /// The status that `EVTCHNOP_status` tells, and its two details.
    #[must_use]
    pub fn status(self) -> (u32, u32, u32) {
        match self.binding {
            Binding::Free => (EVTCHNSTAT_CLOSED, 0, 0),
            Binding::Unbound(remote) => (EVTCHNSTAT_UNBOUND, remote.0.into(), 0),
            Binding::Interdomain(remote, port) => {
                (EVTCHNSTAT_INTERDOMAIN, remote.get().into(), port.0.into())
            }
            Binding::Line(line) => (EVTCHNSTAT_PIRQ, line.0.into(), 0),
            Binding::Virq(virq) => (EVTCHNSTAT_VIRQ, virq.0.into(), 0),
            Binding::Ipi => (EVTCHNSTAT_IPI, 0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_and_those_beyond_the_bitmap_do_not_exist() {
        assert_eq!(Port::new(0), None);
        assert_eq!(Port::new(4096), None);
        assert_eq!(Port::new(1 << 16 | 1), None);
        let last = Port::new(4095).unwrap();
        assert_eq!((last.word(), last.bit()), (63, 1 << 63));
    }

    #[test]
    fn records_survive_being_packed() {
        let (domain, port) = (DomId::new(0x7fef).unwrap(), Port::new(4095).unwrap());
        let virq = VirqNumber::new(23).unwrap();
        let bindings = [
            Binding::Free,
            Binding::Unbound(RawDomId(0xffff)),
            Binding::Interdomain(domain, port),
            Binding::Line(DeviceLine(255)),
            Binding::Virq(virq),
            Binding::Ipi,
        ];
        for binding in bindings {
            let record = Record {
                binding,
                vcpu: VcpuId::new(63),
            };
            assert_eq!(Record::unpack(record.pack()), record);
        }
        assert_eq!(Record::free().pack(), 0);
    }

    #[test]
    fn the_other_end_is_found_in_a_word_with_its_vcpu_or_not_at_all() {
        let (domain, port) = (DomId::new(7).unwrap(), Port::new(9).unwrap());
        let vcpu = VcpuId::new(63);
        let word = |binding| Record { binding, vcpu }.pack();
        let bound = word(Binding::Interdomain(domain, port));
        assert_eq!(Record::end_of(bound, domain, port), Some(vcpu));
        let others = [
            Binding::Free,
            Binding::Ipi,
            Binding::Unbound(RawDomId(7)),
            Binding::Interdomain(DomId::new(6).unwrap(), port),
            Binding::Interdomain(domain, Port::new(8).unwrap()),
        ];
        for binding in others {
            assert_eq!(
                Record::end_of(word(binding), domain, port),
                None,
                "{binding:?}"
            );
        }
    }
}
