/*
 * lifecycle.c - a partition boots, ends, is fenced, boots again.
 *
 * STATES    off, console, crashed, dead: no process; present life 0.
 *           booting: incarnation written, process started.   running, creating, joining, member,
 *           leaving: as the instance reports.   fence-pending: SIGKILL was not enough yet.
 *           fenced: no process of it runs user code any more (the box says FENCED): its CPUs and
 *           its place in the set are free; its processes are being reaped, and until then (DONE of
 *           KILL) its private memory stays and it can't boot.
 * CRASHES   A console that dies while it boots a partition leaves an incarnation without process
 *           (form_510): the next one fences that incarnation and boots again.  One that dies
 *           during a fence: the incarnation has no `fenced` yet, so the next one hears FENCED
 *           again, or sees a partition without process, or with one that the surviving members ask
 *           it to remove again.  One that dies between `fenced` and the reaping: state "fenced",
 *           and the next one asks the box to KILL what is left, and concludes when that is done.
 * ORDERING  `fenced` is written when the box knows by the kernel's word that every process of the
 *           partition runs no more; who acquires it (apmp_tree_alive) may take what the dead held.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "console/cpu_order.h"
#include "console/failover.h"
#include "console/hardware.h"
#include "shm/configure.h"
#include "shm/crash.h"
#include "shm/intr.h"
#include "shm/shared.h"

static enum boot_error refuse(struct boot_refusal *r, enum boot_error error, const char *what,
			      uint64_t wanted, uint64_t had)
{
	*r = (struct boot_refusal){.error = error, .what = what, .wanted = wanted, .had = had};
	return error;
}

/* Whether this CPU may be the primary: it is here, or will be, and is capable. */
static bool may_be_primary(const struct partition *p, const struct apmp_tree_node *cpu)
{
	return cpu->owner == p->handle &&
	       (!cpu->current_owner || cpu->current_owner == p->handle) &&
	       cpu->subtype == GCT_CPU_PRIMARY_CAPABLE && !(cpu->flags & NODE_UNAVAILABLE);
}

/* The primary of the last life, so that CPUs which only came by migration stay free to go;
 * APMP_MAX_CPUS when there was none. */
static uint32_t last_primary(const struct partition *p)
{
	return apmp_load_relaxed(&p->hwrpb->boot_count) ? apmp_load_relaxed(&p->hwrpb->primary)
							: APMP_MAX_CPUS;
}

const char *console_part_name(uint8_t type)
{
	return type == GCT_CPU	 ? "cpus that can be primary"
	       : type == GCT_BUS ? "buses"
				 : "bytes of memory";
}

/* What the template asks for [0078, 0079], and the CPU that will be primary. */
static enum boot_error check_parts(struct partition *p, uint32_t *ret_primary,
				   struct boot_refusal *r)
{
	struct apmp_tree *tree = &p->console->tw.tree;
	uint32_t primary = APMP_MAX_CPUS, last = last_primary(p);
	struct apmp_missing missing;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;

	if (apmp_template_check(tree, p->handle, &missing))
		return refuse(r, BOOT_MISSING, console_part_name(missing.type), missing.wanted,
			      missing.had);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(tree, &walk, GCT_CPU, &n) > 0) {
		if (!may_be_primary(p, &n))
			continue;
		if (n.id == last || n.id < primary)
			primary = (uint32_t)n.id;
		if (n.id == last)
			break;
	}
	if (primary == APMP_MAX_CPUS) /* its only one is lent, and has not come back yet */
		return refuse(r, BOOT_MISSING, console_part_name(GCT_CPU), 1, 0);
	*ret_primary = primary;
	return BOOT_OK;
}

/* The host has not enough of it: what, in r->text, and how much. */
static enum boot_error refuse_short(struct boot_refusal *r, const struct apmp_box_event *event)
{
	return refuse(r, BOOT_NOT_ENOUGH, r->text, event->arg[0], event->arg[1]);
}

