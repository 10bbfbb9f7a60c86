/*
 * nvram_deaths.c - before or after, never neither: a writer of NVRAM dies at every step.
 *
 * WHAT      A history of up to three generations, the last perhaps damaged since, is what stands
 *           before.  Then one more write, in which the process dies in place of step 1, 2, ...
 *           until there are no more.  After each death: a next power on finds before or after; what
 *           it has found, a host that goes down now does not take away again; a host that went down
 *           at that very moment, in each way that the disk allows, leaves before or after; and the
 *           next write works.  What was answered with 0 is there after everything.
 *           The same write once for each operation that the disk may refuse: an error leaves what
 *           stood before, without a host that goes down.
 */
#include "chaos/sim/nvram_deaths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaos/sim/random.h"

#define MACHINE "trio"
#define NOTHING UINT32_MAX

/* Contents are known by their number in the history. */
struct history {
	struct apmp_env env; /* first: its points find the rest */
	struct nvram_deaths *run;
	struct sim_disk disk;
	enum apmp_point last_point;
	uint32_t before, after;
};

/* All differ: the first byte is the number, and only the second contents may be empty. */
static uint32_t contents_of(const struct nvram_deaths *run, uint32_t number, uint8_t *to)
{
	static const uint32_t sizes[] = {0, 1, 7, 439, 440, 441, 512, 1000, SIM_DISK_ROOM - 72};
	struct sim_random random = {sim_mix(run->seed ^ (uint64_t)number << 32)};
	uint32_t size = sizes[sim_random_below(&random, sizeof(sizes) / sizeof(sizes[0]))];

	if (size == 0 && number != 1)
		size = 1;
	for (uint32_t i = 0; i < size; i++)
		to[i] = (uint8_t)(i ? sim_random_below(&random, 256) : number);
	return size;
}

static void pass(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	struct history *h = (struct history *)env;

	(void)arg;
	h->last_point = point;
	if (h->run->on_point)
		h->run->on_point(point);
	sim_disk_step(&h->disk);
}

/* 0 and -errno as the write gives them; 1: it died. */
static int write_or_die(struct history *h, uint32_t number)
{
	uint8_t contents[SIM_DISK_ROOM];
	uint32_t size = contents_of(h->run, number, contents);
	uint64_t generation;

	if (setjmp(h->disk.death))
		return 1;
	return apmp_nvram_write(&h->env, &h->disk.disk, MACHINE, contents, size, &generation);
}

/* Which contents of the history are found; NOTHING; -1 in *ret_error: what is none of them. */
static uint32_t find(struct history *h, int *ret_error)
{
	uint8_t found[SIM_DISK_ROOM], wanted[SIM_DISK_ROOM];
	struct apmp_nvram_found about;
	int error = apmp_nvram_read(&h->disk.disk, MACHINE, found, sizeof(found), &about);

	*ret_error = error == -ENOENT || error == -EBADMSG ? 0 : error;
	if (error)
		return NOTHING;
	/* The next write after the one that is looked at counts too. */
	for (uint32_t number = 0; number <= h->after + 1; number++)
		if (about.size == contents_of(h->run, number, wanted) &&
		    memcmp(found, wanted, about.size) == 0)
			return number;
	*ret_error = -EILSEQ;
	return NOTHING;
}

static void complain(struct history *h, const char *what, uint32_t found, int error)
{
	struct nvram_deaths *run = h->run;

	if (run->finding[0])
		return;
	if (error)
		snprintf(run->finding, sizeof(run->finding),
			 "%s, step %llu: found what never was: %s", what,
			 (unsigned long long)run->steps, strerror(-error));
	else
		snprintf(run->finding, sizeof(run->finding),
			 "%s, step %llu: found %d; before was %d, after %d", what,
			 (unsigned long long)run->steps, (int)found, (int)h->before, (int)h->after);
}

/* What is found must be one of the two; gives it. */
static uint32_t must_find(struct history *h, uint32_t one, uint32_t other, const char *what)
{
	int error;
	uint32_t found = find(h, &error);

	if (error || (found != one && found != other))
		complain(h, what, found, error);
	return found;
}

