//! Breaking each invariant on purpose, and mending it: so that a test sees the recount find and name it, on a simulated machine and
//! on a running one.
//!
//! What is broken lies in a frame of the domain's that nobody else knows of, at a port and in a grant entry that nobody uses: whoever
//! runs meanwhile notices nothing.

use alloc::sync::Arc;

use hypercall_abi::Errno;
use hypercall_abi::control::audit::{AuditBreach, BREACH_MEND, BREACH_PANIC, BREACH_PLANT};

use crate::caller::Caller;
use crate::domain::Domain;
use crate::frame::{Account, AllocError, FrameRef, FrameType, OwnerId, Ram};
use crate::ids::{EntryIndex, Frames, Level, Mfn, Pfn};
use crate::machine::Machine;
use crate::paging::{PagingError, Step, Tables};
use crate::sync::Held;

/// The entry of a table or descriptor page that is broken.
const ENTRY: u16 = 3;
/// A slot of the hypervisor's.
const SLOT: u16 = 270;
/// Normal flags of an entry of a guest kernel's, with RW.
const KERNEL_WRITABLE: u64 = 7 | 1 << 52;
/// A call gate.
const GATE: u64 = 0x0000_ec00_0000_0000;
/// An entry with a reserved flag.
const BAD_ENTRY: u64 = 0x95;

pub(crate) fn carry_out<M: Machine>(
    caller: &mut Caller<'_, M>,
    request: &mut AuditBreach,
) -> Result<(), Errno> {
    assert!(request.action != BREACH_PANIC, "dom0 asked for it");
    let domain = caller
        .hv
        .domains
        .resolve(request.domid, caller.domain, &mut caller.held)?;
    let site = Site {
        ram: caller.hv.ram(),
        domain: &domain,
    };
    let plant = match request.action {
        BREACH_PLANT => true,
        BREACH_MEND => false,
        _ => return Err(Errno::EINVAL),
    };
    let place = request.place;
    let frame = |number| site.ram.frames.lookup(number).ok_or(Errno::EINVAL);
    request.place = match (request.invariant, plant) {
        (1, _) => site.free_frame(plant, place)?,
        (2..=8, true) => {
            let frame = site.take_frame()?;
            site.break_frame(request.invariant, frame)?;
            frame.get()
        }
        (2..=8, false) => {
            let frame = frame(place)?;
            site.mend_frame(request.invariant, frame)?;
            site.give_back(frame)?
        }
        (9, true) => {
            let frame = site.ram.allocate_one().map_err(errno)?;
            frame.assign(domain.memory.owner()).get()
        }
        (9, false) => {
            site.with_room(|account| account.charge(1))?
                .map_err(|_| Errno::EINVAL)?;
            site.give_back(frame(place)?)?
        }
        (10, true) => {
            let frame = site.ram.allocate_one().map_err(errno)?;
            frame.assign(OwnerId::HYPERVISOR).get()
        }
        (10, false) => {
            site.ram.give_back(frame(place)?);
            0
        }
        (11, true) => {
            let frame = site.ram.allocate_one().map_err(errno)?.first();
            let owner = domain.memory.owner();
            site.ram.set_pfn(owner, frame, Pfn::new(1)).map_err(errno)?;
            frame.get()
        }
        (11, false) => {
            site.ram.clear_pfn(domain.memory.owner(), frame(place)?);
            0
        }
        (12, _) => domain.events.breach(domain.id(), plant, &mut Held::enter()),
        (13, _) => domain.grants.breach(site.ram, plant, &mut Held::enter()),
        _ => return Err(Errno::EINVAL),
    };
    Ok(())
}

fn errno(_: AllocError) -> Errno {
    Errno::ENOMEM
}

fn refused(error: PagingError) -> Errno {
    error.errno()
}

/// A domain, and the machine's frames.
struct Site<'a, M> {
    ram: Ram<'a, M>,
    domain: &'a Arc<Domain>,
}

