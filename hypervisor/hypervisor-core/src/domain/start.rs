//! Starting the first domain, once at boot.

use hypercall_abi::Errno;
use hypercall_abi::vcpu::VcpuGuestContext;
use kernel_image::{BundleError, ImageError, Module};
use zerocopy::FromZeros;

use alloc::sync::Arc;

use super::build::{self, BuildError, Source};
use super::create::{self, Request};
use super::{DomId, Domain};
use crate::effects::Effects;
use crate::heap;
use crate::hypervisor::Hypervisor;
use crate::ids::{FRAME_BYTES, Frames};
use crate::machine::Machine;
use crate::paging::{Step, Tables};
use crate::sched::{Halt, Share};
use crate::sync::Held;
use crate::vcpu::initialise::initialise;

/// Twice the weight of others: dom0 keeps them alive.
const WEIGHT: u32 = 512;
/// Default memory: an eighth of the machine, within these bounds, in frames.
const LEAST: u64 = 64 << 8;
const MOST: u64 = 512 << 8;

/// Why the first domain did not start.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum FirstDomainError {
    /// There is no kernel in what the boot loader gave.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The kernel is none that could run.
    #[error("kernel: {0}")]
    Image(#[from] ImageError),
    /// Its memory could not be built.
    #[error("building its memory: {0}")]
    Build(#[from] BuildError),
    /// It could not be made.
    #[error("making it: {}", .0.name())]
    Create(Errno),
    /// Its page tables or first state were refused.
    #[error("its first state was refused: {}", .0.name())]
    Context(Errno),
}

/// The first domain, built and not yet started.
#[derive(Debug)]
pub struct FirstDomain(Arc<Domain>);

impl<M: Machine> Hypervisor<M> {
    /// Builds the first domain from the boot loader's modules, which are not needed any more then.
    ///
    /// # Errors
    /// [`FirstDomainError`]: the machine has nothing to do.
    pub fn build_first_domain(
        &self,
        modules: &[Module<'_>],
    ) -> Result<FirstDomain, FirstDomainError> {
        let mut held = Held::enter();
        let bundle = kernel_image::bundle(modules)?;
        let plan = kernel_image::plan(bundle.kernel)?;
        let pages = self.first_domain_frames();
        let request = Request {
            id: Some(DomId::FIRST),
            vcpus: self.options().first_domain_vcpus.max(1),
            max_frames: Frames::new(pages),
            uuid: [0; 16],
            share: Share {
                weight: WEIGHT,
                cap_percent: 0,
                affinity: self.online(),
            },
        };
        let domain = create::create(self, &request, &mut held).map_err(FirstDomainError::Create)?;
        domain.memory.grant_devices();
        let mut context = heap::boxed(VcpuGuestContext::new_zeroed())
            .map_err(|error| FirstDomainError::Create(error.into()))?;
        let source = Source {
            kernel: bundle.kernel,
            plan: &plan,
            ramdisk: bundle.ramdisk,
            command_line: bundle.command_line,
            pages,
        };
        let owner = domain.memory.owner();
        let root = build::build(
            self.ram(),
            owner,
            domain.shared_info(),
            &source,
            &mut context,
        )?;
        let Some(first) = domain.vcpus().first() else {
            return Err(FirstDomainError::Create(Errno::EINVAL));
        };
        // Nothing else runs yet: preempted steps are just gone on with.
        loop {
            let (tables, _) = Tables::lock(self.ram(), &domain.memory, &first.memory, &mut held);
            match tables.pin(root.get(), crate::ids::Level::L4) {
                Ok(Step::Done(())) => break,
                Ok(Step::Again) => {}
                Err(error) => return Err(FirstDomainError::Context(error.errno())),
            }
        }
        while initialise(self, &domain, first, &context, &first.memory, &mut held)
            .map_err(FirstDomainError::Context)?
            == Step::Again
        {}
        Ok(FirstDomain(domain))
    }

    /// Makes the first domain's vCPU 0 ready; the CPUs pick it up.
    pub fn start_first_domain(&self, first: &FirstDomain) {
        let FirstDomain(domain) = first;
        let entity = domain.vcpus().first().and_then(|vcpu| vcpu.entity());
        self.set_going(domain, entity, &mut Held::enter());
    }

    fn first_domain_frames(&self) -> u64 {
        let wanted = self.options().first_domain_memory >> FRAME_BYTES.trailing_zeros();
        if wanted != 0 {
            return wanted;
        }
        (self.frames().total().get() >> 3).clamp(LEAST, MOST)
    }

    fn set_going(
        &self,
        domain: &Domain,
        first: Option<crate::sched::EntityId>,
        held: &mut Held<'_, 0>,
    ) {
        domain.life.lock(held).0.start();
        let now = self.machine().now();
        let mut effects = Effects::new();
        let (mut scheduler, _) = self.scheduler.lock(held);
        if let Some(entity) = first {
            scheduler.resume(entity, Halt::Down, now);
        }
        if let Some(group) = domain.group() {
            scheduler.unpause(group, now);
        }
        drop(scheduler);
        // CPUs that have not asked the scheduler yet will: their first entry is a kick.
        self.reschedule_all(self.online(), &mut effects);
        effects.run(self.machine(), self.machine().cpu_id());
    }
}
