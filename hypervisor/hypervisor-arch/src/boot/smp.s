# The first steps of a CPU that INIT-SIPI-SIPI starts: real mode, CS:IP = page:0, up to Rust.
#
# Copied to the page {page} and run there; `smp.rs` fills in the words at its end. The root loaded here maps this page
# at its own address and the hypervisor where it always is.

.section .rodata.trampoline, "a"
.globl trampoline_start, trampoline_end
.globl trampoline_root, trampoline_stack, trampoline_entry
.balign 16
trampoline_start:
.code16
    cli
    cld
    xor     ax, ax
    mov     ds, ax
    mov     ss, ax
    mov     sp, {page} + 0x1000
    lgdt    [at_gdt_pointer]
    mov     eax, cr0
    or      al, 1
    mov     cr0, eax
    push    8
    mov     ax, offset at_protected
    push    ax
    .byte   0xcb                                # retf with 16-bit operands
.code32
trampoline_protected:
    mov     ax, 16
    mov     ds, ax
    mov     ss, ax
    mov     eax, cr4
    or      eax, 0x20                           # PAE
    mov     cr4, eax
    mov     eax, [at_root]
    mov     cr3, eax
    mov     ecx, 0xc0000080                     # EFER: LME, NXE
    rdmsr
    or      eax, 0x900
    wrmsr
    mov     eax, 0x80010033                     # PG WP NE ET MP PE
    mov     cr0, eax
    push    24
    mov     eax, offset at_long
    push    eax
    retf
.code64
trampoline_long:
    xor     eax, eax
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     fs, eax
    mov     gs, eax
    mov     rsp, [rip + trampoline_stack]
    xor     ebp, ebp
    call    qword ptr [rip + trampoline_entry]
    ud2

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff                    # 8: 32-bit code
    .quad 0x00cf93000000ffff                    # 16: data
    .quad 0x00af9b000000ffff                    # 24: 64-bit code
trampoline_gdt_pointer:
    .word 31
    .long {page} + (trampoline_gdt - trampoline_start)
    .balign 8
trampoline_root:
    .quad 0
trampoline_stack:
    .quad 0
trampoline_entry:
    .quad 0
trampoline_end:

# Where these are in the copy.
.set at_protected, {page} + (trampoline_protected - trampoline_start)
.set at_long, {page} + (trampoline_long - trampoline_start)
.set at_gdt_pointer, {page} + (trampoline_gdt_pointer - trampoline_start)
.set at_root, {page} + (trampoline_root - trampoline_start)
.text