/* Each way in which the host may go down now. */
static void crash_each_way(const struct history *h, uint32_t one, uint32_t other, const char *what)
{
	static struct history then;
	uint64_t ways = UINT64_C(1) << h->disk.change_count;

	for (uint64_t kept = 0; kept < ways; kept++)
		for (uint32_t fate = 0; fate < SIM_DISK_FATES; fate++) {
			then = *h;
			then.disk.die_at = 0;
			sim_disk_crash(&then.disk, kept, fate, h->run->seed ^ h->disk.steps << 8);
			h->run->crashes++;
			must_find(&then, one, other, what);
		}
}

/* It goes on: one more write, which is found. */
static void go_on(const struct history *h)
{
	static struct history then;
	uint32_t next = h->after;
	int error;

	then = *h;
	then.disk.die_at = then.disk.fail_at = 0;
	if (find(&then, &error) == h->after)
		next = h->after + 1;
	error = write_or_die(&then, next);
	if (error)
		complain(&then, "the next write", NOTHING, error);
	else
		must_find(&then, next, next, "after the next write");
	crash_each_way(&then, next, next, "after the next write and a crash");
}

/* What stands before; the last generation may have been damaged since. */
static void begin(struct history *h, struct nvram_deaths *run)
{
	struct sim_random random = {sim_mix(run->seed ^ 0x6e7672616dULL)};
	uint32_t count = (uint32_t)sim_random_below(&random, 4);
	uint64_t *size;
	uint8_t *bytes;

	memset(h, 0, sizeof(*h));
	h->env.point = pass;
	h->run = run;
	sim_disk_init(&h->disk);
	h->before = NOTHING;
	for (uint32_t number = 0; number < count; number++) {
		int error = write_or_die(h, number);

		h->before = number;
		if (error)
			complain(h, "the history", NOTHING, error);
	}
	bytes = sim_disk_bytes(&h->disk, apmp_nvram_name((count + 1) % 2), &size);
	if (bytes && sim_random_once_in(&random, 3)) {
		bytes[sim_random_below(&random, *size)] ^= 0x10;
		h->before = count > 1 ? count - 2 : NOTHING;
	}
	h->after = h->before + 1; /* NOTHING + 1 is 0 */
	h->last_point = APMP_P_NONE;
}

/* False: the write ended before step n. */
static bool die_at(struct nvram_deaths *run, uint64_t n)
{
	static struct history h;
	uint32_t found;
	int error;

	begin(&h, run);
	h.disk.die_at = h.disk.steps + n;
	error = write_or_die(&h, h.after);
	if (error != 1) {
		h.disk.die_at = 0;
		if (error)
			complain(&h, "a write that nothing stood in the way of", NOTHING, error);
		must_find(&h, h.after, h.after, "after a write");
		crash_each_way(&h, h.after, h.after, "after a write and a crash");
		return false;
	}
	run->deaths++;
	run->steps = n;
	if (run->only && run->deaths != run->only)
		return true;
	if (run->on_death)
		run->on_death(run->deaths, h.last_point);
	crash_each_way(&h, h.before, h.after, "a death with its host");
	h.disk.die_at = 0;
	found = must_find(&h, h.before, h.after, "a death");
	crash_each_way(&h, found, found, "a death, a power on, and a crash");
	go_on(&h);
	return true;
}

/* False: the write has fewer operations. */
static bool refuse_at(struct nvram_deaths *run, uint64_t n, int error)
{
	static struct history h;
	int got;

	begin(&h, run);
	h.disk.fail_at = h.disk.operations + n;
	h.disk.fail_error = error;
	got = write_or_die(&h, h.after);
	if (h.disk.operations < h.disk.fail_at)
		return false;
	run->refusals++;
	/* A file that could not be read is replaced like any that is not good, so 0 is right
	 * too. */
	if (got != 0 && got != error)
		complain(&h, "another error than the disk's", NOTHING, got);
	must_find(&h, got ? h.before : h.after, got ? h.before : h.after, "a refused operation");
	go_on(&h);
	return true;
}

void nvram_die_everywhere(struct nvram_deaths *run)
{
	for (uint64_t n = 1; !run->finding[0] && die_at(run, n); n++)
		;
	for (uint64_t n = 1; !run->only && !run->finding[0] && refuse_at(run, n, -EIO); n++)
		;
	for (uint64_t n = 1; !run->only && !run->finding[0] && refuse_at(run, n, -ENOSPC); n++)
		;
}
