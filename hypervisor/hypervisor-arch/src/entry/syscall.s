# The page where `syscall` and `sysenter` enter, mapped at the same place of every CPU's area.
#
# Nothing is known but RIP, and RSP is still the guest's: the CPU's own data is found relative to this page, {local}
# bytes away. The registers that the instruction destroys or does not save become a frame like that of a trap, at the end
# of the running vCPU's registers; the rest is `syscall_entry` and `guest_entry` in trap.s. Interrupts are off. NMI, #MC and #DB may
# come at any instruction here; they have stacks of their own.

.section .stub_page, "ax", @progbits
.balign 4096
.globl stub_page, stub_syscall, stub_syscall32, stub_sysenter
stub_page:

# rcx = guest RIP, r11 = guest RFLAGS
stub_syscall:
    mov     qword ptr [rip + stub_page + {local} + {guest_rsp}], rsp
    mov     rsp, qword ptr [rip + stub_page + {local} + {frame_end}]
    push    {user_data}
    push    qword ptr [rip + stub_page + {local} + {guest_rsp}]
    push    r11
    push    {user_code}
    push    rcx
    push    0
    mov     dword ptr [rsp + 4], {syscall_vector}
    jmp     qword ptr [rip + stub_page + {local} + {syscall_entry}]

    .balign 16
stub_syscall32:
    mov     qword ptr [rip + stub_page + {local} + {guest_rsp}], rsp
    mov     rsp, qword ptr [rip + stub_page + {local} + {frame_end}]
    push    {user_data}
    push    qword ptr [rip + stub_page + {local} + {guest_rsp}]
    push    r11
    push    {user_code32}
    push    rcx
    push    0
    mov     dword ptr [rsp + 4], {syscall32_vector}
    jmp     qword ptr [rip + stub_page + {local} + {guest_entry}]

# Nothing of the caller is known: RSP and RIP 0, CS 3 in the frame (pv-abi 5.6). The flags are the guest's, but IF.
    .balign 16
stub_sysenter:
    mov     rsp, qword ptr [rip + stub_page + {local} + {frame_end}]
    push    {user_data}
    push    0
    pushfq
    or      dword ptr [rsp], 0x200
    push    2
    popfq                               # NT, AC and TF off for our own code
    push    3
    push    0
    push    0
    mov     dword ptr [rsp + 4], {sysenter_vector}
    jmp     qword ptr [rip + stub_page + {local} + {guest_entry}]

    .balign 4096
.text