impl<M: Machine> Site<'_, M> {
    fn account(&self) -> Result<&Account, Errno> {
        self.domain
            .memory
            .account(self.ram.frames)
            .ok_or(Errno::ESRCH)
    }

    /// A frame more for the domain than it may have.
    fn take_frame(&self) -> Result<Mfn, Errno> {
        let owner = self.domain.memory.owner();
        self.with_room(|_| self.ram.allocate_for(owner, 0, u64::MAX))?
            .map_err(errno)
    }

    /// Does something while the domain may have a frame more than it has.
    fn with_room<T>(&self, work: impl FnOnce(&Account) -> T) -> Result<T, Errno> {
        let account = self.account()?;
        let maximum = account.maximum();
        account.set_maximum(Frames::new(account.total().get().saturating_add(1)));
        let done = work(account);
        account.set_maximum(maximum);
        Ok(done)
    }

    fn give_back(&self, frame: Mfn) -> Result<u64, Errno> {
        let ended = self
            .ram
            .end_allocation(self.domain.memory.owner(), frame.get());
        ended.map(|()| 0).map_err(|_| Errno::EINVAL)
    }

    fn tables<T>(&self, work: impl FnOnce(&Tables<'_, M>) -> T) -> Result<T, Errno> {
        let vcpu = self.domain.vcpus().first().ok_or(Errno::ESRCH)?;
        let (memory, mut held) = (&self.domain.memory, Held::enter());
        let (tables, _held) = Tables::lock(self.ram, memory, &vcpu.memory, &mut held);
        Ok(work(&tables))
    }

    fn pin(&self, frame: Mfn, level: Level) -> Result<(), Errno> {
        match self.tables(|tables| tables.pin(frame.get(), level))? {
            Ok(Step::Done(())) => Ok(()),
            Ok(Step::Again) => Err(Errno::EBUSY),
            Err(error) => Err(refused(error)),
        }
    }

    fn reference(&self, frame: Mfn) -> Result<FrameRef<'_, M>, Errno> {
        let owner = self.domain.memory.owner();
        let taken = self.ram.reference(owner, frame.get());
        taken.map_err(|_| Errno::EINVAL)
    }

    fn write(&self, frame: Mfn, index: u16, value: u64) -> Result<(), Errno> {
        let index = EntryIndex::new(index).ok_or(Errno::EINVAL)?;
        self.ram.machine.write_entry(frame, index, value);
        Ok(())
    }

    fn break_frame(&self, invariant: u32, frame: Mfn) -> Result<(), Errno> {
        match invariant {
            2 => {
                self.reference(frame)?.record();
            }
            3 => {
                self.reference(frame)?
                    .writable()
                    .map_err(|_| Errno::EINVAL)?
                    .record();
                self.ram.give_back(frame);
            }
            4 => {
                self.pin(frame, Level::L1)?;
                self.reference(frame)?.record();
                self.write(frame, ENTRY, frame.address() | KERNEL_WRITABLE)?;
            }
            5 => {
                let taken = self.ram.take_type(frame, FrameType::Table(Level::L1));
                taken.map_err(|_| Errno::EINVAL)?;
            }
            6 => {
                self.pin(frame, Level::L1)?;
                self.write(frame, ENTRY, BAD_ENTRY)?;
            }
            7 => {
                self.pin(frame, Level::L4)?;
                self.write(frame, SLOT, KERNEL_WRITABLE)?;
            }
            _ => {
                let taken = self.tables(|tables| tables.take_descriptor_page(frame.get()))?;
                taken.map_err(refused)?;
                self.write(frame, ENTRY, GATE)?;
            }
        }
        Ok(())
    }

    fn mend_frame(&self, invariant: u32, frame: Mfn) -> Result<(), Errno> {
        match invariant {
            2 => self.ram.give_back(frame),
            3 => {
                let released = self.ram.release_type(frame);
                debug_assert_eq!(released, crate::frame::types::Released::Done);
            }
            5 => self.ram.clear_type(frame),
            8 => self.tables(|tables| tables.release_descriptor_page(frame))?,
            _ => {
                self.write(frame, ENTRY, 0)?;
                if invariant == 4 {
                    self.ram.give_back(frame);
                }
                self.tables(|tables| tables.unpin(frame.get()))?
                    .map_err(refused)?;
            }
        }
        Ok(())
    }

    /// A free frame that says it is the domain's.
    fn free_frame(&self, plant: bool, place: u64) -> Result<u64, Errno> {
        let owner = self.domain.memory.owner();
        let number = if plant {
            let is_free = |mfn: &Mfn| self.ram.frames.is_within_free_block(*mfn);
            let found = super::recount::frames_from(self.ram, 0).find(is_free);
            found.ok_or(Errno::ENOMEM)?.get()
        } else {
            place
        };
        let frame = self.ram.frames.lookup(number).ok_or(Errno::EINVAL)?;
        self.ram
            .frames
            .set_past(frame, if plant { owner } else { OwnerId::NONE });
        Ok(number)
    }
}
