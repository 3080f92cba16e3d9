# From the boot loader to Rust.
#
# Entered by PVH at boot_start or by multiboot2 at boot_multiboot; both in 32-bit protected mode, paging off, flat
# segments, interrupts off, ebx = physical address of the information. Multiboot2's magic is in eax; eax is 0 for PVH. The first page tables are data: they map the first GiB three times, at 0 (to keep running while
# paging comes on), at the direct map (L4 slot 262) and at the link address (slot 261, L3 entry 321).
# own_tables replaces them, and with them this section disappears from the address space.

.section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18                  # owner "Xen", 4 bytes, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long boot_start

.section .boot, "awx", @progbits
    .balign 8
multiboot_header:
    .long 0xe85250d6, 0, multiboot_end - multiboot_header, -(0xe85250d6 + (multiboot_end - multiboot_header))
    .word 3, 0                      # entry address
    .long 12, boot_multiboot
    .balign 8
    .word 6, 0                      # modules on pages of their own
    .long 8
    .word 0, 0                      # end
    .long 8
multiboot_end:

.code32
.globl boot_start
boot_start:
    xor     eax, eax
boot_multiboot:
    cld
    cli
    mov     edi, eax
    mov     esi, ebx
    mov     esp, offset boot_stack_top
    mov     eax, offset boot_l4
    mov     cr3, eax
    mov     eax, cr4
    or      eax, 0x20               # PAE
    mov     cr4, eax
    mov     ecx, 0xc0000080         # EFER.LME
    rdmsr
    or      eax, 0x100
    wrmsr
    mov     eax, 0x80010033         # PG WP NE ET MP PE
    mov     cr0, eax
    lgdt    [boot_gdt_pointer]
    push    8
    mov     eax, offset boot_long_mode
    push    eax
    retf

.code64
boot_long_mode:
    xor     eax, eax
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     fs, eax
    mov     gs, eax
    mov     edi, edi
    mov     esi, esi
    movabs  rax, {direct_map}
    add     rsp, rax
    xor     ebp, ebp
    movabs  rax, offset boot_main
    call    rax
    ud2

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 64-bit code, ring 0
boot_gdt_pointer:
    .word 15
    .long boot_gdt

    .balign 4096
boot_l4:
    .quad boot_l3_low + 3
    .fill 260, 8, 0
    .quad boot_l3_high + 3          # 261: image
    .quad boot_l3_low + 3           # 262: direct map
    .fill 249, 8, 0
boot_l3_low:
    .quad boot_l2 + 3
    .fill 511, 8, 0
boot_l3_high:
    .fill 321, 8, 0
    .quad boot_l2 + 3
    .fill 190, 8, 0
boot_l2:
    .set frame, 0
    .rept 512
    .quad frame + 0x83
    .set frame, frame + 0x200000
    .endr

boot_stack:
    .fill 32768, 1, 0
boot_stack_top:

.text
