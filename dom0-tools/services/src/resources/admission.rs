//! Admission: a request is refused whole before anything has changed, or there is room for all of it.
//!
//! Free memory is the hypervisor's count, less what dom0 keeps back and less what has been promised and not been taken yet:
//! domains being built, and targets that guests are still growing towards. Memory that a guest is to give back counts as
//! taken until it has come. Both are the hypervisor's numbers, asked for at once and each time, since guests give and take by
//! themselves; what has no domain at the moment (one that is to be made anew, a move under way) dom0 adds.

use hypercall_abi::control::host::most_overhead;
use thiserror::Error;

/// vCPUs that a domain may have: those whose `vcpu_info` lies in `shared_info`.
pub const MAX_VCPUS: u32 = 32;

/// Frames kept back for views of the M2P whose frames are scattered over the machine: one each for 2 MiB in which a domain
/// has a frame.
pub const HOST_RESERVE_FRAMES: u64 = 1024;

/// Most frames of one domain that the arithmetic below is meant for (16 TiB).
const MOST_FRAMES: u64 = 1 << 32;

/// What a new domain asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Frames to begin with.
    pub frames: u64,
    /// Frames that it may ever have.
    pub max_frames: u64,
    /// The least that its kernel and ramdisk need.
    pub minimum_frames: u64,
    /// vCPUs to begin with.
    pub vcpus: u32,
    /// vCPUs that it may ever have.
    pub max_vcpus: u32,
    /// CPUs that it may run on, one bit each; 0 is all.
    pub affinity: u64,
}

/// The state of the machine that decides.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    /// Frames of the machine.
    pub total_frames: u64,
    /// Frames that belong to nobody.
    pub free_frames: u64,
    /// Frames promised and not taken yet.
    pub promised_frames: u64,
    /// CPUs that are up.
    pub cpus: u32,
    /// Domains that exist, dom0 included.
    pub domains: u32,
    /// Domains that may exist.
    pub max_domains: u32,
}

/// Why a request is refused. Frames are frames; the caller makes words and bytes of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// No memory at all, or more than any machine has.
    #[error("an impossible amount of memory")]
    Nonsense,
    /// More to begin with than ever.
    #[error("more than the maximum")]
    OverMaximum {
        /// Frames wanted.
        wanted: u64,
        /// Frames allowed.
        maximum: u64,
    },
    /// Less than kernel and ramdisk need.
    #[error("less than the kernel needs")]
    BelowMinimum {
        /// Frames wanted.
        wanted: u64,
        /// Frames needed.
        minimum: u64,
    },
    /// The machine has not so much.
    #[error("not enough free memory")]
    Memory {
        /// Frames needed, with overhead.
        needed: u64,
        /// Frames available.
        available: u64,
    },
    /// No vCPU, or more than a domain may have.
    #[error("an impossible number of vCPUs")]
    Vcpus {
        /// How many.
        wanted: u32,
        /// The most that are allowed.
        maximum: u32,
    },
    /// None of the CPUs named is there.
    #[error("no such CPU")]
    NoCpu {
        /// The mask asked for.
        affinity: u64,
        /// CPUs that are up.
        cpus: u32,
    },
    /// No more domains fit.
    #[error("too many domains")]
    Domains {
        /// Domains that exist.
        domains: u32,
        /// Domains that may exist.
        maximum: u32,
    },
}

impl Ledger {
    /// Frames that may be given to domains.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.free_frames
            .saturating_sub(HOST_RESERVE_FRAMES)
            .saturating_sub(self.promised_frames)
    }

    /// Whether a new domain fits.
    ///
    /// # Errors
    /// The first reason why not; amounts that are wrong whatever the machine has come first.
    pub fn admit_domain(&self, wish: &Wish) -> Result<(), Refusal> {
        if wish.frames == 0 || wish.max_frames > MOST_FRAMES {
            return Err(Refusal::Nonsense);
        }
        check_maximum(wish.frames, wish.max_frames)?;
        for vcpus in [wish.vcpus, wish.max_vcpus] {
            check_vcpus(vcpus, MAX_VCPUS)?;
        }
        check_vcpus(wish.vcpus, wish.max_vcpus)?;
        if wish.affinity != 0 && wish.affinity & mask(self.cpus) == 0 {
            return Err(Refusal::NoCpu {
                affinity: wish.affinity,
                cpus: self.cpus,
            });
        }
        check_minimum(wish.frames, wish.minimum_frames)?;
        if wish.max_frames > self.total_frames {
            return Err(Refusal::Memory {
                needed: wish.max_frames,
                available: self.total_frames,
            });
        }
        if self.domains >= self.max_domains {
            return Err(Refusal::Domains {
                domains: self.domains,
                maximum: self.max_domains,
            });
        }
        self.admit_frames(wish.frames.saturating_add(most_overhead(wish.max_frames)))
    }

    /// Whether a domain may have a new target: within its own bounds, and what it is to grow by is there. `promised` is what
    /// this domain itself has been promised so far; the new target takes that promise's place.
    ///
    /// # Errors
    /// The reason why not.
    pub fn admit_target(
        &self,
        owned: u64,
        target: u64,
        minimum: u64,
        maximum: u64,
        promised: u64,
    ) -> Result<(), Refusal> {
        if target == 0 {
            return Err(Refusal::Nonsense);
        }
        check_maximum(target, maximum)?;
        check_minimum(target, minimum)?;
        let others = Self {
            promised_frames: self.promised_frames.saturating_sub(promised),
            ..*self
        };
        let growth = target.saturating_sub(owned);
        if growth == 0 {
            Ok(())
        } else {
            others.admit_frames(growth)
        }
    }

    fn admit_frames(&self, needed: u64) -> Result<(), Refusal> {
        let available = self.available();
        if needed > available {
            return Err(Refusal::Memory { needed, available });
        }
        Ok(())
    }
}

