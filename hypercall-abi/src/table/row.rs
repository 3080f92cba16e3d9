//! The table as data: for names, queries, documentation and tests.

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every domain.
    Any,
    /// The management domain.
    Dom0,
}

/// One argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its type, as the table spells it.
    pub kind: &'static str,
}

/// A sub-operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Its arguments, behind what chose it.
    pub arguments: &'static [Argument],
    /// What it does, and its errors: lines of text, each with a space in front.
    pub doc: &'static [&'static str],
    /// Version of the interface that introduced it.
    pub since: u16,
    /// Who may call it.
    pub who: Who,
}

/// A hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HypercallRow {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'static [Argument],
    /// What it does, and its errors: lines of text, each with a space in front.
    pub doc: &'static [&'static str],
    /// Version of the interface that introduced it.
    pub since: u16,
    /// Who may call it.
    pub who: Who,
    /// Its sub-operations; empty if it has none.
    pub operations: &'static [OperationRow],
}

/// Turns `any` and `dom0` of the table into [`Who`].
macro_rules! who {
    (any) => {
        $crate::table::Who::Any
    };
    (dom0) => {
        $crate::table::Who::Dom0
    };
}
pub(super) use who;

/// The sub-operations in a module of the table, or none.
macro_rules! operations_of {
    () => {
        &[]
    };
    ($module:ident) => {
        $module::OPERATIONS
    };
}
pub(super) use operations_of;

/// Visitor: the rows of all hypercalls as the constant `HYPERCALLS`.
macro_rules! hypercall_rows {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
        since $since:literal by $who:ident $(, operations $module:ident)?;)*) => {
        /// Every hypercall, by ascending number.
        pub const HYPERCALLS: &[HypercallRow] = &[$(HypercallRow {
            number: $number,
            name: stringify!($name),
            arguments: &[$(Argument { name: stringify!($argument), kind: stringify!($type) }),*],
            doc: &[$($doc),*],
            since: $since,
            who: $crate::table::row::who!($who),
            operations: $crate::table::row::operations_of!($($module)?),
        }),*];
    };
}
pub(super) use hypercall_rows;

/// Visitor: the rows of one call's sub-operations as the constant `OPERATIONS`.
macro_rules! operation_rows {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
        since $since:literal by $who:ident;)*) => {
        /// The sub-operations, by ascending number.
        pub const OPERATIONS: &[$crate::table::OperationRow] = &[$($crate::table::OperationRow {
            number: $number,
            name: stringify!($name),
            arguments: &[$($crate::table::Argument { name: stringify!($argument), kind: stringify!($type) }),*],
            doc: &[$($doc),*],
            since: $since,
            who: $crate::table::row::who!($who),
        }),*];
    };
}
pub(super) use operation_rows;
