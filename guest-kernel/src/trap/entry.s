# Entry of exceptions, upcalls and system calls, and the return from them.
#
# The hypervisor writes to the kernel stack (from the top down): ss, rsp, rflags, cs, rip, [error code], r11, rcx.
# Each stub completes it to the TrapFrame of trap/frame.rs: an error code or zero, the number of the stub, the other
# registers. Stub n < 256 is vector n; 256 is the upcall, 257 a system call of user mode.

.section .text.trap, "ax"

.balign 16
.global trap_stubs
trap_stubs:
.set vector, 0
.rept 258
    .balign 16
    pop rcx
    pop r11
    .ifeq (vector - 8) * (vector - 10) * (vector - 11) * (vector - 12) * (vector - 13) * (vector - 14) * (vector - 17) * (vector - 21) * (vector - 29) * (vector - 30)
    .else
    push 0
    .endif
    push offset vector
    jmp trap_common
    .set vector, vector + 1
.endr

trap_common:
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    cld
    test byte ptr [rsp + {frame_cs}], 3
    jnz trap_from_user
    mov rdi, rsp
    mov rbp, rsp
    and rsp, -16
    call {trap_from_kernel}
    mov rsp, rbp

# rsp = TrapFrame: loads every register from it and returns to where it points.
trap_return:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    add rsp, 8                      # the vector; the error code's place holds the flags of the return
    mov qword ptr [rsp], 0
    push rcx
    push r11
    push rax
    mov eax, {iret}
    syscall
    ud2

# User mode was interrupted: its TrapFrame lies in its context (the kernel stack that was given for this entry), and
# the call of trap_enter_user returns.
trap_from_user:
    mov rsp, gs:[{user_return}]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

# fn trap_enter_user(frame: *mut TrapFrame): runs user mode from the frame until it traps; the frame then has its state.
.global trap_enter_user
trap_enter_user:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov gs:[{user_return}], rsp
    mov rsp, rdi
    jmp trap_return

# fn trap_probe(function: extern "C" fn(u64), argument: u64, recovery: *mut u64) -> u64: calls the function; an
# exception in it, for which trap_from_kernel resumes at trap_probe_failed with the stack noted in *recovery, makes
# it 1, else it is 0.
.global trap_probe
trap_probe:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    mov [rdx], rsp
    mov rax, rdi
    mov rdi, rsi
    call rax
    xor eax, eax
    jmp 2f
.global trap_probe_failed
trap_probe_failed:
    mov eax, 1
2:
    pop rdx
    mov qword ptr [rdx], 0
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
