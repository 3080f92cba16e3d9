//! `copy`: bytes between two frames, each the caller's own or granted.

use hypercall_abi::grant::{GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GrantCopy, GrantCopySide};
use hypercall_abi::ids::DOMID_SELF;

use super::entry::Access;
use super::status::{Status, number_of};
use super::table::references;
use super::world::{GrantCall, Member, World};
use crate::ids::{FRAME_BYTES, Mfn};
use crate::machine::Machine;
use crate::paging::leaf::Leaf;
use crate::sync::Held;

/// Bytes that go through the hypervisor's stack at a time.
const PIECE: usize = 512;

/// One side of a copy, held in place.
struct Side<'a, M: Machine, P> {
    frame: Mfn,
    references: Option<Leaf<'a, M>>,
    /// The granter and its entry, if it is a grant.
    pinned: Option<(P, u32)>,
    access: Access,
}

/// Carries out one request and fills in its status.
pub(super) fn copy<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &mut GrantCopy,
    held: &mut Held<'_, 0>,
) {
    request.status = number_of(try_copy(call, request, held));
}

fn try_copy<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &GrantCopy,
    held: &mut Held<'_, 0>,
) -> Result<(), Status> {
    let by_grant = |flag| request.flags & flag != 0;
    let source = By::find(call, &request.source, by_grant(GNTCOPY_SOURCE_GREF), held)?;
    let dest = By::find(call, &request.dest, by_grant(GNTCOPY_DEST_GREF), held)?;
    let source = take(call, &request.source, source, Access::Read, held)?;
    let dest = take(call, &request.dest, dest, Access::Write, held);
    let result = match dest {
        Ok(dest) => {
            let result = transfer(call, request, source.frame, dest.frame);
            leave(call, dest, held);
            result
        }
        Err(status) => Err(status),
    };
    leave(call, source, held);
    result
}

/// By what right a side is used: both domains are looked up before either side is.
enum By<P> {
    /// It is a frame of the caller's own.
    Own,
    /// It is a frame of a domain, which only a grant gives.
    Nothing,
    /// A grant of this domain.
    Grant(P),
}

impl<P> By<P> {
    #[inline(always)]
    fn find<M: Machine, W: World<Peer = P>>(
        call: GrantCall<'_, M, W>,
        side: &GrantCopySide,
        by_grant: bool,
        held: &mut Held<'_, 0>,
    ) -> Result<Self, Status> {
        let domid = match side.domid.0 {
            DOMID_SELF if !by_grant => return Ok(Self::Own),
            DOMID_SELF => call.own().domid(),
            other => other,
        };
        let peer = call.world.find(domid, held).ok_or(Status::BadDomain)?;
        Ok(if by_grant {
            Self::Grant(peer)
        } else {
            Self::Nothing
        })
    }
}

#[inline(always)]
fn take<'a, M: Machine, W: World>(
    call: GrantCall<'a, M, W>,
    side: &GrantCopySide,
    by: By<W::Peer>,
    access: Access,
    held: &mut Held<'_, 0>,
) -> Result<Side<'a, M, W::Peer>, Status> {
    let granter = match by {
        By::Nothing => return Err(Status::PermissionDenied),
        By::Own => {
            let owner = call.own().memory().owner();
            let (frame, references) = references(call.ram, owner, side.reference, access)?;
            return Ok(Side {
                frame,
                references: Some(references),
                pinned: None,
                access,
            });
        }
        By::Grant(granter) => granter,
    };
    let [reference, _] = halves(side.reference);
    let owner = granter.memory().owner();
    let grantee = call.own().domid();
    let (frame, references) = {
        let (mut shared, _) = granter.grants().shared.lock(held);
        shared.acquire(call.ram, owner, reference, grantee, access)?
    };
    Ok(Side {
        frame,
        references: Some(references),
        pinned: Some((granter, reference)),
        access,
    })
}

/// Lets a side go.
#[inline(always)]
fn leave<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    side: Side<'_, M, W::Peer>,
    held: &mut Held<'_, 0>,
) {
    drop(side.references);
    if let Some((granter, reference)) = side.pinned {
        let (mut shared, _) = granter.grants().shared.lock(held);
        shared.release(call.ram, reference, side.access);
    }
}

fn transfer<M: Machine, W: World>(
    call: GrantCall<'_, M, W>,
    request: &GrantCopy,
    from: Mfn,
    to: Mfn,
) -> Result<(), Status> {
    let length = usize::from(request.len);
    let [mut read, mut written] = [request.source.offset, request.dest.offset].map(usize::from);
    let whole = usize::try_from(FRAME_BYTES).unwrap_or(0);
    if read.saturating_add(length) > whole || written.saturating_add(length) > whole {
        return Err(Status::BadCopyArgument);
    }
    let machine = call.ram.machine;
    if length == whole {
        machine.copy_frame(from, to);
        return Ok(());
    }
    let mut buffer = [0; PIECE];
    let mut left = length;
    while left > 0 {
        let Some(piece) = buffer.get_mut(..left.min(PIECE)) else {
            break;
        };
        machine.read_frame(from, read, piece);
        machine.write_frame(to, written, piece);
        let done = piece.len();
        read = read.saturating_add(done);
        written = written.saturating_add(done);
        left = left.saturating_sub(done);
    }
    Ok(())
}

/// The two halves of a word, low one first.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}
