/*
 * peer_chain.c - the peer of a CPU's migration: the same hops between as many processes and
 * threads on the same host CPUs, where nothing is done but the same writes of cpusets, and the
 * CPU that arrives is pinned.
 *
 * WHAT      hops[] is the chain of Figs. 9 and 22A to 23 as the machine goes through it, and behind
 *           its end the shrinking of the sender's cpuset, which the machine does then as well.
 *           This process is the console and its standard input the operator: one byte is a command,
 *           the answer is a line with the ns between the two as the console sees them, and the
 *           number of hops.  The box and the two partitions are processes below it; a partition has
 *           two threads, its primary and the CPU that goes there and back.
 * STATES    Round n is the nth migration, in odd rounds from alpha to gamma, in even ones back.
 *           A futex word holds the last round in which its hop was made.
 * CRASHES   Everybody below ends with this process (PDEATHSIG), and this one with its input, or
 *           when one of them ends.
 * LIMITS    What the machine does beside the chain (reports, interrupts to all) has no part here,
 *           nor has a hop that carries nothing: a cpuset that stays as it is is not written.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_SIZE 64u /* about a callback's request */

enum role { CONSOLE, BOX, FROM_PRIMARY, FROM_CPU, TO_PRIMARY, TO_CPU };
enum way { SOCKET, FUTEX };
enum work { NOTHING, GROW, SHRINK, ARRIVE };

/* Each goes on where the one before has ended; the first begins at the console. */
static const struct hop {
	enum role to;
	enum way way;
	enum work work; /* of who takes it, before the next hop */
	const char *what;
} hops[] = {
    {FROM_PRIMARY, FUTEX, NOTHING, "902: console to primary, the operator's request"},
    {FROM_CPU, FUTEX, NOTHING, "904: primary to the CPU, quiesce and go"},
    {CONSOLE, SOCKET, NOTHING, "906: CPU to console, callback MIGRATE_CPU"},
    {BOX, SOCKET, GROW, "908: console to box, the receiver's cpuset grows"},
    {CONSOLE, SOCKET, NOTHING, "908: box to console, done"},
    {TO_PRIMARY, FUTEX, NOTHING, "2302: console to primary, STARTREQ"},
    {TO_CPU, FUTEX, ARRIVE, "2306: primary to the CPU, START"},
    {CONSOLE, SOCKET, NOTHING, "910: CPU to console, active: the end of a migration"},
    {BOX, SOCKET, SHRINK, "console to box, the sender's cpuset shrinks"},
    {CONSOLE, SOCKET, NOTHING, "box to console, done"},
};

#define HOPS	   (sizeof(hops) / sizeof(hops[0]))
#define ACTIVE_HOP (HOPS - 3) /* what follows, nobody waits for */

enum party { ALPHA, GAMMA, PARTIES };

/* A partition's groups in cgroup v1, from the parent down; written from below when they shrink. */
#define GROUPS 3
static struct cpuset {
	const char *with, *without; /* host CPUs, when the CPU is there and when not; NULL: none */
	int fd[GROUPS];
} cpusets[PARTIES];

static struct wire {
	_Alignas(64) _Atomic uint32_t round; /* FUTEX */
	int sock[2];			     /* SOCKET: from, to */
} * wires;				     /* by hop, shared */

static struct thread {
	enum party party;
	bool primary;
	int host_cpu;
} threads[PARTIES][2];

static _Thread_local const struct thread *this_thread; /* of a partition */

static enum party sender(uint32_t round)
{
	return round % 2 ? ALPHA : GAMMA;
}

static bool changes(enum party party)
{
	const struct cpuset *set = &cpusets[party];

	return set->with && strcmp(set->with, set->without) != 0;
}

/* The first hop from h on that has something to carry in this round; HOPS: there is none. */
static size_t next_hop(size_t h, uint32_t round)
{
	enum party from = sender(round), to = from == ALPHA ? GAMMA : ALPHA;

	while (h < HOPS && ((hops[h].work == GROW && !changes(to)) ||
			    (hops[h].work == SHRINK && !changes(from))))
		h += 2; /* with its answer */
	return h;
}

