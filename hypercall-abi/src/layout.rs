//! Layouts that the compiler checks, and the inventory from which the test against the C headers is generated.
//!
//! `layout!` states a structure's size and its fields' offsets in one line; a wrong number does not compile. The same line
//! implements [`GuestLayout`], which remembers the C names. `constants!` declares constants and remembers their C names alike.
//! An empty C name means: not in the public headers, there is nothing to compare with.

/// One field of a structure, as C calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name here.
    pub name: &'static str,
    /// The field as a C designator, for example `console.domU.mfn`; empty if C has none.
    pub c_name: &'static str,
    /// Distance from the structure's start, in bytes.
    pub offset: usize,
}

/// What is fixed about one structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The type's name here.
    pub name: &'static str,
    /// The type as C spells it, for example `struct mmu_update`; empty if C has none; with `head of ` in front if C's goes on
    /// behind what is declared here.
    pub c_name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// The fields that the `layout!` line names, in its order.
    pub fields: &'static [Field],
}

/// A structure whose layout was stated and checked by `layout!`.
pub trait GuestLayout {
    /// The layout as stated.
    const LAYOUT: Layout;
}

/// One constant, as declared by `constants!`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The name here.
    pub name: &'static str,
    /// The C expression of the same value; empty if C has none.
    pub c_name: &'static str,
    /// The value.
    pub value: i128,
}

/// States a structure's size and offsets, checks them at compile time, and remembers the C names.
///
/// `layout!(Type = "struct c_type": size { field @ offset, other = "c_field" @ offset, ours = "" @ offset });`
macro_rules! layout {
    ($type:ident = $c_type:literal : $size:literal { $($field:ident $(= $c_field:literal)? @ $offset:literal),* $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size, concat!("size of ", stringify!($type)));
            $(assert!(
                core::mem::offset_of!($type, $field) == $offset,
                concat!("offset of ", stringify!($type), ".", stringify!($field))
            );)*
        };
        impl $crate::layout::GuestLayout for $type {
            const LAYOUT: $crate::layout::Layout = $crate::layout::Layout {
                name: stringify!($type),
                c_name: $c_type,
                size: $size,
                fields: &[$($crate::layout::Field {
                    name: stringify!($field),
                    c_name: layout!(@name $field $(= $c_field)?),
                    offset: $offset,
                }),*],
            };
        }
    };
    (@name $field:ident = $c_field:literal) => { $c_field };
    (@name $field:ident) => { stringify!($field) };
}

/// Declares public constants and the module's list `CONSTANTS` of them; without `=> "C name"` the C name is the same.
macro_rules! constants {
    ($($(#[$meta:meta])* $name:ident : $type:ty = $value:expr $(=> $c_name:literal)? ;)*) => {
        $($(#[$meta])* pub const $name: $type = $value;)*

        pub(crate) const CONSTANTS: &[$crate::layout::Constant] = &[$($crate::layout::Constant {
            name: stringify!($name),
            c_name: constants!(@name $name $(=> $c_name)?),
            value: $name as i128,
        }),*];
    };
    (@name $name:ident => $c_name:literal) => { $c_name };
    (@name $name:ident) => { stringify!($name) };
}
