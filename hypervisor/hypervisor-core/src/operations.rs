//! The visitor that makes a sub-dispatcher of a table's rows.

/// Makes `operation`: from the command in the first argument to the function of the row's name in the module where this is
/// used, with the row's typed arguments. A row without a function does not compile; an unknown command is `ENOSYS`.
macro_rules! operations {
    ($($(#[doc = $doc:literal])* $number:literal $name:ident($($argument:ident: $type:ty),*)
        since $since:literal by $who:ident;)*) => {
        /// Runs the sub-operation that the first argument names: a part of the one handler that calls it.
        #[inline(always)]
        pub(crate) fn operation<M: $crate::machine::Machine>(
            caller: &mut $crate::caller::Caller<'_, M>,
            arguments: &mut $crate::dispatch::Arguments,
        ) -> $crate::outcome::Outcome {
            let [command, rest @ ..] = *arguments;
            let rest = rest.as_slice();
            match <u32 as hypercall_abi::RegisterArgument>::from_register(command) {
                $($number => {
                    $(
                        let (register, rest) = rest.split_first().unwrap_or((&0, &[]));
                        let $argument = <$type as hypercall_abi::RegisterArgument>::from_register(*register);
                    )*
                    let _: &[u64] = rest;
                    $name(caller $(, $argument)*).into()
                })*
                _ => $crate::outcome::Outcome::Refused(hypercall_abi::Errno::ENOSYS),
            }
        }
    };
}
pub(crate) use operations;
