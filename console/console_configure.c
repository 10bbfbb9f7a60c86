/*
 * console_configure.c - a change of the configuration: rules, update, and what follows [0113-0117].
 *
 * WHAT      shm/configure.c checks and changes the tree; in the same update the console adds what
 *           belongs to it: HWRPB flags of CPUs that leave or reach a partition, the count of
 *           permanent changes, and what the caller adds (the record of a callback).  A CPU that an
 *           update gives to a running partition, and that nobody uses, goes there at once [0105,
 *           0108]; everything else waits for the new owner's initialization [0103].
 * CRASHES   Before the commit: undone, objects made for a new partition are dropped by the next
 *           console (partitions.c).  After it: the next console opens what the tree has, sends the
 *           STARTREQ that is owed (`arrival`), and frees memory that nobody owns.  START_PARTITION
 *           has its record in the update that begins the life (lifecycle.c).
 * NOT HERE  The rules (shm/configure.c); hot swap (hardware.c).
 */
#include "console/console_configure.h"

#include <errno.h>
#include <string.h>

#include "console/cpu_tables.h"
#include "shm/assert.h"
#include "shm/shared.h"

void console_permanent(struct console *c)
{
	_Atomic uint64_t *level = &c->state->permanent_level;

	apmp_update_store64(&c->update, APMP_OBJECT_STATE, level, apmp_load_relaxed(level) + 1);
}

bool console_tree_locked(struct console *c, struct apmp_configured *ret_why)
{
	/* There is no such community, so it is refused; when the tree is locked, for that. */
	const struct apmp_call_request r = {.op = APMP_CALL_DELETE_COMMUNITY};

	return apmp_configure(&c->tw, &r, APMP_ADMINISTRATOR, ret_why) &&
	       ret_why->reason == APMP_REASON_LOCKED;
}

/* The host refused what the change needs: it is taken back. */
static int host_refuses(struct console *c, const struct apmp_box_event *event,
			struct apmp_configured *ret)
{
	apmp_update_abort(&c->update);
	*ret = (struct apmp_configured){.reason = APMP_REASON_NONE};
	if (event->error == -ENOMEM) {
		ret->reason = APMP_REASON_NO_MEMORY;
		ret->ret[0] = event->arg[0];
		ret->ret[1] = event->arg[1];
	}
	return event->error;
}

/* The node whose CPU, if it is one, follows its new owner. */
static int32_t assigned_node(const struct apmp_call_request *r)
{
	return r->op == APMP_CALL_ASSIGN || r->op == APMP_CALL_DEASSIGN ||
		       r->op == APMP_CALL_REASSIGN
		   ? (int32_t)r->arg[0]
		   : GCT_NONE;
}

/* An instance gives up a CPU that it still runs on: the next user would find it taken. */
static bool is_running(struct console *c, const struct apmp_call_request *r, int32_t by)
{
	bool gives_up = r->op == APMP_CALL_REASSIGN || (r->op == APMP_CALL_DEASSIGN && r->arg[1]);
	const struct partition *p = gives_up ? console_partition_of(c, by) : NULL;
	struct apmp_tree_node cpu;

	return p && r->arg[0] <= INT32_MAX &&
	       apmp_tree_node(&c->tw.tree, (int32_t)r->arg[0], &cpu) == 0 && cpu.type == GCT_CPU &&
	       cpu.current_owner == by && cpu.id < APMP_MAX_CPUS &&
	       apmp_load_acquire(&c->env.lines[cpu.id].runner) == console_identity(p);
}

static void tell(struct console *c, const struct apmp_call_request *r, int32_t by, const char *what)
{
	static const char *const names[] = {
#define X(name, value, text) [value] = text,
	    APMP_CALLS(X)
#undef X
	};
	const struct partition *asker = console_partition_of(c, by);

	console_event(c, "tree.changed", NULL, "{s:s,s:s*,s:s}", "change", names[r->op], "what",
		      what[0] ? what : NULL, "by", asker ? asker->name : "administrator");
}

/* The I/O buses of a partition that died were reset [0263]. */
static void tell_reset(struct console *c, uint32_t id)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node bus;
	char name[64];

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_BUS, &bus) > 0) {
		if (bus.owner != c->partition[id].handle)
			continue;
		console_name(c, bus.handle, name, sizeof(name));
		console_event(c, "bus.reset", &c->partition[id], "{s:s}", "bus", name);
	}
}