static void give(size_t h, uint32_t round)
{
	struct wire *wire = &wires[h];
	char message[MESSAGE_SIZE] = {0};

	if (hops[h].way == SOCKET) {
		if (send(wire->sock[0], message, sizeof(message), MSG_NOSIGNAL) < 0)
			err(1, "send");
		return;
	}
	atomic_store_explicit(&wire->round, round, memory_order_release);
	(void)syscall(SYS_futex, &wire->round, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void take(size_t h, uint32_t round)
{
	struct wire *wire = &wires[h];
	char message[MESSAGE_SIZE];
	uint32_t seen;

	if (hops[h].way == SOCKET) {
		if (recv(wire->sock[1], message, sizeof(message), 0) <= 0)
			err(1, "recv");
		return;
	}
	while ((seen = atomic_load_explicit(&wire->round, memory_order_acquire)) != round)
		(void)syscall(SYS_futex, &wire->round, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void write_cpuset(enum party party, bool grow)
{
	const struct cpuset *set = &cpusets[party];
	const char *text = grow ? set->with : set->without;

	for (int i = 0; i < GROUPS; i++)
		if (pwrite(set->fd[grow ? i : GROUPS - 1 - i], text, strlen(text), 0) < 0)
			err(1, "cpuset.cpus of the scratch group");
}

static void stand_on(int host_cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(host_cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(1, "host CPU %d", host_cpu);
}

static void answer(uint32_t round);

/* All of a role's hops in one round: takes each, and makes the one that follows it. */
static void play(enum role role, uint32_t round)
{
	enum party from = sender(round);

	for (size_t h = next_hop(0, round); h < HOPS; h = next_hop(h + 1, round)) {
		size_t next = next_hop(h + 1, round);

		if (hops[h].to != role)
			continue;
		take(h, round);
		if (hops[h].work == GROW)
			write_cpuset(from == ALPHA ? GAMMA : ALPHA, true);
		else if (hops[h].work == SHRINK)
			write_cpuset(from, false);
		else if (hops[h].work == ARRIVE)
			stand_on(this_thread->host_cpu);
		if (h == ACTIVE_HOP)
			answer(round);
		if (next < HOPS)
			give(next, round);
	}
}

static void *thread_main(void *arg)
{
	const struct thread *thread = arg;

	this_thread = thread;
	if (thread->primary)
		stand_on(thread->host_cpu);
	for (uint32_t round = 1;; round++) {
		bool sends = sender(round) == thread->party;

		play(thread->primary ? (sends ? FROM_PRIMARY : TO_PRIMARY)
				     : (sends ? FROM_CPU : TO_CPU),
		     round);
	}
	return NULL;
}

static void enter(const char *group)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/instance/cgroup.procs", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) < 0) /* 0: who writes */
		err(1, "%s", path);
	close(fd);
}

static void partition_main(enum party party, const char *group)
{
	pthread_t cpu;

	if (group)
		enter(group);
	if (pthread_create(&cpu, NULL, thread_main, &threads[party][1]))
		errx(1, "no thread");
	thread_main(&threads[party][0]);
}

static void box_main(void)
{
	for (uint32_t round = 1;; round++)
		play(BOX, round);
}

/* True in the child, which ends with its parent. */
static bool is_child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid > 0)
		return false;
	signal(SIGCHLD, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	return true;
}

static void make_wires(void)
{
	wires = mmap(NULL, HOPS * sizeof(*wires), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (wires == MAP_FAILED)
		err(1, "mmap");
	for (size_t h = 0; h < HOPS; h++)
		if (hops[h].way == SOCKET &&
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wires[h].sock) < 0)
			err(1, "socketpair");
}

/* DIR WITH WITHOUT: DIR, DIR/instance and DIR/programs are there already. */
static void open_cpuset(enum party party, char **args)
{
	static const char *const groups[GROUPS] = {"", "/instance", "/programs"};
	struct cpuset *set = &cpusets[party];
	char path[PATH_MAX];

	set->with = args[1];
	set->without = args[2];
	for (int i = 0; i < GROUPS; i++) {
		snprintf(path, sizeof(path), "%s%s/cpuset.cpus", args[0], groups[i]);
		set->fd[i] = open(path, O_WRONLY | O_CLOEXEC);
		if (set->fd[i] < 0)
			err(1, "%s", path);
	}
}

static void print_hops(void)
{
	for (size_t h = 0; h < HOPS; h++)
		printf("%s\t%s\n", hops[h].way == SOCKET ? "socket" : "futex", hops[h].what);
}

static unsigned hop_count(uint32_t round)
{
	unsigned count = 0;

	for (size_t h = next_hop(0, round); h < HOPS; h = next_hop(h + 1, round))
		count++;
	return count;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_child_end(int signal_number)
{
	(void)signal_number;
	_exit(1); /* it has said why */
}

static uint64_t begin_ns; /* of the console's round */

static void answer(uint32_t round)
{
	char text[32];
	int n =
	    snprintf(text, sizeof(text), "%" PRIu64 " %u\n", now_ns() - begin_ns, hop_count(round));

	if (write(STDOUT_FILENO, text, (size_t)n) != n)
		_exit(1);
}

static void console_main(void)
{
	char command;

	for (uint32_t round = 1; read(STDIN_FILENO, &command, 1) == 1; round++) {
		begin_ns = now_ns();
		give(next_hop(0, round), round);
		play(CONSOLE, round);
	}
}

#define ARGS_CPUS 4 /* with the program's name */
#define ARGS_ALL  10

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--hops") == 0) {
		print_hops();
		return 0;
	}
	if (argc != ARGS_CPUS && argc != ARGS_ALL)
		errx(2, "usage: peer_chain --hops | ALPHA-HOST-CPU CPU-HOST-CPU GAMMA-HOST-CPU "
			"[ALPHA-GROUP WITH WITHOUT GAMMA-GROUP WITH WITHOUT]");
	for (int party = 0; party < PARTIES; party++) {
		int primary = atoi(argv[1 + 2 * party]), cpu = atoi(argv[2]);

		threads[party][0] = (struct thread){(enum party)party, true, primary};
		threads[party][1] = (struct thread){(enum party)party, false, cpu};
		if (argc == ARGS_ALL)
			open_cpuset((enum party)party, argv + ARGS_CPUS + 3 * party);
	}
	make_wires();
	signal(SIGCHLD, on_child_end);
	if (is_child())
		box_main();
	for (int party = 0; party < PARTIES; party++)
		if (is_child())
			partition_main((enum party)party,
				       argc == ARGS_ALL ? argv[ARGS_CPUS + 3 * party] : NULL);
	console_main();
	return 0;
}
