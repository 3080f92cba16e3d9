//! Roots: which L4 table a CPU walks (pv-abi 4.5 operations 5 and 15, 5.8; I24, I25, I28).
//!
//! A vCPU has a kernel and a user root, each holding an L4 reference. The M2P's slot is filled when a table becomes a kernel
//! root. CR3 and the record of which CPUs may hold a domain's translations change together: the bit is set before the root
//! is loaded, and cleared after a full flush under another domain's or the idle root.

use hypercall_abi::mmu::FIRST_HYPERVISOR_SLOT;

use crate::domain::account::DomainMemory;
use crate::frame::{Ram, types::Released};
use crate::ids::{EntryIndex, Level, Mfn};
use crate::machine::{Machine, RootFlush};
use crate::vcpu::state::Mode;

use super::error::PagingError;
use super::tables::{Step, Tables};
use super::vcpu::VcpuMemory;

/// There is no root for the mode wanted: the domain cannot go on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoot;

impl<M: Machine> Tables<'_, M> {
    /// Installs the kernel root of the calling vCPU and loads it (`MMUEXT_NEW_BASEPTR`).
    ///
    /// # Errors
    /// [`PagingError`]: the old root stays.
    pub fn new_kernel_root(&self, vcpu: &VcpuMemory, number: u64) -> Result<Step<()>, PagingError> {
        if let Some(root) = vcpu.kernel_root().filter(|root| root.get() == number) {
            self.ram.load_root(root, RootFlush::All);
            return Ok(Step::Done(()));
        }
        let Step::Done(root) = self.take_table(number, Level::L4)? else {
            return Ok(Step::Again);
        };
        self.drop_ldt_pages(vcpu);
        self.show_view(root);
        let old = vcpu.kernel_root.take(self.ram.frames);
        vcpu.kernel_root.set(Some(root));
        self.ram.load_root(root, RootFlush::All);
        if let Some(old) = old {
            self.retire_table(old, Level::L4);
        }
        Ok(Step::Done(()))
    }

    /// Installs the user root of a vCPU in kernel mode; 0 removes it (`MMUEXT_NEW_USER_BASEPTR`).
    ///
    /// # Errors
    /// [`PagingError`]: the old root stays.
    pub fn new_user_root(&self, vcpu: &VcpuMemory, number: u64) -> Result<Step<()>, PagingError> {
        let old = vcpu.user_root();
        if old.map_or(0, Mfn::get) == number {
            return Ok(Step::Done(()));
        }
        let root = if number == 0 {
            None
        } else {
            let Step::Done(root) = self.take_table(number, Level::L4)? else {
                return Ok(Step::Again);
            };
            Some(root)
        };
        vcpu.user_root.set(root);
        if let Some(old) = old {
            self.retire_table(old, Level::L4);
        }
        Ok(Step::Done(()))
    }

    /// Gives a vCPU that does not run its roots: when it is started.
    ///
    /// # Errors
    /// [`PagingError`]: it has what it had. `Again`: call again.
    pub fn assign_roots(
        &self,
        vcpu: &VcpuMemory,
        kernel: u64,
        user: u64,
    ) -> Result<Step<()>, PagingError> {
        let take = |number: u64| match number {
            0 => Ok(Step::Done(None)),
            _ => self.take_table(number, Level::L4).map(|step| match step {
                Step::Done(root) => Step::Done(Some(root)),
                Step::Again => Step::Again,
            }),
        };
        let Step::Done(user) = take(user)? else {
            return Ok(Step::Again);
        };
        let kernel = self.take_table(kernel, Level::L4);
        let Ok(Step::Done(kernel)) = kernel else {
            if let Some(user) = user {
                match kernel {
                    Ok(_) => self.set_aside(user),
                    Err(_) => self.retire_table(user, Level::L4),
                }
            }
            return kernel.map(|_| Step::Again);
        };
        self.show_view(kernel);
        for (slot, root) in [(&vcpu.user_root, user), (&vcpu.kernel_root, Some(kernel))] {
            let old = slot.take(self.ram.frames);
            slot.set(root);
            if let Some(old) = old {
                self.retire_table(old, Level::L4);
            }
        }
        Ok(Step::Done(()))
    }

    /// Lets go of a table that the same call, issued again, takes at once: if nobody else holds it, it is partial with all
    /// entries checked. So nothing is left of a call that is not issued again but what its author can take back.
    fn set_aside(&self, table: Mfn) {
        match self.ram.release_type(table) {
            Released::Done => self.ram.give_back(table),
            Released::LastOfTable => self.ram.park_change(table, EntryIndex::COUNT),
        }
    }

    /// Takes both roots from a vCPU that never runs again, or not before it is started anew.
    pub fn drop_roots(&self, vcpu: &VcpuMemory) {
        for slot in [&vcpu.kernel_root, &vcpu.user_root] {
            if let Some(root) = slot.take(self.ram.frames) {
                self.retire_table(root, Level::L4);
            }
        }
    }

    /// Fills the M2P's slot of a kernel root.
    fn show_view(&self, root: Mfn) {
        let slot = u16::try_from(FIRST_HYPERVISOR_SLOT)
            .ok()
            .and_then(EntryIndex::new);
        if let Some(slot) = slot {
            let view = self.ram.frames.view_slot(self.domain.owner());
            self.ram.machine.write_entry(root, slot, view);
        }
    }
}

/// Loads the root of `mode` of a vCPU that this CPU is about to run. `previous`: the domain whose root was loaded.
///
/// # Errors
/// [`NoRoot`]: nothing was loaded.
pub fn enter<M: Machine>(
    ram: Ram<'_, M>,
    domain: &DomainMemory,
    vcpu: &VcpuMemory,
    mode: Mode,
    previous: Option<&DomainMemory>,
) -> Result<(), NoRoot> {
    let root = root_of(vcpu, mode)?;
    let cpu = ram.machine.cpu_id();
    if let Some(account) = domain.account(ram.frames) {
        account.set_dirty(cpu);
    }
    ram.load_root(root, RootFlush::All);
    let other = previous.filter(|previous| previous.owner() != domain.owner());
    if let Some(account) = other.and_then(|other| other.account(ram.frames)) {
        account.clear_dirty(cpu);
    }
    Ok(())
}

/// Loads the root without guest mappings. `previous`: the domain whose root was loaded.
pub fn leave<M: Machine>(ram: Ram<'_, M>, previous: &DomainMemory) {
    ram.load_idle_root();
    if let Some(account) = previous.account(ram.frames) {
        account.clear_dirty(ram.machine.cpu_id());
    }
}

/// Loads the root of the other mode of the vCPU that runs here. Pages of guest user mode are global and stay. Equal roots need
/// no load: nothing is hidden from user mode that a flush would hide.
///
/// # Errors
/// [`NoRoot`]: nothing was loaded.
#[inline(always)]
pub fn toggle<M: Machine>(machine: &M, vcpu: &VcpuMemory, to: Mode) -> Result<(), NoRoot> {
    let root = root_of(vcpu, to)?;
    let other = match to {
        Mode::Kernel => vcpu.user_root(),
        Mode::User => vcpu.kernel_root(),
    };
    if other != Some(root) {
        machine.load_root(root, RootFlush::NonGlobal);
    }
    Ok(())
}

fn root_of(vcpu: &VcpuMemory, mode: Mode) -> Result<Mfn, NoRoot> {
    match mode {
        Mode::Kernel => vcpu.kernel_root(),
        Mode::User => vcpu.user_root(),
    }
    .ok_or(NoRoot)
}
