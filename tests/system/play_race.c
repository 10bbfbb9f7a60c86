/*
 * play_race.c - plays an instance (as apmp-instance in APMP_LIBEXEC) in races of SIGSTOP, fence and
 * SIGCONT: a victim that stores into shared memory without pause, or who watches what it stored.
 *
 * WHAT      Both tell test_fence_races.py at APMP_RACE_DIR/report who they are.  A victim has
 *           threads and a child process, of which each, once told to, counts in a word of its own
 *           in this life's lane.  In every other life its threads have death beacons; the child has
 *           none. Partition 0 watches: for each identity that it is told it asks the console to
 *           remove that instance, and as soon as the tree says that it is fenced it reads the lane:
 *           no word of it may ever change again.  It answers how long that took and how many did.
 *           With APMP_RACE_WRONG it takes an instance for fenced as soon as it has asked: what it
 *           would see of a fence that is answered before the kill.
 * ORDERING  A store of a thread is in memory before the kernel marks that thread as exiting; the
 *           box sees the mark, then the console writes `fenced`, which apmp_tree_alive acquires.
 * LIMITS    A late store is seen if it comes within LOOK_NS, or before the lane is used again LIVES
 *           lives later.
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>

#include "instance/channel.h"
#include "shm/hwrpb.h"
#include "shm/shared.h"
#include "shm/tree.h"
#include "shm/wire/beacon_futex.h"
#include "shm/wire/box.h"
#include "shm/wire/linux_env.h"

#define WRITERS 4u /* threads, the first of all included, and a child */
#define LIVES	64u
#define VICTIMS 8u
#define LOOK_NS 50000u

struct lane {
	_Atomic uint64_t word[8];
};

struct table {
	struct lane lane[VICTIMS][LIVES];
};

#define TABLE_SIZE ((sizeof(struct table) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE)

/* What is told, and answered. */
struct hello {
	uint64_t identity;
	int32_t pid, child;
};

struct verdict {
	uint64_t identity, fenced_ns, late_count;
};

static struct channel channel;
static struct apmp_tree tree;
static struct table *table;
static struct apmp_recorder *recorder;
static uint64_t self;
static int report;

static void *map(uint64_t pa, uint64_t size)
{
	struct apmp_call call = {
	    .request = {.identity = self, .op = APMP_CALL_MAP, .arg = {pa, size}}};
	int error = channel_call(&channel, &call);
	void *base;

	if (error || call.reply.error || call.fd < 0)
		errx(1, "MAP: %d, %d", error, call.reply.error);
	base = mmap(NULL, size, PROT_READ | (call.reply.ret[1] ? PROT_WRITE : 0), MAP_SHARED,
		    call.fd, (off_t)call.reply.ret[0]);
	if (base == MAP_FAILED)
		err(1, "mmap");
	close(call.fd);
	return base;
}

/* The end of the last fragment that several may use. */
static void map_table(void)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	struct apmp_tree_fragment f, shared = {0};

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&tree, &walk, GCT_MEMORY_DESC, &node) > 0)
		for (uint32_t i = 0; apmp_tree_fragment(&tree, node.handle, i, &f) == 0; i++)
			if (f.owner && f.flags & GCT_MEM_SHARED)
				shared = f;
	if (!shared.owner)
		errx(1, "no shared memory");
	table = map(shared.pa + shared.size - TABLE_SIZE, TABLE_SIZE);
}

static void boot(void)
{
	struct apmp_call_request booted = {.op = APMP_CALL_REPORT, .arg = {APMP_REPORT_BOOTED}};
	const struct hwrpb *h;
	struct gct_header *header;

	channel_init(&channel, APMP_INSTANCE_CHANNEL_FD);
	h = mmap(NULL, HWRPB_SIZE, PROT_READ, MAP_SHARED, APMP_INSTANCE_HWRPB_FD, 0);
	if (h == MAP_FAILED)
		err(1, "HWRPB");
	self = apmp_load_relaxed(&h->unique);
	header = map(apmp_load_relaxed(&h->config), APMP_PAGE_SIZE);
	if (apmp_tree_init(&tree,
			   map(apmp_load_relaxed(&h->config), apmp_load_relaxed(&header->size)),
			   apmp_load_relaxed(&header->size)))
		errx(1, "the configuration tree is none");
	map_table();
	recorder = map(apmp_load_relaxed(&h->recorder), APMP_RECORDER_SIZE);
	booted.identity = booted.arg[1] = self;
	if (channel_tell(&channel, &booted))
		errx(1, "the console does not hear that we have booted");
}

static struct lane *lane_of(uint64_t identity)
{
	return &table->lane[apmp_identity_id(identity) % VICTIMS]
			   [apmp_identity_incarnation(identity) % LIVES];
}

