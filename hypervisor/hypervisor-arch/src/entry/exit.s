# Back to the guest, by IRET or by SYSRET: rdi = the registers to load (struct Registers). The stack is the host stack, of
# which nothing is needed any more.
#
# IRET reads its frame from the host stack, not from the vCPU's registers: if it faults, the CPU pushes below that
# frame, and the registers stay whole for the guest to see.
#
# On a CPU whose buffers keep remains, boot puts jumps to the two ends at the foot over the two that stand here, so that
# other CPUs pay nothing (cpu/speculation.rs).

.globl exit_to_guest, exit_sysret, exit_iret, exit_sysretq, exit_iret_cleared, exit_iret_last, exit_sysretq_cleared
.type exit_to_guest, @function
exit_to_guest:
    push    qword ptr [rdi + {frame_ss}]
    push    qword ptr [rdi + {frame_rsp}]
    push    qword ptr [rdi + {frame_rflags}]
    push    qword ptr [rdi + {frame_cs}]
    push    qword ptr [rdi + {frame_rip}]
    mov     r11, [rdi + {frame_r11}]
    mov     rcx, [rdi + {frame_rcx}]
    mov     r15, [rdi + {frame_r15}]
    mov     r14, [rdi + {frame_r14}]
    mov     r13, [rdi + {frame_r13}]
    mov     r12, [rdi + {frame_r12}]
    mov     rbp, [rdi + {frame_rbp}]
    mov     rbx, [rdi + {frame_rbx}]
    mov     r10, [rdi + {frame_r10}]
    mov     r9, [rdi + {frame_r9}]
    mov     r8, [rdi + {frame_r8}]
    mov     rax, [rdi + {frame_rax}]
    mov     rdx, [rdi + {frame_rdx}]
    mov     rsi, [rdi + {frame_rsi}]
    mov     rdi, [rdi + {frame_rdi}]
exit_iret:
    iretq
    .fill 3, 1, 0xcc                    # room for a jump

# RIP has been checked to be canonical: SYSRET faults in ring 0 otherwise.
exit_sysret:
    mov     rcx, [rdi + {frame_rip}]
    mov     r11, [rdi + {frame_rflags}]
    mov     r15, [rdi + {frame_r15}]
    mov     r14, [rdi + {frame_r14}]
    mov     r13, [rdi + {frame_r13}]
    mov     r12, [rdi + {frame_r12}]
    mov     rbp, [rdi + {frame_rbp}]
    mov     rbx, [rdi + {frame_rbx}]
    mov     r10, [rdi + {frame_r10}]
    mov     r9, [rdi + {frame_r9}]
    mov     r8, [rdi + {frame_r8}]
    mov     rax, [rdi + {frame_rax}]
    mov     rdx, [rdi + {frame_rdx}]
    mov     rsi, [rdi + {frame_rsi}]
    mov     rsp, [rdi + {frame_rsp}]
    mov     rdi, [rdi + {frame_rdi}]
exit_sysretq:
    sysretq
    .fill 2, 1, 0xcc

exit_iret_cleared:
    verw    word ptr [rip + exit_selector]
exit_iret_last:
    iretq
exit_sysretq_cleared:
    verw    word ptr [rip + exit_selector]
    sysretq
exit_selector:
    .word   {user_data}