/* An instance has a thread for its clock, two for programs, and one for each CPU that it begins
 * with. */
static enum boot_error check_room(struct partition *p, struct boot_refusal *r)
{
	struct console *c = p->console;
	struct apmp_box_event event;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	uint64_t threads = 3;
	int err;

	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		threads += n.owner == p->handle;
	err = console_room(c, threads, &event);
	if (err != -EAGAIN && err != -ENOMEM)
		return BOOT_OK; /* what the box can't tell is found out by the start */
	(void)refuse_short(r, &event);
	memcpy(r->text, event.text, sizeof(r->text));
	return BOOT_NOT_ENOUGH;
}

static enum boot_error refuse_memory(struct boot_refusal *r, const struct apmp_box_event *event)
{
	if (event->error == -ENOMEM) {
		(void)refuse_short(r, event);
		snprintf(r->text, sizeof(r->text), "bytes of memory (%.200s)", event->text);
		return BOOT_NOT_ENOUGH;
	}
	(void)refuse(r, BOOT_HOST, "memory", 0, 0);
	r->err = -event->error;
	memcpy(r->text, event->text, sizeof(r->text));
	return BOOT_HOST;
}

/* Memory that the partition needs, private and its community's; fresh where it is private. */
static enum boot_error make_memory(struct partition *p, struct boot_refusal *r)
{
	struct console *c = p->console;
	struct apmp_tree_partition self;
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_box_event event;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self))
		return refuse(r, BOOT_HOST, "its node of the tree", 0, 0);
	console_ram_drop(c, p->handle); /* nothing of its last life */
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_MEMORY_DESC, &n) > 0) {
		struct apmp_tree_fragment f;
		uint64_t base;
		int fd;

		for (uint32_t i = 0; apmp_tree_fragment(&c->tw.tree, n.handle, i, &f) == 0; i++) {
			if (!f.owner || (f.owner != p->handle && f.owner != self.community))
				continue;
			if (console_ram(c, f.owner, f.pa, f.size, &fd, &base, &event))
				return refuse_memory(r, &event);
		}
	}
	console_object_drop(c, APMP_BOX_CHANNEL, p->id);
	if (console_object_need(c, APMP_BOX_CHANNEL, p->id, 0, &event)) {
		(void)refuse(r, BOOT_HOST, "a channel", 0, 0);
		r->err = -event.error;
		memcpy(r->text, event.text, sizeof(r->text));
		return BOOT_HOST;
	}
	return BOOT_OK;
}

/* The slot of each CPU in the machine [0067], in the update that begins the new life. */
static void fill_slot(struct partition *p, const struct apmp_tree_node *cpu, int32_t primary)
{
	struct console *c = p->console;
	uint32_t id = (uint32_t)cpu->id;
	struct hwrpb_slot *slot = &p->hwrpb->slot[id];
	uint64_t type = 0, revision = 0, flags = console_slot_flags(c, cpu->handle, primary);

	if (!flags || apmp_tree_cpu_type(&c->tw.tree, cpu->handle, &type, &revision))
		return; /* not in the box now */
	apmp_store_relaxed(&slot->type, type);
	apmp_store_relaxed(&slot->revision, revision);
	apmp_store_relaxed(&slot->host_cpu, c->host_cpu[id]);
	if (cpu->current_owner == p->handle) {
		flags |= HWRPB_PA;
		/* All its lives are fenced: nobody runs here, whatever a stray store says. */
		apmp_store_relaxed(&c->env.lines[id].runner, 0);
		apmp_tree_set_flags(&c->tw, cpu->handle, NODE_PRIMARY,
				    cpu->handle == primary ? NODE_PRIMARY : 0);
	}
	apmp_cpu_initialize(&c->mover, p->id, id, flags);
}

/* Step 508: the HWRPB is made while no life has it, then one update of the tree begins the new
 * life.  Returns its incarnation. */
