//! The ways to take memory of the heap: each may find none and says so, where stable Rust's own would end the machine.
//!
//! A box or an `Arc` cannot be asked for: there is only a reservation of the same size and alignment, which is given back
//! before the box is made. So one lock orders all who take: nobody else gets what was just given back. Those who free need
//! no lock, as they only leave more. No other code of this crate allocates (clippy.toml keeps it so).

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::Errno;

use crate::sync::{Guard, Ranked, rank};

static TAKING: Ranked<{ rank::HEAP }, ()> = Ranked::new(());

/// No memory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl From<TryReserveError> for NoMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

impl From<NoMemory> for Errno {
    fn from(_: NoMemory) -> Self {
        Self::ENOMEM
    }
}

/// Waits until nobody else takes.
fn begin() -> Result<Guard<'static, ()>, NoMemory> {
    #[cfg(any(test, feature = "fake"))]
    if crate::fake::refused() {
        return Err(NoMemory);
    }
    Ok(TAKING.lock_leaf())
}

/// Makes room for exactly `more` elements.
#[expect(clippy::disallowed_methods, reason = "under the lock")]
pub(crate) fn reserve_exact<T>(list: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    let _taking = begin()?;
    Ok(list.try_reserve_exact(more)?)
}

/// Makes room for `more` elements, and for some that will come.
#[expect(clippy::disallowed_methods, reason = "under the lock")]
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    let _taking = begin()?;
    Ok(list.try_reserve(more)?)
}

/// An empty list with room for exactly `count` elements.
pub(crate) fn list<T>(count: usize) -> Result<Vec<T>, NoMemory> {
    let mut list = Vec::new();
    reserve_exact(&mut list, count)?;
    Ok(list)
}

/// A box.
#[expect(clippy::disallowed_methods, reason = "under the lock")]
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, NoMemory> {
    let _taking = begin()?;
    let mut probe: Vec<T> = Vec::new();
    probe.try_reserve_exact(1)?;
    drop(probe);
    Ok(Box::new(value))
}

/// A shared value, or the value itself.
#[expect(clippy::disallowed_methods, reason = "under the lock")]
pub(crate) fn shared<T>(value: T) -> Result<Arc<T>, T> {
    let Ok(_taking) = begin() else {
        return Err(value);
    };
    // The counts stand before the value.
    let mut probe: Vec<([usize; 2], T)> = Vec::new();
    if probe.try_reserve_exact(1).is_err() {
        return Err(value);
    }
    drop(probe);
    Ok(Arc::new(value))
}
