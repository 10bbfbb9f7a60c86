/*
 * migrate.c - the console's part of a CPU's migration: Figs. 9 and 22A to 23.
 *
 * WHAT      MIGRATE_CPU comes from the CPU itself, which has saved its state and given up the
 *           execution word.  Two updates of tree and HWRPBs: the CPU departs (in transit, null
 *           current_owner, owner still the source), the cpusets are rewritten, the CPU arrives.
 * STATES    state->transit[cpu] is the source's identity from departure to arrival; both updates
 *           write it, so tree and word agree after a repair.  state->arrival[cpu] is the receiver's
 *           from arrival until STARTREQ was sent.  state->source[cpu] only says whom to name in the
 *           event when the CPU is active; it is cleared when the CPU returns or its life ends.
 * CRASHES   In transit: the next console lets the CPU arrive at whom `transit` names, its last
 *           confirmed user (of a loan that ended, its owner); a source in PAL MIGRATE, told to ask
 *           again, then asks again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console/console.h"
#include "shm/pal.h"
#include "shm/shared.h"

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
	if (err)
		fprintf(stderr, "apmp-console: host CPUs of partition %s: %s\n", p->name,
			ret_event->text);
	else
		memcpy(p->host_cpus, cpus, sizeof(p->host_cpus));
	return err;
}

void console_set_cpuset(struct partition *p)
{
	struct apmp_box_event event;
	uint64_t cpus[16];

	console_host_cpus(p, cpus);
	/* A set that is refused stays as it was: larger than it should be, never empty. */
	if (p->pid)
		(void)!set_cpuset(p, cpus, &event);
}

/* The errors that the console's rules give; 0 when the CPU may go. */
static int validate(struct partition *from, struct partition *to, uint32_t cpu_idx)
{
	struct console *c = from->console;
	int err = apmp_pal_validate(&c->tw.tree, from->id, cpu_idx, to->id);

	if (err)
		return err;
	if (!to->exists || !to->pid || to->fencing || from->fencing)
		return -EHOSTDOWN;
	if (!(apmp_hwrpb_flags(to->hwrpb, cpu_idx) & HWRPB_COMPATIBLE))
		return -ENOEXEC;
	return 0;
}

/* The receiver's set grows before the CPU is there, the sender's shrinks once it is gone. */
static int grow_cpuset(struct partition *to, uint32_t cpu_idx, struct apmp_box_event *ret_event)
{
	uint64_t cpus[16];
	uint32_t host = to->console->host_cpu[cpu_idx];

	console_host_cpus(to, cpus);
	if (host >= 1024) /* more than the box's sets have; never asked for */
		return 0;
	if (cpus[host / 64] >> host % 64 & 1)
		return 0;
	cpus[host / 64] |= UINT64_C(1) << host % 64;
	return set_cpuset(to, cpus, ret_event);
}

static struct apmp_cpu_words words_of(struct console *c, uint32_t cpu_idx)
{
	return (struct apmp_cpu_words){.transit = &c->state->transit[cpu_idx],
				       .arrival = &c->state->arrival[cpu_idx]};
}

int console_migrate(struct partition *from, uint32_t cpu_idx, uint32_t to_id, bool loan,
		    void (*within)(void *ctx), void *ctx)
{
	struct console *c = from->console;
	struct apmp_cpu_words words;
	struct partition *to;
	struct apmp_tree_node cpu;
	struct apmp_box_event event;
	int err;

	if (cpu_idx >= c->cpu_count || to_id >= APMP_MAX_PARTITIONS ||
	    apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu))
		return -ENXIO;
	to = &c->partition[to_id];
	err = validate(from, to, cpu_idx);
	if (err)
		return err;
	words = words_of(c, cpu_idx);
	apmp_cpu_depart(&c->tw, &cpu, from->hwrpb, from->id, &words, console_identity(from));
	err = grow_cpuset(to, cpu_idx, &event);
	if (err) {
		apmp_cpu_arrive(&c->tw, &cpu, from->hwrpb, from->id, from->handle, true, &words, 0);
		return err;
	}
	apmp_store_relaxed(&c->state->source[cpu_idx], console_identity(from));
	words.within = within;
	words.ctx = ctx;
	apmp_cpu_arrive(&c->tw, &cpu, to->hwrpb, to->id, to->handle, loan, &words,
			console_identity(to));
	console_send_startreq(to, cpu_idx);
	console_set_cpuset(from);
	if (!loan)
		console_save_again(c);
	return 0;
}

bool console_cpu_may_come(const struct partition *to, uint32_t cpu_idx)
{
	return to->pid && !to->fencing && console_identity(to) &&
	       apmp_hwrpb_flags(to->hwrpb, cpu_idx) & HWRPB_COMPATIBLE;
}

int console_cpu_comes(struct partition *to, const struct apmp_tree_node *cpu,
		      struct apmp_box_event *ret_event)
{
	struct console *c = to->console;
	uint32_t cpu_idx = (uint32_t)cpu->id;
	int err = grow_cpuset(to, cpu_idx, ret_event);

