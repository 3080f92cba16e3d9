/* Threads with thread-local storage: each has an FS base of its own, and one in GS, while they share a lock. */
#include "program.h"
#include <linux/futex.h>
#include <asm/prctl.h>

#define THREADS 8
#define ROUNDS 3000
#define FLAGS 0x3d0f00 /* VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID */

struct local {
	struct local *self;
	long number, gs[2];
	volatile int alive;
};

static struct local locals[THREADS];
static char stacks[THREADS][8192] __attribute__((aligned(16)));
static volatile int lock, shared, wrong;

static void take(void)
{
	int state = 0;

	if (__atomic_compare_exchange_n(&lock, &state, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE))
		call6(__NR_futex, (long)&lock, FUTEX_WAIT, 2, 0, 0, 0);
}

static void release(void)
{
	if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
		call6(__NR_futex, (long)&lock, FUTEX_WAKE, 1, 0, 0, 0);
}

NEEDED void work(struct local *local)
{
	struct local *self;
	long gs;

	call3(__NR_arch_prctl, ARCH_SET_GS, local->gs, 0);
	local->gs[0] = local->number + 1000;
	for (int round = 0; round < ROUNDS; round++) {
		take();
		shared++;
		release();
		if (round % 64 == 0)
			call3(__NR_sched_yield, 0, 0, 0);
		__asm__ volatile("mov %%fs:0, %0\n mov %%gs:0, %1" : "=r"(self), "=r"(gs));
		if (self != local || self->number != local->number || gs != local->number + 1000)
			wrong++;
	}
	call3(__NR_exit, 0, 0, 0);
}

long spawn(long flags, void *stack, int *parent, int *child, void *tls, struct local *local);
__asm__(".globl spawn\nspawn:\n"
	"\tmov %rcx, %r10\n"
	"\tmov %r9, %r12\n"
	"\tmov $56, %eax\n"
	"\tsyscall\n"
	"\ttest %rax, %rax\n"
	"\tjz 1f\n"
	"\tret\n"
	"1:\tmov %r12, %rdi\n"
	"\tcall work\n");

int program(void)
{
	int unused;

	for (int number = 0; number < THREADS; number++) {
		struct local *local = &locals[number];

		local->self = local;
		local->number = number;
		local->alive = 1;
		__asm__ volatile("" ::: "r12", "memory");
		if (spawn(FLAGS, stacks[number] + 8192, &unused, (int *)&local->alive, local, local) < 0)
			leave(97);
	}
	for (int number = 0; number < THREADS; number++)
		while (locals[number].alive)
			call6(__NR_futex, (long)&locals[number].alive, FUTEX_WAIT, 1, 0, 0, 0);
	say("threads", THREADS);
	say("counted under the lock", shared);
	say("wrong", wrong);
	return 0;
}