static uint64_t begin_life(struct partition *p, uint32_t primary, void (*within)(void *ctx),
			   void *ctx)
{
	struct console *c = p->console;
	struct apmp_tree_partition self;
	int32_t handle = apmp_tree_find(&c->tw.tree, GCT_CPU, primary);
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	char name[128] = {0};
	uint64_t incarnation;
	struct apmp_hwrpb_spec spec = {.pa = CONSOLE_HWRPB_PA(p->id),
				       .config_pa = CONSOLE_TREE_PA,
				       .intr_pa = CONSOLE_LINES_PA,
				       .recorder_pa = CONSOLE_RECORDER_PA(p->id),
				       .tick_ns = c->tick_ns,
				       .stop_ns = c->stop_ns,
				       .suspect = c->suspect,
				       .primary = primary,
				       .cpu_count = c->cpu_count};

	if (apmp_tree_partition(&c->tw.tree, p->id, &self))
		return 0;
	snprintf(name, sizeof(name), "%s", p->name);
	spec.unique = apmp_identity(p->id, self.incarnation + 1);
	apmp_hwrpb_prepare(p->hwrpb, &spec);
	apmp_hwrpb_set_tables(p->hwrpb, &c->state->partition[p->id]);
	apmp_recorder_begin(p->recorder);
	apmp_update_begin(&c->update);
	incarnation = apmp_tree_partition_boot(&c->tw, p->id, name);
	apmp_tree_initialize_owner(&c->tw, p->handle);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(&c->tw.tree, &walk, GCT_CPU, &n) > 0)
		fill_slot(p, &n, handle);
	if (within) {
		/* Asked again when this update is undone: no other console boots it by itself. */
		apmp_update_store32(&c->update, APMP_OBJECT_STATE,
				    &c->state->partition[p->id].state, APMP_PARTITION_BOOTING);
		within(ctx);
	}
	apmp_update_commit(&c->update);
	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++)
		apmp_cpu_initialized(&c->mover, p->id, cpu);
	APMP_POINT_ARG(&c->env, form_508, p->id);
	return incarnation;
}

static int spawn(struct partition *p, uint64_t incarnation, struct boot_refusal *r)
{
	struct apmp_box_request request = {
	    .op = APMP_BOX_OP_SPAWN, .id = p->id, .arg = {incarnation, console_capacity_renew(p)}};
	struct apmp_box_event event;
	int err;

	console_host_cpus(p, request.cpus);
	snprintf(request.text, sizeof(request.text), "%s", p->name);
	APMP_POINT_ARG(&p->console->env, form_510, p->id);
	err = box_link_call(&p->console->box, &request, NULL, 0, &event, NULL);
	if (!err) {
		p->pid = event.arg[0];
		p->uid = (uint32_t)event.arg[1];
		memcpy(p->host_cpus, request.cpus, sizeof(p->host_cpus));
		err = console_channel_open(p);
		snprintf(event.text, sizeof(event.text), "its channel: %s", strerror(-err));
	}
	if (!err)
		return 0;
	(void)refuse(r, BOOT_HOST, "start of the instance", 0, 0);
	r->err = -err;
	memcpy(r->text, event.text, sizeof(r->text));
	return err;
}

enum boot_error console_boot(struct partition *p, void (*within)(void *ctx), void *ctx,
			     struct boot_refusal *ret_refusal)
{
	struct console *c = p->console;
	uint64_t incarnation;
	uint32_t primary;
	enum boot_error error;

