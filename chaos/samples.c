/*
 * samples.c - who owns and who runs each CPU, sampled from outside all the time.
 *
 * WHAT      A sample reads tree, available bits, the console's transit words and the execution
 *           words, and counts when no update of the tree was made meanwhile: by the levels of the
 *           root, as any reader of the tree [0117].  In each one holds:
 *             - a CPU is available to at most one life, the one that current_owner names;
 *             - a CPU whose owner lives and can use it is nobody's only while it is marked in
 *               transit; of an owner whose end is under way (`ending`) it waits for the next life;
 *             - whoever lives and executes on a CPU is its current owner.
 * ORDERING  Execution words change outside of updates: each is read before and behind the rest, and
 *           judged when neither it nor the count of takings has changed.  `ending` too; but it is
 *           written before the update that leaves a CPU out for it, and names its life for good.
 * LIMITS    It sees what stands still for as long as a sample takes, some microseconds.
 */
#include "chaos/samples.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "shm/shared.h"

/* A CPU as one sample sees it. */
struct seen {
	struct apmp_tree_node node;
	uint64_t transit, runner, taken;
	uint64_t available; /* partitions, by id, that live and to which it is available */
};

struct sample {
	uint64_t life[APMP_MAX_PARTITIONS];   /* identity of the present life, 0 none */
	uint64_t ending[APMP_MAX_PARTITIONS]; /* that of the life that was last told to end */
	struct seen cpu[APMP_MAX_CPUS];
};

static uint64_t flags_of(const struct hwrpb *h, uint32_t cpu_idx)
{
	return apmp_load_acquire(&h->slot[cpu_idx].flags);
}

static void see_lives(const struct samples *s, struct sample *ret)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct hwrpb *h = s->outside.hwrpb[id];
		struct apmp_tree_partition p;

		ret->life[id] = 0;
		ret->ending[id] = apmp_load_acquire(&s->outside.state->partition[id].ending);
		/* One that ends has given up its CPUs before it is fenced. */
		if (h && apmp_tree_partition(&s->outside.tree, id, &p) == 0 &&
		    p.node.flags & NODE_INITIALIZED)
			ret->life[id] = apmp_tree_present(&s->outside.tree, id);
	}
}

static bool see_cpu(const struct samples *s, const struct sample *sample, uint32_t cpu_idx,
		    struct seen *ret)
{
	const struct apmp_intr_line *line = &s->outside.lines[cpu_idx];

	ret->taken = apmp_load_acquire(&line->taken);
	ret->runner = apmp_load_acquire(&line->runner);
	ret->transit = apmp_load_acquire(&s->outside.state->transit[cpu_idx]);
	ret->available = 0;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (sample->life[id] && flags_of(s->outside.hwrpb[id], cpu_idx) & HWRPB_PA)
			ret->available |= UINT64_C(1) << id;
	return apmp_tree_node(&s->outside.tree, s->cpu[cpu_idx], &ret->node) == 0;
}

/* Whether it was the same one who ran on the CPU all the time. */
static bool runner_stood(const struct samples *s, uint32_t cpu_idx, const struct seen *cpu)
{
	const struct apmp_intr_line *line = &s->outside.lines[cpu_idx];

	return apmp_load_acquire(&line->runner) == cpu->runner &&
	       apmp_load_acquire(&line->taken) == cpu->taken;
}

static bool violated(struct samples *s, uint32_t cpu_idx, const struct seen *cpu, const char *what)
{
	snprintf(s->what, sizeof(s->what),
		 "CPU %u %s: owner %d, current owner %d, available to partitions %#" PRIx64
		 ", in transit %#" PRIx64 ", runs %#" PRIx64,
		 cpu_idx, what, cpu->node.owner, cpu->node.current_owner, cpu->available,
		 cpu->transit, cpu->runner);
	atomic_store_explicit(&s->violated, true, memory_order_release);
	return false;
}

static uint64_t bit_of(const struct samples *s, const struct sample *sample, int32_t owner)
{
	uint32_t id = owner ? apmp_tree_owner_id(&s->outside.tree, owner) : APMP_NO_PARTITION;

	return id != APMP_NO_PARTITION && sample->life[id] ? UINT64_C(1) << id : 0;
}

