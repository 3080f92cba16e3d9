/* Clocks never go back, a sleep is never short, and the date is right. */
#include "program.h"

struct moment { long seconds, nanos; };

static long nanos(long clock)
{
	struct moment moment = { 0, 0 };

	if (call3(__NR_clock_gettime, clock, &moment, 0) != 0)
		leave(94);
	return moment.seconds * 1000000000 + moment.nanos;
}

static int backwards(long clock, int pause)
{
	long last = nanos(clock), bad = 0;

	for (int round = 0; round < 20000; round++) {
		long now = nanos(clock);
		bad += now < last;
		last = now;
		if (pause && round % 1000 == 0)
			call3(__NR_sched_yield, 0, 0, 0);
	}
	return (int)bad;
}

int program(void)
{
	say("monotonic went back", backwards(1, 1));
	say("real time went back", backwards(0, 0));
	say("boot time went back", backwards(7, 0));
	for (int round = 0; round < 3; round++) {
		struct moment wish = { 0, 50000000 };
		long before = nanos(1);

		call4(__NR_clock_nanosleep, 1, 0, &wish, 0);
		long took = nanos(1) - before;
		say("50 ms took 50 ms at least", took >= 50000000);
	}
	say("a year after 2020", nanos(0) > 1577836800L * 1000000000);
	return 0;
}
