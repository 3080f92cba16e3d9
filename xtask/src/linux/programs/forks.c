/* A fork storm: children of children that write to shared pages, and a parent whose pages stay its own. */
#include "program.h"

#define PAGES 64
#define CHILDREN 150
static volatile unsigned char memory[PAGES * 4096];

static int child(int number)
{
	int good = 1;

	for (int page = 0; page < PAGES; page++)
		good &= memory[page * 4096] == (unsigned char)page;
	for (int page = 0; page < PAGES; page++)
		memory[page * 4096] = (unsigned char)number;
	if (number % 10 == 0) {
		long grandchild = fork();

		if (grandchild == 0)
			leave(memory[4096 * 5] == (unsigned char)number ? 42 : 1);
		good &= await(grandchild) == 42 << 8;
	}
	return good ? number % 100 : 101;
}

int program(void)
{
	long sum = 0, bad = 0;

	for (int page = 0; page < PAGES; page++)
		memory[page * 4096] = (unsigned char)page;
	for (int number = 0; number < CHILDREN; number++) {
		long first = fork();
		if (first == 0)
			leave(child(number));
		long second = fork();
		if (second == 0)
			leave(child(number + 1));
		int one = await(first), two = await(second);
		bad += (one & 0xff) != 0 || (two & 0xff) != 0 || one >> 8 == 101 || two >> 8 == 101;
		sum += (one >> 8) + (two >> 8);
	}
	for (int page = 0; page < PAGES; page++)
		bad += memory[page * 4096] != (unsigned char)page;
	say("sum of exit codes", sum);
	say("bad", bad);
	return 0;
}
