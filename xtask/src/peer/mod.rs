//! Other hypervisors to compare with: Debian's Xen with a kernel of ours as its first domain ([`xen`]), and with ordinary
//! domains under a Linux first domain and Xen's own tools ([`xen_linux`]).

pub(crate) mod xen;
pub(crate) mod xen_linux;
