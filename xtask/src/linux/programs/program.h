/* What a program without a C library needs: a start, system calls, lines of output.
 *
 * A program defines `int program(void)`; what it prints must be the same on every run on every machine, so it prints
 * facts, never addresses, times or process numbers. */
#include <asm/unistd.h>
#include <linux/signal.h>

#include "line.h"

static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall" : "=a"(result)
		: "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return result;
}
#define call3(number, a, b, c) call6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define call4(number, a, b, c, d) call6(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* The compiler makes calls of these by itself. */
NEEDED void *memset(void *to, int byte, unsigned long length)
{
	void *at = to;
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(byte) : "memory");
	return to;
}
NEEDED void *memcpy(void *to, const void *from, unsigned long length)
{
	void *at = to;
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
	return to;
}

/* Prints `WHAT: VALUE`, in one write. */
static void say(const char *what, long value)
{
	char line[LINE];

	call3(__NR_write, 1, line, make_line(line, what, value));
}

static inline void leave(int code)
{
	for (;;)
		call3(__NR_exit_group, code, 0, 0);
}

/* The kernel's own form, which a C library hides. */
struct action {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};
#define RESTORER 0x04000000

void restore_signal(void);
__asm__(".globl restore_signal\nrestore_signal:\n\tmov $15, %eax\n\tsyscall\n");

static inline void on_signal(int signal, void *handler, unsigned long flags)
{
	struct action action = { handler, flags | SA_SIGINFO | RESTORER, (void *)restore_signal, 0 };

	if (call4(__NR_rt_sigaction, signal, &action, 0, 8) != 0)
		leave(99);
}

static inline long fork(void)
{
	return call3(__NR_fork, 0, 0, 0);
}

/* Waits for a child to change; returns its status. */
static inline int await(long child)
{
	int status = -1;

	if (call4(__NR_wait4, child, &status, 0x40000000, 0) != child)
		leave(98);
	return status;
}

int program(void);
NEEDED void start(void)
{
	leave(program());
}
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall start\n");
