/*
 * peer_tick.c HOST-CPU PERIOD-NS TICKS - the peer of a heartbeat: one thread that wakes up in each
 * period and increments a word.  After every TICKS ticks it says so with a line, until its output
 * is closed.  As an instance's clock it is SCHED_FIFO where the host gives that.
 */
#include <err.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <unistd.h>

#define NS	       1000000000
#define CLOCK_PRIORITY 10 /* as in instance/clock.c */

static void stand_on(int host_cpu)
{
	struct sched_param urgent = {.sched_priority = CLOCK_PRIORITY};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(host_cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(1, "host CPU %d", host_cpu);
	(void)sched_setscheduler(0, SCHED_FIFO, &urgent); /* refused to an ordinary user */
}

int main(int argc, char **argv)
{
	_Atomic uint64_t *word =
	    mmap(NULL, sizeof(*word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t ticks, expired;
	struct itimerspec period = {0};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (argc != 4)
		errx(2, "usage: peer_tick HOST-CPU PERIOD-NS TICKS");
	if (word == MAP_FAILED || timer < 0)
		err(1, "no memory or no timer");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stand_on(atoi(argv[1]));
	period.it_interval.tv_nsec = atol(argv[2]) % NS;
	period.it_interval.tv_sec = atol(argv[2]) / NS;
	period.it_value = period.it_interval;
	ticks = strtoull(argv[3], NULL, 10);
	if (!ticks || timerfd_settime(timer, 0, &period, NULL) < 0)
		err(1, "period of %s ns", argv[2]);
	while (read(timer, &expired, sizeof(expired)) == sizeof(expired))
		if ((atomic_fetch_add_explicit(word, 1, memory_order_release) + 1) % ticks == 0 &&
		    write(STDOUT_FILENO, "\n", 1) != 1)
			break;
	return 0;
}
