/* modify_ldt: segments of a process's own, used, inherited by a child, taken away. */
#include "program.h"
#include <asm/ldt.h>

static long values[2] = { 0x1111, 0x2222 };

static long install(unsigned number, unsigned long base, unsigned limit, unsigned contents, unsigned present)
{
	struct user_desc descriptor = {
		.entry_number = number, .base_addr = (unsigned)base, .limit = limit, .seg_32bit = 1, .contents = contents,
		.limit_in_pages = 0, .seg_not_present = !present, .useable = 1,
	};
	return call3(__NR_modify_ldt, 0x11, &descriptor, sizeof(descriptor));
}

static long through_gs(unsigned number)
{
	long value;

	__asm__ volatile("mov %1, %%gs\n mov %%gs:0, %k0\n xor %%ecx, %%ecx\n mov %%ecx, %%gs"
		: "=&r"(value) : "r"(number << 3 | 7) : "ecx", "memory");
	return value & 0xffffffff;
}

static volatile long faults;
static void fault(int signal, siginfo_t *info, void *context)
{
	(void)info;
	faults++;
	say("signal", signal);
	say("  error", (long)((unsigned long *)context)[5 + 19]);
	((unsigned long *)context)[5 + 16] += 3; /* the length of `mov %r, %gs` with its prefix at most */
}

int program(void)
{
	unsigned long table[8 * 4];

	say("install 3", install(3, (unsigned long)&values[0], 0xfff, 0, 1));
	say("install 5", install(5, (unsigned long)&values[1], 0xfff, 0, 1));
	say("3 reads", through_gs(3));
	say("5 reads", through_gs(5));
	say("bytes", call3(__NR_modify_ldt, 0, table, sizeof(table)));
	say("type of 3", (long)(table[3] >> 40 & 0xff));
	say("limit of 5", (long)(table[5] & 0xffff));
	say("code segment", install(7, 0, 0xfffff, 2, 1));
	say("too far", install(8192, 0, 1, 0, 1));
	long child = fork();
	if (child == 0) {
		install(3, (unsigned long)&values[1], 0xfff, 0, 1);
		leave(through_gs(3) == 0x2222 && through_gs(5) == 0x2222 ? 12 : 1);
	}
	say("child", await(child));
	say("3 still reads", through_gs(3));
	for (unsigned number = 16; number < 1500; number++)
		if (install(number, (unsigned long)&values[number & 1], 0xfff, 0, 1))
			leave(95);
	say("1400 reads", through_gs(1400));
	say("1499 reads", through_gs(1499));
	on_signal(SIGSEGV, fault, 0);
	on_signal(SIGBUS, fault, 0);
	say("take away", install(3, (unsigned long)&values[0], 0xfff, 0, 0));
	__asm__ volatile("mov %0, %%r9d\n .byte 0x41, 0x8e, 0xe9\n" : : "r"(3 << 3 | 7) : "r9", "memory");
	say("faults", faults);
	return 0;
}
