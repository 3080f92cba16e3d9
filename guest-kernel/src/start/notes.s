# ELF notes by which a loader knows a PV kernel. Owner "Xen"; numbers are 8 bytes long, strings end in NUL.

.macro XEN_NOTE_STRING type, text
    .balign 4
    .long 4, 8f - 7f, \type
    .asciz "Xen"
7:  .asciz "\text"
8:  .balign 4
.endm

.macro XEN_NOTE_NUMBER type, value
    .balign 4
    .long 4, 8, \type
    .asciz "Xen"
    .quad \value
.endm

.section .note.Xen, "a", @note
    XEN_NOTE_STRING {xen_version}, "xen-3.0"
    XEN_NOTE_STRING {guest_os}, "paravane-guest"
    XEN_NOTE_STRING {guest_version}, "1"
    XEN_NOTE_STRING {loader}, "generic"
    XEN_NOTE_STRING {features}, "dom0"
    XEN_NOTE_NUMBER {virt_base}, VIRT_BASE
    XEN_NOTE_NUMBER {entry}, guest_kernel_start
    XEN_NOTE_NUMBER {mod_start_pfn}, 1
    # SUPPORTED_FEATURES, a bitmap of 32 bits: bit 11, the kernel can be the first domain.
    .balign 4
    .long 4, 4, {supported_features}
    .asciz "Xen"
    .long 1 << 11
