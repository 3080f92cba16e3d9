//! The boot module: a kernel alone, or a cpio archive with a kernel and what belongs to it.
