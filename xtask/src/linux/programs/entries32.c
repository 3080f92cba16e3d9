/* A 32-bit program and its ways into the kernel: `int 0x80` and, of `sysenter` and `syscall`, the one that processors of this
 * maker have in 64-bit mode, since a kernel sets up no other. For each: results, errors, an
 * argument on the stack, and registers that come back as they went; then threads' segments by set_thread_area, and a signal. */
#include "line.h"

typedef unsigned int word;

#define CALL_EXIT 1
#define CALL_FORK 2
#define CALL_WRITE 4
#define CALL_WAITPID 7
#define CALL_GETPID 20
#define CALL_KILL 37
#define CALL_MMAP2 192
#define CALL_SET_THREAD_AREA 243
#define CALL_RT_SIGACTION 174
#define CALL_NOTHING 999

/* The last four letters of GenuineIntel. */
#define INTEL 0x6c65746e

/* What goes in and comes out, at offsets that the assembly knows. */
struct registers {
	word eax, ebx, ecx, edx, esi, edi, ebp;
};

void by_interrupt(struct registers *registers);
void by_sysenter(struct registers *registers);
void by_syscall(struct registers *registers);

/* Loads all registers, enters by INSTRUCTION, stores all of them. The two fast ways return behind the kernel's own page, which
 * takes three words off the stack and returns, so they are called. */
#define LOAD \
	"\tpush %ebp\n\tpush %ebx\n\tpush %esi\n\tpush %edi\n" \
	"\tmov 20(%esp), %eax\n\tpush %eax\n" \
	"\tmov 4(%eax), %ebx\n\tmov 8(%eax), %ecx\n\tmov 12(%eax), %edx\n" \
	"\tmov 16(%eax), %esi\n\tmov 20(%eax), %edi\n\tmov 24(%eax), %ebp\n\tmov (%eax), %eax\n"
#define SAVE \
	"\txchg %eax, (%esp)\n" \
	"\tmov %ebx, 4(%eax)\n\tmov %ecx, 8(%eax)\n\tmov %edx, 12(%eax)\n" \
	"\tmov %esi, 16(%eax)\n\tmov %edi, 20(%eax)\n\tmov %ebp, 24(%eax)\n" \
	"\tpop %ecx\n\tmov %ecx, (%eax)\n" \
	"\tpop %edi\n\tpop %esi\n\tpop %ebx\n\tpop %ebp\n\tret\n"
__asm__(".globl by_interrupt\nby_interrupt:\n" LOAD "\tint $0x80\n" SAVE);
__asm__(".globl by_sysenter\nby_sysenter:\n" LOAD "\tcall 1f\n" SAVE
	"1:\tpush %ecx\n\tpush %edx\n\tpush %ebp\n\tmov %esp, %ebp\n\tsysenter\n");
__asm__(".globl by_syscall\nby_syscall:\n" LOAD "\tcall 1f\n" SAVE
	"1:\tpush %ecx\n\tpush %edx\n\tpush %ebp\n\tmov %ecx, %ebp\n\tsyscall\n");

static int call(word number, word a, word b, word c, word d)
{
	struct registers registers = { number, a, b, c, d, 0, 0 };

	by_interrupt(&registers);
	return (int)registers.eax;
}

static void say(const char *what, int value)
{
	char line[LINE];

	call(CALL_WRITE, 1, (word)line, (word)make_line(line, what, value), 0);
}

static void leave(int code)
{
	for (;;)
		call(CALL_EXIT, (word)code, 0, 0, 0);
}

/* All that one way in must do. */
static void work(void (*enter)(struct registers *))
{
	int self = call(CALL_GETPID, 0, 0, 0, 0);
	struct registers registers = { CALL_GETPID, 0x11111111, 0x22222222, 0x33333333, 0x44444444, 0x55555555, 0x66666666 };

	enter(&registers);
	say("getpid", (int)registers.eax == self);
	say("registers come back", registers.ebx == 0x11111111 && registers.ecx == 0x22222222 && registers.edx == 0x33333333
		&& registers.esi == 0x44444444 && registers.edi == 0x55555555 && registers.ebp == 0x66666666);
	struct registers unknown = { CALL_NOTHING, 1, 2, 3, 4, 5, 6 };
	enter(&unknown);
	say("unknown call", (int)unknown.eax);
	struct registers bad = { CALL_WRITE, 1, 0xfffff000, 16, 0, 0, 0 };
	enter(&bad);
	say("write from the kernel's half", (int)bad.eax);
	struct registers map = { CALL_MMAP2, 0, 8192, 3, 0x22, (word)-1, 0 };
	enter(&map);
	say("mmap with six arguments", map.eax < 0xfffff000);
	*(volatile word *)(map.eax + 4096) = 0x12345678;
	say("which holds", *(volatile int *)(map.eax + 4096));
	int same = 0;
	for (int round = 0; round < 20000; round++) {
		struct registers again = { CALL_GETPID, (word)round, 0, 0, 0, 0, 0 };

		enter(&again);
		same += (int)again.eax == self && again.ebx == (word)round;
	}
	say("and 20000 times", same);
}

static volatile int signals;
static void handler(int signal)
{
	say("signal", signal);
	signals++;
}

struct descriptor {
	word entry, base, limit, flags;
};
static word area[4] = { 0xabcdef01, 0x1234, 0, 0 };

static int in_child(void (*way)(void))
{
	int child = call(CALL_FORK, 0, 0, 0, 0), status = -1;

	if (child == 0) {
		way();
		leave(0);
	}
	call(CALL_WAITPID, (word)child, (word)&status, 0, 0);
	return status;
}

static void interrupt_way(void) { work(by_interrupt); }
static void sysenter_way(void) { work(by_sysenter); }
static void syscall_way(void) { work(by_syscall); }

NEEDED void start(void)
{
	say("int 0x80", 0);
	say("ended with", in_child(interrupt_way));
	word maker, zero = 0;
	__asm__ volatile("cpuid" : "+a"(zero), "=c"(maker) : : "ebx", "edx");
	if (maker == INTEL) {
		say("sysenter", 0);
		say("ended with", in_child(sysenter_way));
	} else {
		say("syscall", 0);
		say("ended with", in_child(syscall_way));
	}

	struct descriptor descriptor = { (word)-1, (word)area, 0xfffff, 0x51 };
	say("set_thread_area", call(CALL_SET_THREAD_AREA, (word)&descriptor, 0, 0, 0));
	say("entry", (int)descriptor.entry);
	word seen;
	__asm__ volatile("mov %1, %%gs\n mov %%gs:4, %0" : "=r"(seen) : "r"(descriptor.entry << 3 | 3));
	say("through GS", (int)seen);

	struct { word handler, flags, restorer, mask[2]; } action = { (word)handler, 0, 0, { 0, 0 } };
	say("sigaction", call(CALL_RT_SIGACTION, 10, (word)&action, 0, 8));
	for (int round = 0; round < 3; round++)
		call(CALL_KILL, (word)call(CALL_GETPID, 0, 0, 0, 0), 10, 0, 0);
	__asm__ volatile("mov %%gs:4, %0" : "=r"(seen));
	say("GS after signals", (int)seen);
	say("signals", signals);
	leave(0);
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %esp\n\tcall start\n");
