/* Ticks every 10 ms by the monotonic clock, and at its end (SIGTERM) says how many ticks there were and the longest gap
 * between two of them, in microseconds. On SIGUSR1 it says so and begins anew. */
#include "program.h"

#define TICK 10000000L

struct moment { long seconds, nanos; };

static volatile int wanted;
static void asked(int signal)
{
	wanted = signal;
}

static long now(void)
{
	struct moment moment;

	call3(__NR_clock_gettime, 1, &moment, 0);
	return moment.seconds * 1000000000 + moment.nanos;
}

int program(void)
{
	on_signal(SIGTERM, asked, 0);
	on_signal(SIGUSR1, asked, 0);
	long last = now(), next = last, longest = 0, ticks = 0;

	for (;;) {
		next += TICK;
		if (next < last)
			next = last + TICK;
		struct moment wish = { next / 1000000000, next % 1000000000 };
		/* 1: the absolute time. An interrupted sleep is a tick too few, not a gap. */
		if (call4(__NR_clock_nanosleep, 1, 1, &wish, 0) == 0) {
			long moment = now();

			longest = moment - last > longest ? moment - last : longest;
			last = moment;
			ticks++;
		}
		if (wanted) {
			say("ticks", ticks);
			say("longest gap in us", longest / 1000);
			if (wanted == SIGTERM)
				return 0;
			wanted = 0;
			longest = ticks = 0;
			last = next = now();
		}
	}
}
