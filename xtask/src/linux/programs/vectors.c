/* x87, SSE and AVX registers and their control words, each process with its own values while they preempt each other. */
#include "program.h"

#define PROCESSES 6
#define ROUNDS 400

static int has_avx(void)
{
	unsigned a = 1, b, c, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	if (!(c >> 27 & 1) || !(c >> 28 & 1))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & 6) == 6;
}

/* Fills registers, spends a while, and counts those that have changed. */
static long round_of(unsigned long seed, int avx)
{
	unsigned long in[16][4], out[16][4];
	unsigned short control = (unsigned short)(0x037f | seed % 4 << 10), read = 0;
	unsigned rounding = 0x1f80 | (unsigned)(seed % 4) << 13, after = 0;
	double left = (double)seed, back = 0;
	long wrong = 0;

	for (int number = 0; number < 16; number++)
		for (int part = 0; part < 4; part++)
			in[number][part] = seed * 0x9e3779b97f4a7c15 + (unsigned long)(number * 4 + part);
	__asm__ volatile("fninit\n fldcw %0\n fldl %1\n ldmxcsr %2" : : "m"(control), "m"(left), "m"(rounding));
#define LOAD(n) "vmovdqu " #n "*32(%0), %%ymm" #n "\n"
#define SAVE(n) "vmovdqu %%ymm" #n ", " #n "*32(%0)\n"
#define LOAD_SSE(n) "movdqu " #n "*32(%0), %%xmm" #n "\n"
#define SAVE_SSE(n) "movdqu %%xmm" #n ", " #n "*32(%0)\n"
#define ALL(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define SPIN "mov $60000, %%ecx\n1: dec %%ecx\n jnz 1b\n mov $24, %%eax\n syscall\n mov $60000, %%ecx\n2: dec %%ecx\n jnz 2b\n"
	if (avx) {
		register unsigned long *from __asm__("rdi") = in[0], *to __asm__("rsi") = out[0];

		__asm__ volatile(ALL(LOAD) SPIN "mov %%rsi, %0\n" ALL(SAVE) : "+r"(from) : "r"(to) : "rax", "rcx", "r11", "memory");
	} else {
		register unsigned long *from __asm__("rdi") = in[0], *to __asm__("rsi") = out[0];

		__asm__ volatile(ALL(LOAD_SSE) SPIN "mov %%rsi, %0\n" ALL(SAVE_SSE) : "+r"(from) : "r"(to) : "rax", "rcx", "r11", "memory");
	}
	__asm__ volatile("fnstcw %0\n fstpl %1\n stmxcsr %2" : "=m"(read), "=m"(back), "=m"(after));
	for (int number = 0; number < 16; number++)
		for (int part = 0; part < (avx ? 4 : 2); part++)
			wrong += in[number][part] != out[number][part];
	return wrong + (read != control) + (back != left) + (after != rounding);
}

int program(void)
{
	long children[PROCESSES], wrong = 0;
	int avx = has_avx();

	say("AVX", avx);
	for (int number = 0; number < PROCESSES; number++) {
		children[number] = fork();
		if (children[number] == 0) {
			long bad = 0;

			for (unsigned long round = 0; round < ROUNDS; round++)
				bad += round_of((unsigned long)number * 1000 + round, avx);
			leave(bad > 100 ? 100 : (int)bad);
		}
	}
	for (int number = 0; number < PROCESSES; number++)
		wrong += await(children[number]);
	say("processes", PROCESSES);
	say("wrong", wrong);
	return 0;
}
