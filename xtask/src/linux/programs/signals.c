/* Faults become signals with the right cause and address, on their own stack, and a handler may go on or repair. */
#include "program.h"
#include <asm/sigcontext.h>
#include <linux/time.h>

struct context {
	unsigned long flags;
	struct context *link;
	stack_t stack;
	struct sigcontext registers;
};

static char stack[16384] __attribute__((aligned(16)));
static volatile long seen, on_stack;
static char *volatile page;
extern char behind_ud2[], behind_div[], behind_gp[], behind_jump[];
static void *volatile resume;

static void fault(int signal, siginfo_t *info, struct context *context)
{
	char here;

	say("signal", signal);
	say("  code", info->si_code);
	say("  trap", (long)context->registers.trapno);
	/* QEMU gives a wrong error code for `int` through a gate that is not for programs. */
	if (context->registers.trapno == 14)
		say("  error", (long)context->registers.err);
	on_stack += &here >= stack && &here < stack + sizeof(stack);
	if (++seen > 40)
		leave(93);
	if (signal == SIGSEGV && info->si_addr == page) {
		say("  at the page", 1);
		call3(__NR_mprotect, page, 4096, 3);
		return;
	}
	if (signal == SIGTRAP)
		context->registers.eflags &= ~0x100UL;
	else
		context->registers.rip = (unsigned long)resume;
}

static volatile long alarms;
static void alarm_rings(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	alarms++;
}

int program(void)
{
	stack_t alternate = { .ss_sp = stack, .ss_flags = 0, .ss_size = sizeof(stack) };
	static const int caught[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS };

	call3(__NR_sigaltstack, &alternate, 0, 0);
	for (int n = 0; n < 5; n++)
		on_signal(caught[n], fault, SA_ONSTACK);

	page = (char *)call6(__NR_mmap, 0, 4096, 0, 0x22, -1, 0);
	*(volatile char *)page = 7;
	say("page holds", *page);

	resume = behind_ud2;
	__asm__ volatile("ud2\nbehind_ud2:" ::: "memory");
	resume = behind_div;
	__asm__ volatile("xor %%edx, %%edx\n xor %%ecx, %%ecx\n div %%ecx\nbehind_div:" ::: "eax", "ecx", "edx", "memory");
	resume = behind_gp;
	__asm__ volatile("movabs $0x8000000000000000, %%rax\n mov (%%rax), %%al\nbehind_gp:" ::: "rax", "memory");
	__asm__ volatile("int3" ::: "memory");
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n nop" ::: "memory", "cc");
	resume = behind_jump;
	__asm__ volatile("xor %%eax, %%eax\n jmp *%%rax\nbehind_jump:" ::: "rax", "memory");
	resume = &&behind_hlt;
	__asm__ volatile goto("hlt" :::: behind_hlt);
behind_hlt:
	resume = &&behind_int;
	__asm__ volatile goto("int $0x42" :::: behind_int);
behind_int:
	resume = &&behind_syscall_page;
	__asm__ volatile goto("movabs $0xffffffff81000000, %%rax\n mov (%%rax), %%al" ::: "rax" : behind_syscall_page);
behind_syscall_page:
	say("faults", seen);
	say("on the alternate stack", on_stack);

	struct { long interval[2], value[2]; } beat = { { 0, 2000 }, { 0, 2000 } };
	on_signal(SIGALRM, alarm_rings, 0);
	call3(__NR_setitimer, 0, &beat, 0);
	unsigned long sum = 0, rounds = 0;
	while (alarms < 100) {
		sum += rounds * rounds;
		rounds++;
		unsigned long check = 0x123456789abcdef0, other = check;
		__asm__ volatile("" : "+r"(check), "+r"(other));
		if (check != other)
			say("registers were not restored", 1);
	}
	say("at least 100 alarms", alarms >= 100);
	return (int)(sum & 0);
}