	if (err)
		return err;
	apmp_hwrpb_set_flags(&c->update, to->hwrpb, to->id, cpu_idx, 0, HWRPB_PA);
	apmp_tree_set_current_owner(&c->tw, cpu->handle, to->handle);
	apmp_update_store64(&c->update, APMP_OBJECT_STATE, &c->state->arrival[cpu_idx],
			    console_identity(to));
	return 0;
}

void console_send_startreq(struct partition *to, uint32_t cpu_idx)
{
	_Atomic uint64_t *arrival = &to->console->state->arrival[cpu_idx];

	if (apmp_load_relaxed(arrival) != console_identity(to))
		return;
	apmp_hwrpb_startreq(&to->console->env, to->hwrpb, cpu_idx);
	apmp_store_release(arrival, 0); /* a console that dies before this sends it twice */
}

void console_settle_transit(struct console *c, uint32_t cpu_idx)
{
	struct apmp_cpu_words words = words_of(c, cpu_idx);
	uint64_t identity = apmp_load_relaxed(words.transit), owed = 0;
	struct partition *to;
	struct apmp_tree_node cpu;
	struct apmp_box_event event;
	uint32_t id = apmp_identity_id(identity);

	if (!identity || id == APMP_NO_PARTITION || apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu))
		return;
	to = &c->partition[id];
	apmp_store_relaxed(&c->state->source[cpu_idx], 0); /* it returns: no migration */
	/* Its thread may still be in PAL MIGRATE, or on its way to park: STARTREQ waits for that,
	 * and starts nobody if the CPU has left again by then. */
	if (to->pid && identity == console_identity(to)) {
		owed = identity;
		(void)!grow_cpuset(to, cpu_idx,
				   &event); /* refused: it runs where the partition may */
	}
	apmp_cpu_arrive(&c->tw, &cpu, to->hwrpb, id, to->handle, true, &words, owed);
	console_send_startreq(to, cpu_idx);
}

void console_migration_done(struct console *c, uint32_t cpu_idx, struct partition *at)
{
	struct migration *m = &c->migration[cpu_idx];
	uint64_t elapsed = c->env.now(&c->env) - m->begin_ns;
	uint32_t from = apmp_identity_id(apmp_swap(&c->state->source[cpu_idx], 0));

	if (!m->active && from < APMP_MAX_PARTITIONS) /* its console has died: who asked is gone */
		console_event(c, "cpu.migrated", at, "{s:i,s:s}", "cpu", (int)cpu_idx, "from",
			      c->partition[from].name);
	if (!m->active || m->to != at->id)
		return;
	m->active = false;
	console_event(c, "cpu.migrated", at, "{s:i,s:s,s:I}", "cpu", (int)cpu_idx, "from",
		      c->partition[m->from].name, "elapsed_ns", (json_int_t)elapsed);
	if (m->call)
		varlink_call_reply(m->call,
				   json_pack("{s:s,s:s,s:I}", "from", c->partition[m->from].name,
					     "to", at->name, "elapsed_ns", (json_int_t)elapsed));
	m->call = NULL;
}

void console_migration_refuse(struct varlink_call *call, uint32_t cpu_idx,
			      const struct partition *from, const struct partition *to, int err)
{
	json_t *cpu_and_partition =
	    json_pack("{s:i,s:s}", "cpu", (int)cpu_idx, "partition", from->name);

	if (err == -EBUSY) {
		varlink_call_error(call, "PrimaryCpu", cpu_and_partition);
		return;
	}
	if (err == -ENOEXEC) {
		json_object_set_new(cpu_and_partition, "partition", json_string(to->name));
		varlink_call_error(call, "Incompatible", cpu_and_partition);
		return;
	}
	json_decref(cpu_and_partition);
	if (err == -EAGAIN)
		varlink_call_error(call, "Busy", json_pack("{s:s}", "what", "the same CPU"));
	else if (err == -EHOSTDOWN)
		varlink_call_error(
		    call, "NotRunning",
		    json_pack("{s:s,s:s}", "partition", to->name, "state", console_state_text(to)));
	else if (err == -EXDEV)
		varlink_call_error(call, "Refused",
				   json_pack("{s:s+}", "reason",
					     "the partitions are in different communities",
					     ": only partitions of one community trade CPUs"));
	else
		varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", strerror(-err)));
}

void console_migration_failed(struct console *c, uint32_t cpu_idx, int err, struct partition *died)
{
	struct migration *m = &c->migration[cpu_idx];
	struct partition *from = &c->partition[m->from], *to = &c->partition[m->to];

	if (!m->active || (died && died != from && died != to))
		return;
	m->active = false;
	if (!died)
		console_event(c, "cpu.refused", from, "{s:i,s:s}", "cpu", (int)cpu_idx, "reason",
			      strerror(-err));
	if (m->call && died)
		varlink_call_error(
		    m->call, "PartitionDied",
		    json_pack("{s:s,s:s}", "partition", died->name, "during", "migration"));
	else if (m->call)
		console_migration_refuse(m->call, cpu_idx, from, to, err);
	m->call = NULL;
}
