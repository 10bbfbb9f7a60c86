/*
 * apmp-instance.c - an operating system instance boots from its HWRPB, and from nothing else.
 *
 * WHAT      The box starts it with three descriptors: its channel to the console, the memory of
 *           its HWRPB, and the socket for its programs (apps.c).  The HWRPB's CONFIG leads to the
 *           tree, the tree to its own partition node, memory and community; each is mapped by
 *           asking the console for its physical address.
 * LIMITS    A partition without base memory can't boot: CPUs need stacks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"

#define CHANNEL_FD 3
#define HWRPB_FD   4
#define PAGE_UP(n) (((n) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE)

#define INSTANCE_MAGIC UINT64_C(0x494e5354414e4345)

static struct instance the_one; /* too large for a stack */

__attribute__((noreturn)) static void cannot_boot(const char *what, int err)
{
	dprintf(STDERR_FILENO, "apmp-instance: can't boot: %s: %s\n", what, strerror(-err));
	_exit(INSTANCE_EXIT_BOOT);
}

static void map_hwrpb(struct instance *in)
{
	void *base = mmap(NULL, HWRPB_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, HWRPB_FD, 0);
	int err;

	if (base == MAP_FAILED)
		cannot_boot("mapping the HWRPB", -errno);
	err = apmp_hwrpb_check(base, HWRPB_SIZE);
	if (err)
		cannot_boot("the HWRPB", err);
	in->hwrpb = base;
	in->primary = apmp_load_relaxed(&in->hwrpb->primary);
	in->env.self = apmp_load_relaxed(&in->hwrpb->unique);
	in->timing = (struct apmp_timing){.tick_ns = apmp_load_relaxed(&in->hwrpb->tick_ns),
					  .stop_ns = apmp_load_relaxed(&in->hwrpb->stop_ns),
					  .suspect = apmp_load_relaxed(&in->hwrpb->suspect)};
}

static void *map(struct instance *in, const char *what, uint64_t pa, uint64_t size)
{
	void *base;
	int err = in->env.map(&in->env, pa, PAGE_UP(size), &base);

	if (err)
		cannot_boot(what, err);
	return base;
}

/* Maps the first page, learns the size, maps the whole [0081]. */
static void map_tree(struct instance *in)
{
	uint64_t pa = apmp_load_relaxed(&in->hwrpb->config), size;
	struct gct_header *header = map(in, "the configuration tree", pa, APMP_PAGE_SIZE);
	int err;

	size = apmp_load_relaxed(&header->size);
	in->env.unmap(&in->env, header, APMP_PAGE_SIZE);
	err = apmp_tree_init(&in->tree, map(in, "the configuration tree", pa, size), size);
	if (err)
		cannot_boot("the configuration tree", err);
}

/* APMP_TOUCH=256M: an instance with so much memory of its own in use, for who measures how long
 * that takes to die. */
static void touch(struct instance *in)
{
	const char *wish = getenv("APMP_TOUCH");
	uint64_t size = wish ? strtoull(wish, NULL, 10) << 20 : 0;

	for (uint64_t off = 0; off < size && off < in->stacks_size; off += APMP_PAGE_SIZE)
		*(volatile unsigned char *)(in->stacks + off) = 0;
}

/* The base fragment of our private memory holds the stacks of all threads but the first two, which
 * begin before it is mapped: clock and primary. */
static void map_private(struct instance *in, int32_t self)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;
	struct apmp_tree_fragment f;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&in->tree, &walk, GCT_MEMORY_DESC, &node) > 0) {
		for (uint32_t i = 0; apmp_tree_fragment(&in->tree, node.handle, i, &f) == 0; i++) {
			if (f.owner != self || !(f.flags & GCT_MEM_BASE))
				continue;
			in->stacks = map(in, "private memory", f.pa, f.size);
			in->stacks_size = f.size;
			touch(in);
			return;
		}
	}
	cannot_boot("no base memory in the configuration tree", -ENOMEM);
}

/* The primary: boots the others. */
static void *primary_main(void *arg)
{
	struct instance *in = arg;
	struct apmp_tree_partition self;
	uint64_t pa;
	char name[16];
	int err;

	channel_init(&in->channel, CHANNEL_FD);
	instance_env_init(in);
	map_hwrpb(in);
	snprintf(name, sizeof(name), "cpu %u", in->primary);
	(void)pthread_setname_np(pthread_self(), name); /* for top -H and gdb */
	instance_thread_is(in->primary);
	in->recorder = map(in, "the flight recorder", apmp_load_relaxed(&in->hwrpb->recorder),
			   APMP_RECORDER_SIZE);
	apmp_store_relaxed(&in->recorder->identity, in->env.self);
	apmp_linux_panic_into(in->recorder);
	in->env.armed = &in->recorder->armed;
	instance_beacon(in, in->primary);
	map_tree(in);
	in->env.lines =
	    map(in, "the interrupt lines", apmp_load_relaxed(&in->hwrpb->intr), APMP_INTR_SIZE);
	in->env.line_count = APMP_MAX_CPUS; /* there is one for each CPU that may ever come */
	pa = apmp_load_relaxed(&in->hwrpb->pa);
	err = apmp_tree_find_self(&in->tree, pa, &self);
	if (err)
		cannot_boot("no partition has this HWRPB", err);
	in->id = self.id;
	map_private(in, self.node.handle);
	err = apmp_member_init(&in->member, &in->env, &in->tree, pa, &in->timing,
			       &in->hwrpb->potential);
	if (err && err != -ENODEV)
		cannot_boot("the community", err);
	in->in_community = !err;
	apmp_locks_init(&in->member, &in->locks);
	instance_crash_init(in);
	tasks_init(in);
	instance_primary(in);
}

int main(void)
{
	struct instance *in = &the_one;
	pthread_t primary;
	int err;

	in->magic = INSTANCE_MAGIC;
	sem_init(&in->clock_start, 0, 0);
	err = -pthread_create(&primary, NULL, primary_main, in);
	if (err)
		cannot_boot("a thread for the primary CPU", err);
	instance_clock(in);
}
