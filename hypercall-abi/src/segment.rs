//! `set_segment_base`: which base is meant.

constants! {
    /// The FS base.
    SEGBASE_FS: u32 = 0;
    /// The GS base of user mode.
    SEGBASE_GS_USER: u32 = 1;
    /// The GS base of kernel mode.
    SEGBASE_GS_KERNEL: u32 = 2;
    /// The GS selector of user mode; the base follows from its descriptor.
    SEGBASE_GS_USER_SEL: u32 = 3;
}
