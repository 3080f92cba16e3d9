//! Affinity: which CPUs a domain's vCPUs may use.

use crate::ids::{CpuSet, PhysCpu};

/// The CPUs that a request stands for: 0 means all; CPUs that do not exist are dropped. `None` if none is left.
#[must_use]
pub fn resolve(requested: u64, online: CpuSet) -> Option<CpuSet> {
    if requested == 0 {
        return Some(online);
    }
    let set = CpuSet::from_bits(requested).intersection(online);
    (!set.is_empty()).then_some(set)
}

/// The CPU of `candidates` to prefer: the last one used, for what its caches still hold, else the lowest.
#[must_use]
pub fn prefer(candidates: CpuSet, last: PhysCpu) -> Option<PhysCpu> {
    if candidates.contains(last) {
        Some(last)
    } else {
        candidates.iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_all_and_missing_cpus_are_dropped() {
        let online = CpuSet::from_bits(0b11);
        assert_eq!(resolve(0, online), Some(online));
        assert_eq!(resolve(0b110, online), Some(CpuSet::from_bits(0b10)));
        assert_eq!(resolve(0b100, online), None);
    }

    #[test]
    fn the_last_cpu_is_preferred() {
        let [zero, two] = [0, 2].map(|n| PhysCpu::new(n).unwrap());
        let both = CpuSet::from_bits(0b101);
        assert_eq!(prefer(both, two), Some(two));
        assert_eq!(prefer(both, PhysCpu::new(1).unwrap()), Some(zero));
        assert_eq!(prefer(CpuSet::EMPTY, two), None);
    }
}
