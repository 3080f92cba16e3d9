//! For tests: entries in use, as the records say.

use std::collections::BTreeMap;

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
