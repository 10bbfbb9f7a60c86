/*
 * migrate.c - what shm/cpu_move.c needs of the console: partitions by id, and the host CPUs that
 * follow the CPUs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/console.h"
#include "shm/shared.h"

static struct console *console_of(struct apmp_cpu_mover *m)
{
	return (struct console *)(void *)((unsigned char *)m - offsetof(struct console, mover));
}

void console_host_cpus(const struct partition *p, uint64_t cpus[16])
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	memset(cpus, 0, 16 * sizeof(cpus[0]));
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&p->console->tw.tree, &walk, GCT_CPU, &n) > 0) {
		uint32_t host;

		if (n.current_owner != p->handle)
			continue;
		host = p->console->host_cpu[n.id % APMP_MAX_CPUS];
		if (host < 1024)
			cpus[host / 64] |= UINT64_C(1) << host % 64;
	}
}

static int set_cpuset(struct partition *p, const uint64_t cpus[16],
		      struct apmp_box_event *ret_event)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_CPUSET,
	    .id = p->id,
	    .arg = {p->capacity_told ? p->capacity : console_capacity_renew(p)}};
	int err;

	if (memcmp(cpus, p->host_cpus, sizeof(p->host_cpus)) == 0)
		return 0; /* other CPUs on the same host CPUs */
	memcpy(request.cpus, cpus, sizeof(request.cpus));
	snprintf(request.text, sizeof(request.text), "%s", p->name);
	err = box_link_call(&p->console->box, &request, NULL, 0, ret_event, NULL);
	if (err) /* the box has undone it */
		fprintf(stderr, "apmp-console: host CPUs of partition %s: %s\n", p->name,
			ret_event->text);
	else
		memcpy(p->host_cpus, cpus, sizeof(p->host_cpus));
	return err;
}

/* The set that the mover wants: grown by a CPU that is about to come, or as the tree is. */
static int follow_cpus(struct apmp_cpu_mover *m, uint32_t id, uint32_t more)
{
	struct partition *p = &console_of(m)->partition[id];
	struct apmp_box_event *event = &console_of(m)->host_said;
	uint64_t cpus[16];
	uint32_t host;

	if (!p->pid)
		return 0;
	console_host_cpus(p, cpus);
	host = more < APMP_MAX_CPUS ? p->console->host_cpu[more] : UINT32_MAX;
	if (host < 1024) /* else more than the box's sets have; never asked for */
		cpus[host / 64] |= UINT64_C(1) << host % 64;
	return set_cpuset(p, cpus, event);
}

void console_set_cpuset(struct partition *p)
{
	/* A set that is refused stays as it was: larger than it should be, never empty. */
	(void)follow_cpus(&p->console->mover, p->id, APMP_MAX_CPUS);
}

static struct hwrpb *hwrpb_of(struct apmp_cpu_mover *m, uint32_t id)
{
	const struct partition *p = id < APMP_MAX_PARTITIONS ? &console_of(m)->partition[id] : NULL;

	return p && p->exists ? p->hwrpb : NULL;
}

static uint64_t life_of(struct apmp_cpu_mover *m, uint32_t id)
{
	const struct partition *p = &console_of(m)->partition[id];
	uint64_t life = p->exists && p->pid ? console_identity(p) : 0;

	return life != apmp_load_relaxed(&console_of(m)->state->partition[id].ending) ? life : 0;
}

static uint64_t targets_of(struct apmp_cpu_mover *m, uint32_t id, uint32_t cpu_idx)
{
	return apmp_load_relaxed(&console_of(m)->state->partition[id].failover[cpu_idx]);
}

void console_mover_init(struct console *c)
{
	c->mover = (struct apmp_cpu_mover){.tw = &c->tw,
					   .transit = c->state->transit,
					   .arrival = c->state->arrival,
					   .source = c->state->source,
					   .hwrpb = hwrpb_of,
					   .life = life_of,
					   .targets = targets_of,
					   .host_cpus = follow_cpus};
}

int console_migrate(struct partition *from, uint32_t cpu_idx, uint32_t to_id, uint32_t how,
		    void (*within)(void *ctx), void *ctx)
{
	struct console *c = from->console;
	int err = apmp_cpu_migrate(&c->mover, from->id, cpu_idx, to_id, how, within, ctx);

	if (!err && !(how & APMP_MIGRATE_LOAN))
		console_save_again(c);
	return err;
}