	if (console_running(p) || console_reaping(p))
		return refuse(ret_refusal, BOOT_RUNNING, "", 0, 0);
	error = check_parts(p, &primary, ret_refusal);
	if (!error)
		error = check_room(p, ret_refusal);
	if (!error)
		error = make_memory(p, ret_refusal);
	if (error)
		return error;
	apmp_store_relaxed(&c->state->partition[p->id].exit, 0);
	apmp_store_relaxed(&c->state->partition[p->id].last_seq, 0);
	apmp_store_relaxed(&c->state->partition[p->id].durable_level, 0); /* nobody waits for it */
	if (!within)
		console_set_state(p, APMP_PARTITION_BOOTING);
	p->exit_status = -1;
	p->runs_alone = false;
	incarnation = begin_life(p, primary, within, ctx);
	console_ram_drop(c, GCT_NONE); /* what is out of use now */
	console_event(c, "partition.initialized", p, "{s:I}", "incarnation",
		      (json_int_t)incarnation);
	if (spawn(p, incarnation, ret_refusal)) {
		fprintf(stderr, "apmp-console: partition %s: %s: %s\n", p->name, ret_refusal->what,
			ret_refusal->text);
		console_fence(p, FENCE_SPAWN);
		return BOOT_HOST;
	}
	return BOOT_OK;
}

/* CPUs of the dead: whoever ran on them runs no more.  Of one that it still had, nobody else can
 * have the execution word: what stands there is its own, or a stray store that would be the death
 * of who gets the CPU. */
static void release_cpus(struct partition *p, uint64_t identity)
{
	struct console *c = p->console;

	for (uint32_t cpu = 0; cpu < c->cpu_count; cpu++) {
		_Atomic uint64_t *runner = &c->env.lines[cpu].runner;
		uint64_t dead = identity;
		struct apmp_tree_node node;

		if (apmp_tree_cpu(&c->tw.tree, cpu, &node) == 0 && node.current_owner == p->handle)
			apmp_store_relaxed(runner, 0);
		else /* another may run there by now */
			(void)apmp_cas(runner, &dead, 0);
	}
}

static void uninitialize(struct partition *p, bool failed)
{
	struct console *c = p->console;
	struct apmp_cpu_bits gone;

	apmp_update_begin(&c->update);
	apmp_cpu_end_life(&c->mover, p->id, failed, &gone);
	apmp_tree_set_flags(&c->tw, p->handle, NODE_INITIALIZED, 0);
	apmp_tree_unlock(&c->tw, p->id); /* if it held the tree's lock [0085] */
	apmp_tree_end_use(&c->tw, p->handle);
	apmp_update_commit_quietly(&c->update); /* `fenced` follows, with the interrupts */
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		apmp_cpu_arrivals(&c->mover, id);
}

/* What the last life ended as. */
static enum apmp_partition_state end_state(const struct partition *p)
{
	uint32_t announced = apmp_load_relaxed(&p->console->state->partition[p->id].exit);

	if (announced == APMP_EXIT_HALT)
		return APMP_PARTITION_CONSOLE;
	if (announced == APMP_EXIT_CRASH)
		return APMP_PARTITION_CRASHED;
	if (p->fencing == FENCE_SPAWN)
		return APMP_PARTITION_OFF;
	return APMP_PARTITION_DEAD;
}

const char *console_state_text(const struct partition *p)
{
	enum apmp_partition_state state = console_state(p);

	if (p->boot_after_fence) /* nobody else is to boot it */
		return console_state_name(APMP_PARTITION_BOOTING);
	return console_state_name(console_reaping(p) ? end_state(p) : state);
}

/* How the last instance ended, for the operator. */
static void describe_end(const struct partition *p, char *text, size_t size)
{
	if (p->exit_status < 0)
		snprintf(text, size, "unknown");
	else if (WIFSIGNALED(p->exit_status))
		snprintf(text, size, "signal %d", WTERMSIG(p->exit_status));
	else
		snprintf(text, size, "exit %d", WEXITSTATUS(p->exit_status));
}

static void answer_waiters(struct partition *p, int error)
{
	for (uint32_t i = 0; i < p->remove_waiters; i++) {
		struct partition *asker = &p->console->partition[p->remove_waiter[i].partition];

		if (console_identity(asker) == p->remove_waiter[i].identity)
			console_callback_reply(asker, p->remove_waiter[i].seq, error);
	}
	p->remove_waiters = 0;
}

