# Entries of the benchmark, as short as the ABI permits: what a round costs is the hypervisor's work.
#
# The hypervisor writes to the kernel stack (from the top down): ss, rsp, rflags, cs, rip, [error code], r11, rcx. The
# call `iret` takes: ss, rsp, rflags, cs, rip, flags, rcx, r11, rax.

.section .text.bench, "ax"

# #UD: goes on behind the two bytes of the instruction.
.global bench_undefined
bench_undefined:
    pop rcx
    pop r11
    add qword ptr [rsp], 2
    push 0
    jmp bench_return

# #PF: the same; the error code's place holds the flags of the return.
.global bench_page_fault
bench_page_fault:
    pop rcx
    pop r11
    mov qword ptr [rsp], 0
    add qword ptr [rsp + 8], 2

bench_return:
    push rcx
    push r11
    push rax
    mov eax, {iret}
    syscall
    ud2

# Upcall: takes the one port's event and goes back.
.global bench_upcall
bench_upcall:
    push rax
    mov rax, [rip + {vcpu_info}]
    mov byte ptr [rax], 0
    mov qword ptr [rax + 8], 0
    mov rax, [rip + {pending_word}]
    mov rcx, [rip + {pending_keep}]
    lock and [rax], rcx
    pop rax
    pop rcx
    pop r11
    push 0
    jmp bench_return

# System call of user mode: notes the time, and goes back until the list is full; then the call of bench_user returns.
.global bench_system_call
bench_system_call:
    pop rcx
    pop r11
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov rdx, [rip + {cursor}]
    mov [rdx], rax
    add rdx, 8
    mov [rip + {cursor}], rdx
    cmp rdx, [rip + {cursor_end}]
    je 2f
    push {in_syscall}
    jmp bench_return
2:
    mov rsp, [rip + {resume}]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

# fn bench_user(frame: *const [u64; 9]): enters user mode by the frame, which is one of the call `iret`.
.global bench_user
bench_user:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rip + {resume}], rsp
    mov rsp, rdi
    mov eax, {iret}
    syscall
    ud2
