//! The registers of an interrupted context, as `entry.s` leaves them on the stack.

/// One interrupted context. The last five words (six with `error_code`) are the hypervisor's bounce frame, the others
/// are pushed by the stub. The same layout is loaded again to return there.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    missing_docs,
    reason = "registers are called what the processor's manual calls them"
)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Number of the entry stub: an exception vector, [`UPCALL`] or [`SYSTEM_CALL`].
    pub vector: u64,
    /// The exception's error code, 0 where there is none. At the return its place holds the flags for `iret`.
    pub error_code: u64,
    pub rip: u64,
    /// Code segment (bits 15..0, privilege bits clear for kernel mode) and the upcall mask before (bits 39..32).
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Stub number of the event callback.
pub const UPCALL: u64 = 256;
/// Stub number of the system call callback.
pub const SYSTEM_CALL: u64 = 257;
/// Bytes from one entry stub to the next.
pub(super) const STUB_STRIDE: u64 = 16;

const _: () = assert!(
    size_of::<TrapFrame>() == 176,
    "entry.s pushes 15 registers, vector and error code"
);
