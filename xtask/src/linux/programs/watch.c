/* Hardware watchpoints by ptrace: a write, a read, an instruction; what DR6 says and where the child stands. */
#include "program.h"
#include <linux/ptrace.h>

#define DEBUG_REGISTER(n) (848 + 8 * (n)) /* offsetof(struct user, u_debugreg[n]) */
static volatile long watched[4];
extern char landmark[];
__asm__(".globl landmark\nlandmark:\n\tnop\n\tret\n");

static void child_works(void)
{
	watched[0] = 1;
	watched[1] = 2;
	__asm__ volatile("call landmark" ::: "memory");
	long sum = watched[0] + watched[1];
	watched[2] = sum;
	((volatile char *)watched)[3] = 5;
	leave((int)watched[2]);
}

int program(void)
{
	long child = fork();

	if (child == 0) {
		call3(__NR_ptrace, PTRACE_TRACEME, 0, 0);
		call3(__NR_kill, call3(__NR_getpid, 0, 0, 0), SIGSTOP, 0);
		child_works();
	}
	say("stopped by", await(child) >> 8);
	say("set 0", call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(0), &watched[0]));
	say("set 1", call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(1), &watched[1]));
	say("set 2", call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(2), landmark));
	/* 0: writes of 8 bytes; 1: reads and writes of 8; 2: execution. */
	say("enable", call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(7), 0x15L | 0x9L << 16 | 0xbL << 20));
	say("kernel address", call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(3), 0xffffffff81000000));
	for (int stops = 0; stops < 50; stops++) {
		call4(__NR_ptrace, PTRACE_CONT, child, 0, 0);
		int status = await(child);

		if ((status & 0xff) != 0x7f) {
			say("ended with", status);
			return 0;
		}
		long cause = 0;
		call4(__NR_ptrace, PTRACE_PEEKUSR, child, DEBUG_REGISTER(6), &cause);
		say("stop", status >> 8);
		say("  DR6", cause & 0xe00f);
		call4(__NR_ptrace, PTRACE_POKEUSR, child, DEBUG_REGISTER(6), 0);
	}
	return 1;
}