/* What the request is about, for people; before a deletion takes its name away. */
static void name_target(struct console *c, const struct apmp_call_request *r, char *ret_name,
			size_t size)
{
	switch (r->op) {
	case APMP_CALL_CREATE_COMMUNITY:
	case APMP_CALL_CREATE_PARTITION:
		snprintf(ret_name, size, "%s \"%.*s\"",
			 r->op == APMP_CALL_CREATE_COMMUNITY ? "community" : "partition",
			 (int)sizeof(r->text), r->text);
		break;
	case APMP_CALL_ASSIGN_MEMORY:
	case APMP_CALL_DEASSIGN_MEMORY:
		snprintf(ret_name, size, "memory %#llx", (unsigned long long)r->arg[0]);
		break;
	case APMP_CALL_LOCK_TREE:
	case APMP_CALL_UNLOCK_TREE:
	case APMP_CALL_SET_ID:
	case APMP_CALL_RESET_BUSES:
		ret_name[0] = '\0';
		break;
	default:
		console_node_name(c, (int32_t)r->arg[0], ret_name, size);
	}
}

/* START_PARTITION: the rules were asked; the rest is a boot like any other. */
static int start(struct console *c, const struct apmp_call_request *r, void (*within)(void *ctx),
		 void *ctx, struct apmp_configured *ret)
{
	struct partition *p = console_partition_of(c, (int32_t)r->arg[0]);
	struct boot_refusal refusal;

	apmp_assert(p);
	switch (console_boot(p, within, ctx, &refusal)) {
	case BOOT_OK:
		return 0;
	case BOOT_RUNNING:
		ret->reason = APMP_REASON_INITIALIZED;
		return -EBUSY;
	case BOOT_MISSING: /* the rules have looked already */
	case BOOT_NOT_ENOUGH:
		ret->reason =
		    refusal.error == BOOT_MISSING ? APMP_REASON_TEMPLATE : APMP_REASON_NO_MEMORY;
		ret->ret[0] = refusal.wanted;
		ret->ret[1] = refusal.had;
		return -apmp_reason_info(ret->reason)->err;
	default:
		return -refusal.err;
	}
}

/* After the commit: nothing here may fail. */
static void follow(struct console *c, const struct apmp_call_request *r, struct partition *deleted,
		   uint32_t gets_cpu, const struct apmp_configured *ret)
{
	if (r->op == APMP_CALL_CREATE_PARTITION)
		/* Its objects are there; libuv's refusal leaves it to the next console. */
		apmp_assert(console_partition_open(c, (uint32_t)ret->ret[0]) == 0);
	if (deleted) {
		console_event(c, "partition.deleted", deleted, NULL);
		console_partition_close(deleted);
	}
	if (deleted || r->op == APMP_CALL_SET_COMMUNITY)
		console_tables_scrub(c);
	if (assigned_node(r)) {
		apmp_cpu_followed(&c->mover, assigned_node(r), gets_cpu);
		for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
			if (c->partition[i].exists)
				console_set_cpuset(&c->partition[i]);
	}
	console_ram_drop(c, GCT_NONE);
}

int console_configure(struct console *c, const struct apmp_call_request *r, int32_t by,
		      void (*within)(void *ctx), void *ctx, struct apmp_configured *ret)
{
	struct partition *deleted = r->op == APMP_CALL_DELETE_PARTITION
					? console_partition_of(c, (int32_t)r->arg[0])
					: NULL;
	struct apmp_box_event event = {0};
	uint32_t gets_cpu = APMP_NO_PARTITION;
	char what[96];
	int err;

	if (is_running(c, r, by) || (deleted && console_reaping(deleted))) {
		*ret = (struct apmp_configured){.reason = APMP_REASON_IN_USE,
						.about = (int32_t)r->arg[0]};
		return -EBUSY;
	}
	name_target(c, r, what, sizeof(what));
	err = apmp_configure(&c->tw, r, by, ret);
	if (err)
		return err;
	if (r->op == APMP_CALL_START_PARTITION) {
		if (apmp_update_open(&c->update))
			apmp_update_abort(&c->update);
		return start(c, r, within, ctx, ret);
	}
	if (!apmp_update_open(&c->update))
		return 0;
	if (r->op == APMP_CALL_CREATE_PARTITION) {
		/* What a dead console may have left for this id is not this partition's. */
		console_partition_drop(c, (uint32_t)ret->ret[0]);
		err = console_partition_make(c, (uint32_t)ret->ret[0], &event);
		apmp_tree_set_hwrpb(&c->tw, (uint32_t)ret->ret[0], CONSOLE_HWRPB_PA(ret->ret[0]));
	} else if (assigned_node(r)) {
		err = apmp_cpu_follow(&c->mover, assigned_node(r), &gets_cpu);
		event = c->host_said;
	}
	if (err) {
		if (r->op == APMP_CALL_CREATE_PARTITION)
			console_partition_drop(c, (uint32_t)ret->ret[0]);
		return host_refuses(c, &event, ret);
	}
	if (ret->permanent)
		console_permanent(c);
	if (within)
		within(ctx);
	apmp_update_commit(&c->update);
	follow(c, r, deleted, gets_cpu, ret);
	if (r->op == APMP_CALL_RESET_BUSES)
		tell_reset(c, (uint32_t)r->arg[0]);
	else if (r->op != APMP_CALL_SET_ID) /* of each join; no configuration */
		tell(c, r, by, what);
	return 0;
}
