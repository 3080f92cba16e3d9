/* ptrace's single step: each instruction of a child once, and what it stops at. */
#include "program.h"
#include <asm/ptrace-abi.h>
#include <asm/ptrace.h>
#include <linux/ptrace.h>

extern char stepped[], stepped_end[];
__asm__(".globl stepped\nstepped:\n"
	"\tmov $3, %ecx\n"
	"1:\tdec %ecx\n"
	"\tjnz 1b\n"
	"\tpushf\n"
	"\tpop %rax\n"
	"\tand $0x100, %eax\n"
	"\tmov %rax, %rbx\n"
	"\tmov $39, %eax\n"
	"\tsyscall\n"
	"\tlea -256(%rsp), %rdi\n"
	"\tmov $4, %ecx\n"
	"\tcld\n"
	"\trep stosb\n"
	"\tmov $39, %eax\n"
	"\tint3\n"
	"\tnop\n"
	".globl stepped_end\nstepped_end:\n"
	"\tmov $231, %eax\n"
	"\txor %edi, %edi\n"
	"\tsyscall\n");

int program(void)
{
	struct pt_regs registers;
	long steps = 0, child = fork();

	if (child == 0) {
		call3(__NR_ptrace, PTRACE_TRACEME, 0, 0);
		call3(__NR_kill, call3(__NR_getpid, 0, 0, 0), SIGSTOP, 0);
		__asm__ volatile("jmp stepped");
		__builtin_unreachable();
	}
	say("stopped by", await(child) >> 8);
	for (;;) {
		call4(__NR_ptrace, PTRACE_SINGLESTEP, child, 0, 0);
		int status = await(child);

		if ((status & 0xff) != 0x7f) {
			say("ended with", status);
			break;
		}
		call4(__NR_ptrace, PTRACE_GETREGS, child, 0, &registers);
		long at = (char *)registers.rip - stepped;
		steps++;
		if (registers.rip >= (unsigned long)stepped && registers.rip <= (unsigned long)stepped_end) {
			say("at", at);
			say("  by", status >> 8);
			say("  rcx", registers.rip == (unsigned long)stepped_end ? 0 : (long)(registers.rcx & 0xff));
			say("  trap flag seen", (long)registers.rbx & 0x100);
		}
		if (steps > 1000)
			leave(96);
	}
	return 0;
}