/* With its last gasp, if that is whole. */
static void tell_crash(struct partition *p)
{
	struct apmp_crash crash = {0};
	const char *reason =
	    apmp_crash_read(p->hwrpb, &crash) ? NULL : apmp_crash_reason_text(crash.reason);

	/* "crash by instruction" tells nobody more than "by instruction". */
	bool more = reason && crash.text[0] && !strstr(crash.text, reason);

	console_event(p->console, "instance.crashed", p, "{s:s*,s:s*}", "reason", reason, "text",
		      more ? crash.text : NULL);
}

static void tell_end(struct partition *p, enum apmp_partition_state state)
{
	struct console *c = p->console;
	char how[32];

	describe_end(p, how, sizeof(how));
	port_print(p, "apmp-console: partition %s: %s (%s)", p->name, console_state_name(state),
		   how);
	if (state == APMP_PARTITION_CONSOLE)
		console_event(c, "instance.halted", p, NULL);
	if (state == APMP_PARTITION_CRASHED)
		tell_crash(p);
}

/* The operator's calls that waited for this partition; a reset waits for more than its end. */
static void answer_operator(struct partition *p, enum apmp_partition_state state)
{
	struct varlink_call *halt = p->boot_after_fence ? NULL : p->halt_call;
	struct varlink_call *boot = p->boot_call, *kill = p->kill_call;

	p->kill_call = NULL;
	if (kill)
		varlink_call_reply(kill, NULL);
	p->boot_call = NULL;
	if (halt)
		p->halt_call = NULL;
	if (halt && (state == APMP_PARTITION_CONSOLE || state == APMP_PARTITION_CRASHED))
		varlink_call_reply(halt, NULL);
	else if (halt)
		varlink_call_error(halt, "PartitionDied",
				   json_pack("{s:s,s:s}", "partition", p->name, "during", "halt"));
	if (boot)
		varlink_call_error(boot, "PartitionDied",
				   json_pack("{s:s,s:s}", "partition", p->name, "during", "boot"));
}

void console_copied(struct partition *p)
{
	struct varlink_call *reset = p->halt_call;
	struct boot_refusal refusal;
	enum boot_error error;

	if (!p->boot_after_fence || console_running(p) || console_reaping(p))
		return;
	p->boot_after_fence = false;
	p->halt_call = NULL;
	error = console_boot(p, NULL, NULL, &refusal);
	if (error == BOOT_HOST)
		port_print(p, "apmp-console: partition %s can't boot again: %s", p->name,
			   refusal.text);
	else if (error)
		port_print(p,
			   "apmp-console: partition %s can't boot again: %s wanted %llu, "
			   "had %llu",
			   p->name, refusal.what, (unsigned long long)refusal.wanted,
			   (unsigned long long)refusal.had);
	if (reset && error)
		console_boot_refused(reset, p, &refusal);
	else if (reset)
		varlink_call_reply(reset, NULL);
}

/* What follows once all processes of a fenced life are reaped: told, closed, answered; and boots
 * again if that was asked, when its memory is copied. */
static void conclude(struct partition *p)
{
	struct console *c = p->console;
	enum apmp_partition_state state = end_state(p);

	console_channel_close(p);
	p->pid = 0;
	p->fencing = FENCE_NONE;
	p->fence_pending = false;
	p->bugcheck_asked = false;
	console_set_state(p, state);
	console_ram_drop(c, GCT_NONE); /* what went to others when its use ended */
	tell_end(p, state);
	answer_operator(p, state);
	/* Whose CPUs were on their way here, or went from here, and are not active. */
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++)
		if (c->partition[id].exists)
			console_set_cpuset(&c->partition[id]);
	if (!p->dumping)
		console_copied(p);
	else if (p->boot_after_fence)
		console_dump_hurry(p);
	console_settled(c);
	console_check_on(c);
}

