//! Errors that a guest may be shown: x86 Linux's numbers, negated in the result register.
//!
//! `EINTR` and `ERESTART` are internal to Xen and deliberately missing: one that reached a guest would be a bug.

macro_rules! errors {
    ($($(#[$meta:meta])* $variant:ident = $value:literal => $c_name:literal;)*) => {
        /// An error number of the ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Errno {
            $($(#[$meta])* $variant = $value,)*
        }

        impl Errno {
            /// The conventional name, for example `EINVAL`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// The error with this number.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        pub(crate) const CONSTANTS: &[crate::layout::Constant] = &[$(crate::layout::Constant {
            name: stringify!($variant),
            c_name: $c_name,
            value: $value,
        }),*];
    };
}

errors! {
    /// The caller has no right to do this.
    EPERM = 1 => "XEN_EPERM";
    /// No such entry or vCPU.
    ENOENT = 2 => "XEN_ENOENT";
    /// No such domain.
    ESRCH = 3 => "XEN_ESRCH";
    /// A device failed.
    EIO = 5 => "XEN_EIO";
    /// No such device or offset.
    ENXIO = 6 => "XEN_ENXIO";
    /// A list is too long.
    E2BIG = 7 => "XEN_E2BIG";
    /// Bad format of an executable.
    ENOEXEC = 8 => "XEN_ENOEXEC";
    /// Bad descriptor.
    EBADF = 9 => "XEN_EBADF";
    /// No child.
    ECHILD = 10 => "XEN_ECHILD";
    /// Try again.
    EAGAIN = 11 => "XEN_EAGAIN";
    /// Out of memory.
    ENOMEM = 12 => "XEN_ENOMEM";
    /// Access denied.
    EACCES = 13 => "XEN_EACCES";
    /// Bad address.
    EFAULT = 14 => "XEN_EFAULT";
    /// In use.
    EBUSY = 16 => "XEN_EBUSY";
    /// There already.
    EEXIST = 17 => "XEN_EEXIST";
    /// Across devices.
    EXDEV = 18 => "XEN_EXDEV";
    /// No such device.
    ENODEV = 19 => "XEN_ENODEV";
    /// Not a directory.
    ENOTDIR = 20 => "XEN_ENOTDIR";
    /// Is a directory.
    EISDIR = 21 => "XEN_EISDIR";
    /// Invalid argument.
    EINVAL = 22 => "XEN_EINVAL";
    /// Table overflow.
    ENFILE = 23 => "XEN_ENFILE";
    /// Too many of them.
    EMFILE = 24 => "XEN_EMFILE";
    /// No space left.
    ENOSPC = 28 => "XEN_ENOSPC";
    /// Read-only.
    EROFS = 30 => "XEN_EROFS";
    /// Too many links.
    EMLINK = 31 => "XEN_EMLINK";
    /// Outside the domain of a function.
    EDOM = 33 => "XEN_EDOM";
    /// Result not representable.
    ERANGE = 34 => "XEN_ERANGE";
    /// Would deadlock.
    EDEADLK = 35 => "XEN_EDEADLK";
    /// Name too long.
    ENAMETOOLONG = 36 => "XEN_ENAMETOOLONG";
    /// No locks left.
    ENOLCK = 37 => "XEN_ENOLCK";
    /// No such hypercall or operation.
    ENOSYS = 38 => "XEN_ENOSYS";
    /// Not empty.
    ENOTEMPTY = 39 => "XEN_ENOTEMPTY";
    /// No data.
    ENODATA = 61 => "XEN_ENODATA";
    /// Timer expired.
    ETIME = 62 => "XEN_ETIME";
    /// Not a data message.
    EBADMSG = 74 => "XEN_EBADMSG";
    /// Value too large.
    EOVERFLOW = 75 => "XEN_EOVERFLOW";
    /// Illegal sequence.
    EILSEQ = 84 => "XEN_EILSEQ";
    /// Not a socket.
    ENOTSOCK = 88 => "XEN_ENOTSOCK";
    /// Message too long.
    EMSGSIZE = 90 => "XEN_EMSGSIZE";
    /// Not supported. From hypercall 56: a version newer than this hypervisor's.
    EOPNOTSUPP = 95 => "XEN_EOPNOTSUPP";
    /// Address in use.
    EADDRINUSE = 98 => "XEN_EADDRINUSE";
    /// Address not available.
    EADDRNOTAVAIL = 99 => "XEN_EADDRNOTAVAIL";
    /// No buffer space.
    ENOBUFS = 105 => "XEN_ENOBUFS";
    /// Connected already.
    EISCONN = 106 => "XEN_EISCONN";
    /// Not connected.
    ENOTCONN = 107 => "XEN_ENOTCONN";
    /// Timed out.
    ETIMEDOUT = 110 => "XEN_ETIMEDOUT";
    /// Refused.
    ECONNREFUSED = 111 => "XEN_ECONNREFUSED";
}

impl Errno {
    /// The number, positive.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The result register of a call that failed so: the negated number, sign-extended.
    #[must_use]
    #[expect(
        clippy::cast_sign_loss,
        reason = "the ABI returns negative numbers in a register"
    )]
    pub const fn to_register(self) -> u64 {
        -(self as i64) as u64
    }

    /// Reads a result register: the value, or the error that it holds (-1..=-4095).
    ///
    /// # Errors
    /// The error in the register; one that the ABI does not know is told as `EINVAL`.
    pub const fn from_register(register: u64) -> Result<u64, Self> {
        if register < u64::MAX - 4094 {
            return Ok(register);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "1..=4095 by the test above"
        )]
        let number = register.wrapping_neg() as i32;
        match Self::from_number(number) {
            Some(error) => Err(error),
            None => Err(Self::EINVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_register_holds_a_value_or_an_error() {
        assert_eq!(Errno::EINVAL.to_register(), 0xffff_ffff_ffff_ffea);
        assert_eq!(
            Errno::from_register(Errno::ENOSYS.to_register()),
            Err(Errno::ENOSYS)
        );
        assert_eq!(Errno::from_register(0x40011), Ok(0x40011));
        assert_eq!(Errno::from_register(u64::MAX - 4095), Ok(u64::MAX - 4095));
        assert_eq!(Errno::from_register(u64::MAX - 4094), Err(Errno::EINVAL));
    }
}