/* Whether a CPU of this owner that is not on its way should be his: he runs on and can use it. */
static bool owner_has_it(const struct samples *s, const struct sample *sample, uint32_t cpu_idx)
{
	uint32_t id = apmp_tree_owner_id(&s->outside.tree, sample->cpu[cpu_idx].node.owner);

	return id != APMP_NO_PARTITION && sample->life[id] &&
	       sample->life[id] != sample->ending[id] &&
	       flags_of(s->outside.hwrpb[id], cpu_idx) & HWRPB_COMPATIBLE;
}

static bool judge(struct samples *s, const struct sample *sample, uint32_t cpu_idx)
{
	const struct seen *cpu = &sample->cpu[cpu_idx];
	uint64_t current = bit_of(s, sample, cpu->node.current_owner);
	uint32_t runs = apmp_identity_id(cpu->runner);

	if (cpu->available & (cpu->available - 1))
		return violated(s, cpu_idx, cpu, "is available twice");
	if (cpu->available != current)
		return violated(s, cpu_idx, cpu, "is not available to its current owner alone");
	if (!cpu->node.current_owner && !cpu->transit && owner_has_it(s, sample, cpu_idx))
		return violated(s, cpu_idx, cpu, "is nowhere, and not in transit");
	if (runs != APMP_NO_PARTITION && sample->life[runs] == cpu->runner &&
	    current != UINT64_C(1) << runs && runner_stood(s, cpu_idx, cpu))
		return violated(s, cpu_idx, cpu, "is run by another than its current owner");
	if (cpu->transit)
		atomic_fetch_add_explicit(&s->in_transit, 1, memory_order_relaxed);
	return true;
}

/* False: it was none, for the tree was changed meanwhile. */
static bool see(const struct samples *s, struct sample *ret)
{
	uint64_t before, behind;
	bool good = apmp_tree_level(&s->outside.tree, &before) == 0;

	if (!good)
		return false;
	see_lives(s, ret);
	for (uint32_t i = 0; i < s->cpu_count && good; i++)
		good = !s->cpu[i] || see_cpu(s, ret, i, &ret->cpu[i]);
	atomic_thread_fence(memory_order_acquire);
	return good && apmp_tree_level(&s->outside.tree, &behind) == 0 && before == behind;
}

static void *samples_main(void *arg)
{
	static const struct timespec pause = {.tv_nsec = 20000};
	struct samples *s = arg;
	struct sample sample = {0};
	bool good = true;

	while (good && !atomic_load_explicit(&s->stop, memory_order_acquire)) {
		if (!see(s, &sample))
			continue;
		for (uint32_t i = 0; i < s->cpu_count && good; i++)
			good = !s->cpu[i] || judge(s, &sample, i);
		atomic_fetch_add_explicit(&s->taken, 1, memory_order_relaxed);
		nanosleep(&pause, NULL); /* it is not to have a host CPU for itself */
	}
	return NULL;
}

static int find_cpus(struct samples *s)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	int r;

	apmp_tree_walk_init(&walk, 0);
	while ((r = apmp_tree_walk_type(&s->outside.tree, &walk, GCT_CPU, &n)) > 0) {
		if (n.id >= APMP_MAX_CPUS)
			continue;
		s->cpu[n.id] = n.handle;
		if (n.id >= s->cpu_count)
			s->cpu_count = (uint32_t)n.id + 1;
	}
	return r;
}

int samples_begin(struct samples *s, const struct machine *machine)
{
	int err = outside_open(machine, &s->outside);

	if (err)
		return err;
	err = find_cpus(s);
	if (!err)
		err = -pthread_create(&s->thread, NULL, samples_main, s);
	if (err)
		outside_close(&s->outside);
	return err;
}

void samples_end(struct samples *s)
{
	atomic_store_explicit(&s->stop, true, memory_order_release);
	pthread_join(s->thread, NULL);
	outside_close(&s->outside);
}