/* Whether its CPUs go to their failover targets: not of one that was asked to end, that boots again
 * at once, or that never ran. */
static bool has_failed(const struct partition *p)
{
	return end_state(p) != APMP_PARTITION_CONSOLE && p->fencing != FENCE_RESET &&
	       p->fencing != FENCE_SPAWN && !p->boot_after_fence;
}

/* No process of the partition runs any more.  `fenced` is written last: until then the next console
 * sees a life without process, and does all of it again. */
static void fenced(struct partition *p)
{
	struct console *c = p->console;
	uint64_t identity = console_identity(p);
	bool failed = has_failed(p);
	const struct apmp_point_info *died_at; /* where the injector ended it */

	if (failed)
		console_failover_begin(p);
	console_dump_picture(p);
	release_cpus(p, identity);
	uninitialize(p, failed);
	console_set_state(p, APMP_PARTITION_FENCED);
	apmp_tree_set_fenced(&c->tw, p->id, apmp_identity_incarnation(identity));
	apmp_intr_all(&c->env, APMP_INTR_TREE); /* members may recover it now */
	answer_waiters(p, 0);
	p->fence_pending = false;
	console_orders_died(p);
	console_wish_died(p);
	died_at = apmp_point_info(apmp_load_relaxed(&p->recorder->died_at));
	console_event(c, "instance.fenced", p, "{s:I,s:s*}", "incarnation",
		      (json_int_t)apmp_identity_incarnation(identity), "died_at",
		      died_at ? died_at->name : NULL);
	console_failover_tell(p);
	console_failover_fenced(p);
}

static void refuse_fence(struct varlink_call **call, const struct apmp_box_event *event)
{
	if (*call)
		varlink_call_error(*call, "Host",
				   json_pack("{s:s,s:i,s:s}", "what", "fence", "errno",
					     -event->error, "reason", event->text));
	*call = NULL;
}

static void on_killed(void *ctx, const struct apmp_box_event *event)
{
	struct partition *p = ctx;

	if (!event->error) {
		if (console_identity(p)) /* no FENCED came first: there was nothing to wait for */
			fenced(p);
		console_dump(p);
		conclude(p);
		return;
	}
	/* Nothing is recovered on a guess: whoever suspects it, or the operator, fences it again.
	 */
	fprintf(stderr, "apmp-console: fence of partition %s: %s\n", p->name, event->text);
	p->fencing = FENCE_NONE;
	p->fence_pending = console_reaping(p); /* its end is not known of: nobody waits for it */
	p->bugcheck_asked = false;
	p->boot_after_fence = false;
	answer_waiters(p, -EINPROGRESS);
	refuse_fence(&p->halt_call, event);
	refuse_fence(&p->kill_call, event);
	refuse_fence(&p->boot_call, event);
	console_settled(p->console);
}

void console_fence(struct partition *p, enum fence_reason reason)
{
	struct console *c = p->console;
	struct apmp_box_request request = {.op = APMP_BOX_OP_KILL, .id = p->id};

	if (!console_identity(p) && !console_reaping(p))
		return;
	if (p->fencing) {
		/* One that only waits for the bugcheck bit to be seen can be made a kill. */
		if (p->fencing == FENCE_REMOVED && !c->fence_kill && reason != FENCE_REMOVED)
			box_link_post(&c->box, &request, NULL, NULL);
		return;
	}
	p->fencing = reason;
	/* `fence: bugcheck`: the instance itself must see the bit and end; who asked goes on. */
	request.arg[0] = reason == FENCE_REMOVED && !c->fence_kill;
	if (request.arg[0]) {
		p->bugcheck_asked = true;
		console_set_state(p, APMP_PARTITION_FENCE_PENDING);
		console_event(c, "instance.fence-pending", p, "{s:s}", "waits_for", "bugcheck");
		answer_waiters(p, -EINPROGRESS);
	}
	box_link_post(&c->box, &request, on_killed, p);
	/* Only now: a console that died before this would leave a life that lives on, without the
	 * CPUs that are to come.  Acquired with the next level of the tree. */
	apmp_store_relaxed(&c->state->partition[p->id].ending, console_identity(p));
}

