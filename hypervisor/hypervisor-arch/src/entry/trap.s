# Traps and interrupts.
#
# Each vector has a stub of 16 bytes that completes the frame (struct Registers): where the CPU pushes no error code, 0
# goes there; then the vector into the upper half of that word. From ring 3 the frame lies at the end of the running
# vCPU's registers (RSP0 of the TSS); from ring 0 on the stack that was in use. Vectors 1, 2, 8 and 18 come on stacks of
# their own, from anywhere.

.macro save_registers
    save_what_calls_lose
    save_what_calls_keep
    cld
.endm

.macro save_what_calls_lose
    push    rdi
    push    rsi
    push    rdx
    push    rcx
    push    rax
    push    r8
    push    r9
    push    r10
    push    r11
.endm

.macro save_what_calls_keep
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
.endm

.macro restore_registers
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rax
    pop     rcx
    pop     rdx
    pop     rsi
    pop     rdi
    add     rsp, 8
.endm

.balign 4096
.globl trap_stubs
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
    push    0
    .endif
    mov     dword ptr [rsp + 4], vector
    .if (vector == 1) || (vector == 2) || (vector == 8) || (vector == 18)
    jmp     trap_on_own_stack
    .else
    jmp     trap
    .endif
    .set vector, vector + 1
.endr

    .balign 16
trap:
    test    byte ptr [rsp + {frame_cs} - {frame_error}], 3
    jz      trap_from_host

# Stack: the end of the running vCPU's registers, down to the error code. All other registers are the guest's.
.globl guest_entry
.type guest_entry, @function
guest_entry:
    save_registers
    mov     rdi, rsp
    mov     rsp, [rsp + {host_stack}]
    xor     ebp, ebp
.globl call_on_guest
call_on_guest:
    call    {on_guest}                  # leaves by exit.s, as all of them
    ud2

# The same for `syscall`, which says by itself what it is. What looks like the question for the version, by which guest
# kernels have their events delivered, is tried the short way first: it needs no register that a call keeps. DF is clear:
# `syscall` masks it.
.globl syscall_entry
.type syscall_entry, @function
syscall_entry:
    save_what_calls_lose
    cmp     rax, {xen_version}
    je      4f
2:  save_what_calls_keep
    mov     rsp, [rsp + {host_stack}]
    xor     ebp, ebp
.globl call_on_syscall
call_on_syscall:
    call    {on_syscall}
    ud2

4:  test    edi, edi
    jnz     2b
    mov     rdi, rsp
    mov     rsp, [rdi + {host_stack} - {frame_r11}]
    push    rdi
    push    rdi
.globl call_on_version
call_on_version:
    call    {on_version}
    pop     rdi                         # the registers from r11 on
    test    edx, edx
    jz      6f
    # rax = the answer; the other registers as after any call, see exit.s
    mov     rcx, [rdi + {frame_rip} - {frame_r11}]
    mov     r11, [rdi + {frame_rflags} - {frame_r11}]
    mov     r10, [rdi + {frame_r10} - {frame_r11}]
    mov     r9, [rdi + {frame_r9} - {frame_r11}]
    mov     r8, [rdi + {frame_r8} - {frame_r11}]
    mov     rdx, [rdi + {frame_rdx} - {frame_r11}]
    mov     rsi, [rdi + {frame_rsi} - {frame_r11}]
    mov     rsp, [rdi + {frame_rsp} - {frame_r11}]
    mov     rdi, [rdi + {frame_rdi} - {frame_r11}]
.globl version_sysretq
version_sysretq:
    sysretq
    .fill 2, 1, 0xcc                    # room for a jump, see exit.s
6:  mov     rsp, rdi
    jmp     2b

.type trap_from_host, @function
trap_from_host:
    save_registers
    mov     rdi, rsp
    sub     rsp, 8
    call    {on_host}
    add     rsp, 8
    test    rax, rax
    jnz     enter_again
    restore_registers
    iretq

# rax = a stack to begin anew on: the instruction that should have left to the guest has faulted, or a trap on a stack of
# its own came from the guest.
.globl enter_again
.type enter_again, @function
enter_again:
    mov     rsp, rax
    xor     ebp, ebp
    call    {on_again}
    ud2

.type trap_on_own_stack, @function
trap_on_own_stack:
    save_registers
    mov     rdi, rsp
    sub     rsp, 8
.globl call_on_own_stack
call_on_own_stack:
    call    {on_own_stack}
    add     rsp, 8
    test    rax, rax
    jnz     enter_again
    restore_registers
    iretq

# The same four calls on CPUs where IBRS counts only when it is written after the guest: boot turns the calls above to
# these. All registers but rdi are free.
.macro restricted name, target
.globl \name
\name:
    mov     ecx, 0x48                           # SPEC_CTRL
    mov     eax, dword ptr [rip + {spec_ctrl}]
    xor     edx, edx
    wrmsr
    jmp     \target
.endm
restricted on_guest_restricted, {on_guest}
restricted on_syscall_restricted, {on_syscall}
restricted on_version_restricted, {on_version}
restricted on_own_stack_restricted, {on_own_stack}
