//! The end of a domain: everything it has goes back, in steps that may stop anywhere and be gone on with by a later call.
//!
//! What is done is recorded in the domain itself: its life, its ports, its handles, its [`Teardown`](crate::paging::Teardown). Each step finds out
//! anew what is left, so a call may be repeated at will. The order matters: first no vCPU runs and no port is left, so that nothing
//! starts anew; then tables and memory go, then the mappings of others' grants, which page tables held up to then; last what the
//! hypervisor shares with the domain, when nobody can reach the domain any more.

use alloc::sync::Arc;

use hypercall_abi::Errno;

use super::life::Life;
use super::{Domain, create, stop};
use crate::caller::Caller;
use crate::event::{self, Last};
use crate::frame::WritableRef;
use crate::grant;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::paging::{Remains, Teardown};
use crate::peers::Peers;

/// Ports closed between two looks at whether to stop.
const PORTS: usize = 64;
/// Who knows of a domain when nobody works on it: the caller, the scheduler, the table of domains.
const LISTED: usize = 3;
/// The same for a domain that is in no table any more.
const UNLISTED: usize = 2;
/// General references on a shared page that nobody maps.
const UNMAPPED: u32 = 1;

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is no such domain any more.
    Gone,
    /// There is more to do: call again.
    More,
}

/// Goes on with the end of a domain that is not the caller's.
///
/// # Errors
/// `EBUSY`: another domain maps memory of this one; try again when it does not.
pub fn go_on<M: Machine>(
    caller: &mut Caller<'_, M>,
    domain: &Arc<Domain>,
) -> Result<Progress, Errno> {
    // One CPU at a time: another one that asks meanwhile must neither overtake the wait for the vCPUs nor wait for itself.
    let Some(mut teardown) = domain.teardown.try_lock() else {
        return Ok(Progress::More);
    };
    begin(caller, domain);
    let hv = caller.hv;
    while !event::close_some(hv, domain, PORTS, Last::Yes, &mut caller.held) {
        if hv.machine().preempt_due() {
            return Ok(Progress::More);
        }
    }
    wait_until_known(hv, domain, LISTED);
    drop_registered_areas(caller, domain);
    if memory_step(caller, domain, &mut teardown) == Remains::Work {
        return Ok(Progress::More);
    }
    while grant::end_one(hv.ram(), &Peers::of(hv, domain), domain, &mut caller.held) {
        if hv.machine().preempt_due() {
            return Ok(Progress::More);
        }
    }
    if is_used_by_others(caller, domain) {
        return Err(Errno::EBUSY);
    }
    finish(caller, domain, &mut teardown);
    Ok(Progress::Gone)
}

/// The first time: no vCPU of it runs again, and it gains nothing any more.
fn begin<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain) {
    let begun = stop::change(domain, &mut caller.held, |life| {
        let first = life.state != Life::Dying;
        life.end();
        first
    });
    if begun.is_none() {
        return;
    }
    if let Some(account) = domain.memory.account(caller.hv.frames()) {
        account.set_dying();
    }
    caller.hv.pause_and_wait(domain, &mut caller.held);
    log::info!("d{}: is being destroyed", domain.id().get());
}

/// Lets go of the frames that hold event queues and shared state of vCPUs. None of them is told anything any more: no port is left, and who
/// saw one open is done.
fn drop_registered_areas<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain) {
    event::drop_queues(caller.hv.ram(), domain, &mut caller.held);
    for vcpu in domain
        .vcpus()
        .iter()
        .filter(|vcpu| vcpu.has_registered_info())
    {
        if let Some(place) = vcpu.info() {
            vcpu.set_info(None);
            drop(WritableRef::adopt(caller.hv.ram(), place.frame()));
        }
        vcpu.drop_registration();
    }
}

fn memory_step<M: Machine>(
    caller: &mut Caller<'_, M>,
    domain: &Domain,
    teardown: &mut Teardown,
) -> Remains {
    let vcpus = domain.vcpus().iter().map(|vcpu| &vcpu.memory);
    teardown.step(caller.hv.ram(), &domain.memory, vcpus, &mut caller.held)
}

/// Whether anything of the domain's is still in use elsewhere.
fn is_used_by_others<M: Machine>(caller: &mut Caller<'_, M>, domain: &Domain) -> bool {
    let frames = caller.hv.frames();
    let owned = domain
        .memory
        .account(frames)
        .is_some_and(|account| account.total().get() != 0);
    let mapped = |mfn| frames.holding(mfn).count != UNMAPPED;
    let mut grants = (0..).map_while(|index| domain.grants.frame(index, &mut caller.held));
    owned || mapped(domain.shared_info()) || grants.any(mapped)
}

/// Waits until whoever found the domain before, on another CPU, is done with it. They wait for nobody that holds no lock.
fn wait_until_known<M: Machine>(hv: &Hypervisor<M>, domain: &Arc<Domain>, by: usize) {
    while Arc::strong_count(domain) > by {
        hv.wait_a_turn();
    }
}

/// Takes the domain out of the world and gives back the last of it.
fn finish<M: Machine>(caller: &mut Caller<'_, M>, domain: &Arc<Domain>, teardown: &mut Teardown) {
    let hv = caller.hv;
    create::hide(hv, domain, &mut caller.held);
    // The shared pages must not become another's meanwhile, nor the scheduler's numbers.
    wait_until_known(hv, domain, UNLISTED);
    create::leave(hv, domain, &mut caller.held);
    let (ram, owner) = (hv.ram(), domain.memory.owner());
    domain.grants.end_sharing(ram, owner, &mut caller.held);
    ram.end_sharing(owner, domain.shared_info());
    while memory_step(caller, domain, teardown) == Remains::Work {}
    let closed = hv.frames().close_account(owner);
    debug_assert!(closed, "nothing of the domain was left");
    log::info!("d{}: is gone", domain.id().get());
    stop::tell(hv, &mut caller.effects, &mut caller.held);
}