static bool in_set(const struct partition *p)
{
	enum apmp_partition_state state;

	if (!p->exists || !p->pid || p->fencing || p->exit_status >= 0)
		return false;
	state = console_state(p);
	return state == APMP_PARTITION_MEMBER || state == APMP_PARTITION_LEAVING ||
	       state == APMP_PARTITION_JOINING || state == APMP_PARTITION_CREATING;
}

/* Whether another one may be watching its heartbeat. */
static bool is_watched(const struct partition *p)
{
	struct console *c = p->console;
	struct apmp_tree_partition self, other;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self))
		return false;
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (i != p->id && in_set(&c->partition[i]) &&
		    apmp_tree_partition(&c->tw.tree, i, &other) == 0 &&
		    other.community == self.community)
			return true;
	return false;
}

/* Whether this is the partition's life: the present one, or one that is not concluded. */
static bool is_life(const struct partition *p, uint64_t incarnation)
{
	struct apmp_tree_partition self;

	return (console_running(p) || console_reaping(p)) &&
	       apmp_tree_partition(&p->console->tw.tree, p->id, &self) == 0 &&
	       self.incarnation == incarnation;
}

/* Without notice the others' heartbeats must find its end; but who announced it is expected, and
 * whom a debugger holds has a silence that nobody counts. */
static bool is_left_to_others(const struct partition *p)
{
	struct console *c = p->console;

	return !c->notice_exit && !apmp_load_relaxed(&c->state->partition[p->id].exit) &&
	       !apmp_tree_debugged(&c->tw.tree, console_identity(p));
}

void console_ending(struct partition *p, uint64_t incarnation)
{
	struct console *c = p->console;
	bool announced = apmp_load_relaxed(&c->state->partition[p->id].exit);

	if (!is_life(p, incarnation) || p->fencing || is_left_to_others(p))
		return;
	console_fence(p, FENCE_EXITED); /* before it is told: survivors wait */
	if (!announced)
		console_event(c, "instance.suspected", p, "{s:s}", "by", "box");
}

void console_fenced(struct partition *p, uint64_t incarnation)
{
	if (!is_life(p, incarnation) || !console_identity(p))
		return;
	console_fence(p, FENCE_EXITED); /* what a dead console had asked; we want its end, too */
	fenced(p);
}

void console_exited(struct partition *p, uint64_t incarnation, int status)
{
	struct console *c = p->console;
	bool was_in_set;

	if (!is_life(p, incarnation))
		return;
	was_in_set = in_set(p);
	p->exit_status = status;
	/* One that nobody watches never would be found. */
	if (!p->fencing && was_in_set && is_left_to_others(p) && is_watched(p))
		return;
	if (!p->fencing && !apmp_load_relaxed(&c->state->partition[p->id].exit))
		console_event(c, "instance.suspected", p, "{s:s}", "by", "box");
	console_fence(p, FENCE_EXITED);
	/* Who ended before, and was left to this one to find, is found by nobody any more. */
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists && c->partition[i].pid &&
		    c->partition[i].exit_status >= 0 && !is_watched(&c->partition[i]))
			console_fence(&c->partition[i], FENCE_EXITED);
}

void console_pending(struct partition *p, uint64_t incarnation, uint64_t processes)
{
	if (!is_life(p, incarnation) || p->fence_pending)
		return;
	p->fence_pending = true;
	if (console_reaping(p)) { /* only its end is */
		console_settled(p->console);
		return;
	}
	console_set_state(p, APMP_PARTITION_FENCE_PENDING);
	console_event(p->console, "instance.fence-pending", p, "{s:I}", "processes",
		      (json_int_t)processes);
	answer_waiters(p, -EINPROGRESS);
}