/// Checks a number of vCPUs against a maximum.
///
/// # Errors
/// `Vcpus` for none and for too many.
pub(crate) fn check_vcpus(wanted: u32, maximum: u32) -> Result<(), Refusal> {
    if wanted == 0 || wanted > maximum {
        return Err(Refusal::Vcpus { wanted, maximum });
    }
    Ok(())
}

fn check_maximum(wanted: u64, maximum: u64) -> Result<(), Refusal> {
    if wanted > maximum {
        return Err(Refusal::OverMaximum { wanted, maximum });
    }
    Ok(())
}

fn check_minimum(wanted: u64, minimum: u64) -> Result<(), Refusal> {
    if wanted < minimum {
        return Err(Refusal::BelowMinimum { wanted, minimum });
    }
    Ok(())
}

/// One bit for each of the first `cpus` CPUs.
fn mask(cpus: u32) -> u64 {
    1_u64.checked_shl(cpus).map_or(u64::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use super::{HOST_RESERVE_FRAMES, Ledger, Refusal, Wish, most_overhead};

    const LEDGER: Ledger = Ledger {
        total_frames: 100_000,
        free_frames: 50_000 + HOST_RESERVE_FRAMES,
        promised_frames: 0,
        cpus: 2,
        domains: 1,
        max_domains: 4,
    };
    const WISH: Wish = Wish {
        frames: 1000,
        max_frames: 2000,
        minimum_frames: 500,
        vcpus: 1,
        max_vcpus: 4,
        affinity: 0,
    };

    #[test]
    fn the_last_frame_is_given_and_one_more_refused() {
        let overhead = most_overhead(60_000);
        let all = Wish {
            frames: 50_000 - overhead,
            max_frames: 60_000,
            ..WISH
        };
        assert_eq!(LEDGER.admit_domain(&all), Ok(()));
        let more = Wish {
            frames: all.frames + 1,
            ..all
        };
        assert_eq!(
            LEDGER.admit_domain(&more),
            Err(Refusal::Memory {
                needed: 50_001,
                available: 50_000
            })
        );
    }

    #[test]
    fn what_is_wrong_on_any_machine_is_said_first() {
        let refusal = |wish| LEDGER.admit_domain(&wish).expect_err("wrong");
        assert_eq!(refusal(Wish { frames: 0, ..WISH }), Refusal::Nonsense);
        assert!(matches!(
            refusal(Wish {
                max_frames: 999,
                ..WISH
            }),
            Refusal::OverMaximum { .. }
        ));
        for (vcpus, max_vcpus) in [(0, 1), (1, 0), (1000, 1000), (5, 4)] {
            assert!(matches!(
                refusal(Wish {
                    vcpus,
                    max_vcpus,
                    ..WISH
                }),
                Refusal::Vcpus { .. }
            ));
        }
        assert!(matches!(
            refusal(Wish {
                affinity: 0b100,
                ..WISH
            }),
            Refusal::NoCpu { .. }
        ));
        assert!(matches!(
            refusal(Wish {
                frames: 499,
                ..WISH
            }),
            Refusal::BelowMinimum { .. }
        ));
        assert!(matches!(
            refusal(Wish {
                max_frames: u64::MAX,
                ..WISH
            }),
            Refusal::Nonsense
        ));
        assert!(matches!(
            refusal(Wish {
                max_frames: 100_001,
                ..WISH
            }),
            Refusal::Memory { .. }
        ));
    }

    #[test]
    fn too_many_domains_are_refused() {
        let full = Ledger {
            domains: 4,
            ..LEDGER
        };
        assert!(matches!(
            full.admit_domain(&WISH),
            Err(Refusal::Domains { .. })
        ));
    }

    #[test]
    fn promises_count_as_taken_but_a_new_target_replaces_its_own() {
        let ledger = Ledger {
            promised_frames: 30_000,
            ..LEDGER
        };
        assert_eq!(ledger.available(), 20_000);
        assert!(ledger.admit_target(1000, 22_000, 1, 90_000, 0).is_err());
        assert_eq!(ledger.admit_target(1000, 22_000, 1, 90_000, 5000), Ok(()));
        assert_eq!(
            ledger.admit_target(5000, 1000, 1, 90_000, 0),
            Ok(()),
            "shrinking always fits"
        );
        assert!(matches!(
            ledger.admit_target(5000, 1000, 2000, 90_000, 0),
            Err(Refusal::BelowMinimum { .. })
        ));
        assert!(matches!(
            ledger.admit_target(5000, 6000, 1, 5500, 0),
            Err(Refusal::OverMaximum { .. })
        ));
    }
}
