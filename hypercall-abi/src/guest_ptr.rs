//! Addresses that a guest claims to own.

use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Address of a `T` in a guest's address space: 8 bytes, any value, never dereferenced. Memory behind it is reached by a checked
/// copy only. Alignment is not required by the ABI.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct GuestPtr<T> {
    address: u64,
    target: PhantomData<fn() -> T>,
}

impl<T> GuestPtr<T> {
    /// The address 0. An ordinary address for most calls; only those documented so take it as "absent".
    pub const NULL: Self = Self::new(0);

    /// Takes any number for an address.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self {
            address,
            target: PhantomData,
        }
    }

    /// The number that the guest gave.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// Whether the address is 0.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The same address as the address of something else.
    #[must_use]
    pub const fn cast<U>(self) -> GuestPtr<U> {
        GuestPtr::new(self.address)
    }

    /// Address of the element `index` further on, or nothing if that is beyond the end of the address space.
    #[must_use]
    pub fn checked_add(self, index: u64) -> Option<Self> {
        let size = u64::try_from(size_of::<T>()).ok()?;
        Some(Self::new(
            self.address.checked_add(index.checked_mul(size)?)?,
        ))
    }
}

// By hand: the derives would demand the same of `T`.
impl<T> Clone for GuestPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GuestPtr<T> {}

impl<T> Default for GuestPtr<T> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<T> PartialEq for GuestPtr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for GuestPtr<T> {}

impl<T> fmt::Debug for GuestPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest:{:#x}", self.address)
    }
}

/// An array in a guest's address space: where it begins and how many elements it is said to have.
#[derive(Debug)]
pub struct GuestSlice<T> {
    /// Address of the first element.
    pub start: GuestPtr<T>,
    /// Number of elements.
    pub len: u64,
}

impl<T> GuestSlice<T> {
    /// An array of `len` elements from `start` on; nothing is checked.
    #[must_use]
    pub const fn new(start: GuestPtr<T>, len: u64) -> Self {
        Self { start, len }
    }
}

impl<T> Clone for GuestSlice<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GuestSlice<T> {}

macro_rules! direction {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name<T>(pub GuestPtr<T>);

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}
    )*};
}

direction! {
    /// Address of a `T` that the call reads, once.
    In;
    /// Address of a `T` that the call reads, once, and on success writes back, once.
    InOut;
    /// Address of a `T` that the call writes, on success.
    Out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_beyond_the_address_space_is_none() {
        let last = GuestPtr::<u64>::new(u64::MAX - 7);
        assert_eq!(last.checked_add(0), Some(last));
        assert_eq!(last.checked_add(1), None);
        assert_eq!(GuestPtr::<u64>::NULL.checked_add(u64::MAX / 4), None);
    }
}
