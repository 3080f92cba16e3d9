//! For tests: all pins, counted anew from the mappings of all domains.

use std::collections::BTreeMap;

use super::entry::Access;
use super::world::Member;
use crate::frame::Ram;
use crate::ids::Mfn;
use crate::machine::Machine;
use crate::sync::Held;

/// How an entry is used: by whom, which frame, how often for reading and for writing.
pub type Use = (u16, Mfn, u16, u16);

/// The entries of a domain that are in use, as its records say.
pub fn recorded<M: Machine>(ram: Ram<'_, M>, granter: &impl Member) -> BTreeMap<u32, Use> {
    let mut held = Held::enter();
    let (shared, _) = granter.grants().shared.lock(&mut held);
    let mut found = BTreeMap::new();
    for reference in 0.. {
        let Ok(active) = shared.active(ram, reference) else {
            break;
        };
        if let Some(used) = active.in_use() {
            found.insert(reference, used);
        }
    }
    found
}

/// The same, as the mappings of all domains say.
pub fn counted<'a, M: Machine, D: Member + 'a>(
    ram: Ram<'_, M>,
    granter: &D,
    all: impl Iterator<Item = &'a D>,
) -> BTreeMap<u32, Use> {
    let mut found: BTreeMap<u32, Use> = BTreeMap::new();
    for grantee in all {
        let mut held = Held::enter();
        let (handles, _) = grantee.grants().handles.lock(&mut held);
        for mapping in handles.mappings(ram) {
            if mapping.serial != granter.serial() {
                continue;
            }
            let pins = u16::from(mapping.host) + u16::from(mapping.device);
            let used =
                found
                    .entry(mapping.reference)
                    .or_insert((grantee.domid(), mapping.frame, 0, 0));
            match mapping.access {
                Access::Read => used.2 += pins,
                Access::Write => used.3 += pins,
            }
        }
    }
    found
}
