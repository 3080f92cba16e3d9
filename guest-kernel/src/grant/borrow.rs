//! Mapping what other domains lent.

use alloc::sync::Arc;

use hypercall_abi::{RawDomId, RawGrantRef};

use crate::hypercall::grant::GrantError;
use crate::paging::{Access, GrantMapping, Memory};

/// Maps grants of `domain` side by side. Dropping the last clone of the memory unmaps them.
///
/// # Errors
/// The status of the first grant refused, or no memory or addresses; nothing stays mapped then.
pub fn map(
    domain: RawDomId,
    references: &[RawGrantRef],
    access: Access,
) -> Result<Memory, GrantError> {
    let mapping = GrantMapping::new(domain, references, access)?;
    let (address, len) = (mapping.address(), mapping.len());
    Ok(Memory::from_owner(address, len, Arc::new(mapping)))
}