static void say_hello(int child)
{
	const struct hello hello = {.identity = self, .pid = getpid(), .child = child};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *dir = getenv("APMP_RACE_DIR");

	report = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (!dir || snprintf(address.sun_path, sizeof(address.sun_path), "%s/report", dir) >=
			(int)sizeof(address.sun_path))
		errx(2, "APMP_RACE_DIR is not set, or too long");
	if (report < 0 || connect(report, (void *)&address, sizeof(address)) < 0 ||
	    send(report, &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		err(1, "%s", address.sun_path);
}

/* ---- the victim ---- */

static void *store(void *word)
{
	for (uint64_t n = 1;; n++)
		apmp_store_relaxed((_Atomic uint64_t *)word, n);
	return NULL;
}

/* The same, in a thread that has a death beacon. */
static void *store_lit(void *word)
{
	_Atomic uint64_t *its = word;

	if (apmp_beacon_futex_light(recorder, (uint32_t)(its - lane_of(self)->word)))
		errx(1, "no beacon");
	return store(word);
}

__attribute__((noreturn)) static void be_victim(void)
{
	void *(*body)(void *) = apmp_identity_incarnation(self) % 2 ? store_lit : store;
	struct lane *lane = lane_of(self);
	pthread_t thread;
	int go[2], child;
	char byte;

	if (pipe(go) < 0 || (child = fork()) < 0)
		err(1, "fork");
	if (child == 0) {
		if (read(go[0], &byte, 1) == 1)
			store(&lane->word[0]);
		_exit(1);
	}
	say_hello(child);
	if (recv(report, &byte, 1, 0) != 1 || write(go[1], "", 1) != 1)
		errx(1, "nobody wants a race");
	for (unsigned i = 1; i < WRITERS - 1; i++)
		if (pthread_create(&thread, NULL, body, &lane->word[i]))
			errx(1, "no thread");
	body(&lane->word[WRITERS - 1]);
	abort();
}

/* ---- who watches ---- */

static struct kept {
	uint64_t identity, word[WRITERS]; /* as they were when it was fenced */
} kept[VICTIMS][LIVES];

static _Atomic uint64_t wanted; /* whom the other thread is to remove; 0: done */

static void *remove_wanted(void *unused)
{
	for (;;) {
		struct apmp_call call = {
		    .request = {.identity = self, .op = APMP_CALL_REMOVE_INSTANCE}};

		while (!(call.request.arg[0] = apmp_load_acquire(&wanted)))
			sched_yield();
		do
			if (channel_call(&channel, &call))
				errx(1, "the console hung up");
		while (call.reply.error == -EINPROGRESS);
		if (call.reply.error)
			errx(1, "REMOVE_INSTANCE: %s", strerror(-call.reply.error));
		apmp_store_release(&wanted, 0);
	}
	return unused;
}

static void keep(uint64_t identity)
{
	struct kept *k = &kept[apmp_identity_id(identity) % VICTIMS]
			      [apmp_identity_incarnation(identity) % LIVES];

	k->identity = identity;
	for (unsigned i = 0; i < WRITERS; i++)
		k->word[i] = apmp_load_relaxed(&lane_of(identity)->word[i]);
}

/* Words of one life that have changed since they were kept; each change is told once.  When the
 * lane has got a new life it is that one's, which the tree tells before it can store. */
static uint64_t changed_of(struct kept *k)
{
	const struct lane *lane = lane_of(k->identity);
	uint64_t count = 0, present;

	for (unsigned i = 0; i < WRITERS; i++) {
		uint64_t now = apmp_load_acquire(&lane->word[i]);

		count += now != k->word[i];
		k->word[i] = now;
	}
	present = apmp_tree_present(&tree, apmp_identity_id(k->identity));
	if (apmp_identity_incarnation(present) < apmp_identity_incarnation(k->identity) + LIVES)
		return count;
	k->identity = 0;
	return 0;
}

static uint64_t changed(void)
{
	uint64_t count = 0;

	for (unsigned v = 0; v < VICTIMS; v++)
		for (unsigned l = 0; l < LIVES; l++)
			if (kept[v][l].identity)
				count += changed_of(&kept[v][l]);
	return count;
}

static struct verdict race(uint64_t identity, bool wrong)
{
	uint64_t begin = apmp_linux_now(NULL), fenced;
	struct verdict verdict = {.identity = identity};

	apmp_store_release(&wanted, identity);
	while (!wrong && apmp_tree_alive(&tree, identity))
		sched_yield();
	keep(identity);
	fenced = apmp_linux_now(NULL);
	verdict.fenced_ns = fenced - begin;
	do
		verdict.late_count += changed();
	while (apmp_linux_now(NULL) - fenced < LOOK_NS || apmp_load_acquire(&wanted));
	return verdict;
}

__attribute__((noreturn)) static void watch(void)
{
	bool wrong = getenv("APMP_RACE_WRONG") != NULL;
	struct verdict verdict;
	pthread_t remover;
	uint64_t identity;

	if (pthread_create(&remover, NULL, remove_wanted, NULL))
		errx(1, "no thread");
	say_hello(0);
	while (recv(report, &identity, sizeof(identity), 0) == (ssize_t)sizeof(identity)) {
		verdict = race(identity, wrong);
		if (send(report, &verdict, sizeof(verdict), MSG_NOSIGNAL) < 0)
			break;
	}
	exit(0);
}

static void *race_or_watch(void *unused)
{
	boot();
	if (apmp_identity_id(self) == 0)
		watch();
	be_victim();
	return unused;
}

/* The box makes the first thread urgent, for a clock, and ends it when it does not sleep: so that
 * one does nothing else. */
int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, race_or_watch, NULL))
		errx(1, "no thread");
	pthread_join(thread, NULL);
	return 1;
}
