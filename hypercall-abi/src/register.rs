//! How a typed argument travels in a 64-bit register.
//!
//! Arguments narrower than 64 bits are truncated to their type; what stands above them in the register is ignored, never
//! refused: compilers leave there whatever was.

use crate::guest_ptr::{GuestPtr, In, InOut, Out};
use crate::ids::{RawDomId, RawMfn, RawPfn, RawPort};
use crate::mmu::RawEntry;

/// A type that can be an argument of a hypercall.
pub trait RegisterArgument: Copy {
    /// Takes the argument out of a register, dropping the bits above it.
    fn from_register(register: u64) -> Self;
    /// Puts the argument into a register.
    fn to_register(self) -> u64;
}

macro_rules! unsigned_argument {
    ($($type:ty),*) => {$(
        impl RegisterArgument for $type {
            #[expect(clippy::cast_possible_truncation, reason = "the ABI truncates")]
            fn from_register(register: u64) -> Self {
                register as $type
            }

            fn to_register(self) -> u64 {
                u64::from(self)
            }
        }
    )*};
}

unsigned_argument!(u16, u32);

impl RegisterArgument for u64 {
    fn from_register(register: u64) -> Self {
        register
    }

    fn to_register(self) -> u64 {
        self
    }
}

impl RegisterArgument for i64 {
    fn from_register(register: u64) -> Self {
        register.cast_signed()
    }

    fn to_register(self) -> u64 {
        self.cast_unsigned()
    }
}

impl RegisterArgument for i32 {
    fn from_register(register: u64) -> Self {
        u32::from_register(register).cast_signed()
    }

    fn to_register(self) -> u64 {
        i64::from(self).cast_unsigned()
    }
}

macro_rules! newtype_argument {
    ($($type:ident($inner:ty)),*) => {$(
        impl RegisterArgument for $type {
            fn from_register(register: u64) -> Self {
                Self(<$inner>::from_register(register))
            }

            fn to_register(self) -> u64 {
                self.0.to_register()
            }
        }
    )*};
}

newtype_argument!(
    RawMfn(u64),
    RawPfn(u64),
    RawEntry(u64),
    RawPort(u32),
    RawDomId(u16)
);

impl<T> RegisterArgument for GuestPtr<T> {
    fn from_register(register: u64) -> Self {
        Self::new(register)
    }

    fn to_register(self) -> u64 {
        self.address()
    }
}

macro_rules! direction_argument {
    ($($type:ident),*) => {$(
        impl<T> RegisterArgument for $type<T> {
            fn from_register(register: u64) -> Self {
                Self(GuestPtr::new(register))
            }

            fn to_register(self) -> u64 {
                self.0.address()
            }
        }
    )*};
}

direction_argument!(In, InOut, Out);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_above_a_narrow_argument_is_ignored() {
        assert_eq!(u32::from_register(0xdead_beef_0000_0007), 7);
        assert_eq!(u16::from_register(0xffff_ffff_ffff_7ff0), 0x7ff0);
        assert_eq!(i32::from_register(0x0000_0000_ffff_ffff), -1);
    }

    #[test]
    fn signed_arguments_travel_sign_extended() {
        assert_eq!((-1_i32).to_register(), u64::MAX);
        assert_eq!(i32::from_register((-5_i32).to_register()), -5);
    }
}
