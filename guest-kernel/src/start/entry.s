# First instructions of vCPU 0 and of every other vCPU. Kernel mode, upcalls masked, no trap table yet.

# vCPU 0: rsi = virtual address of start_info; the loader's stack is left behind at once.
.section .text.entry, "ax"
.global guest_kernel_start
guest_kernel_start:
    cld
    mov rdi, rsi
    lea rsp, [rip + {boot_stack} + {stack_size}]
    xor ebp, ebp
    call {boot}
    ud2

# Another vCPU: its first context gives rsp (its own stack) and rdi (its number).
.global guest_kernel_start_secondary
guest_kernel_start_secondary:
    cld
    xor ebp, ebp
    call {secondary}
    ud2
