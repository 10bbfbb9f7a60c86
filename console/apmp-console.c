/*
 * apmp-console.c - the console of every partition: forms the machine, then serves it.
 *
 * WHAT      The box starts it with its end of a pair (descriptor 3) and the listening control
 *           socket (4).  First it hears what the box keeps for it; then it forms the machine or
 *           takes it over; then the loop serves box, instances and operator.
 * CRASHES   May end at any instruction: the box starts it again with the same memories.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console/console.h"
#include "console/cpu_order.h"
#include "shm/configure.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"

static struct console the_console; /* too large for a stack */

struct partition *console_partition(struct console *c, const char *name)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists && strcmp(c->partition[i].name, name) == 0)
			return &c->partition[i];
	return NULL;
}

struct partition *console_partition_of(struct console *c, int32_t handle)
{
	for (uint32_t i = 0; handle && i < APMP_MAX_PARTITIONS; i++)
		if (c->partition[i].exists && c->partition[i].handle == handle)
			return &c->partition[i];
	return NULL;
}

enum apmp_partition_state console_state(const struct partition *p)
{
	return apmp_load_relaxed(&p->console->state->partition[p->id].state);
}

void console_set_state(struct partition *p, enum apmp_partition_state state)
{
	apmp_store_relaxed(&p->console->state->partition[p->id].state, state);
}

const char *console_state_name(enum apmp_partition_state state)
{
	switch (state) {
#define X(name, value, text)                                                                       \
	case APMP_PARTITION_##name:                                                                \
		return text;
		APMP_PARTITION_STATES(X)
#undef X
	}
	return "odd";
}

uint64_t console_identity(const struct partition *p)
{
	return apmp_tree_present(&p->console->tw.tree, p->id);
}

bool console_running(const struct partition *p)
{
	return !console_reaping(p) && (p->pid || p->fencing || console_identity(p));
}

bool console_reaping(const struct partition *p)
{
	return console_state(p) == APMP_PARTITION_FENCED;
}

bool console_joins(const struct partition *p)
{
	struct apmp_tree_partition self;

	return apmp_tree_partition(&p->console->tw.tree, p->id, &self) == 0 && self.community &&
	       apmp_tree_shared_memory(&p->console->tw.tree, self.community, NULL, 0) > 0;
}

static bool boots_at_power_on(const struct partition *p)
{
	struct apmp_tree_partition self;

	return !p->console->bare && apmp_tree_partition(&p->console->tw.tree, p->id, &self) == 0 &&
	       self.policy & GCT_POLICY_BOOT;
}

static bool boots_now(const struct partition *p)
{
	struct apmp_tree_partition self;

	return p->exists && boots_at_power_on(p) &&
	       apmp_tree_partition(&p->console->tw.tree, p->id, &self) == 0 &&
	       self.incarnation == 0;
}

/* Whether a partition that boots at power on has got as far as it can. */
static bool settled(struct partition *p, bool *ret_failed)
{
	enum apmp_partition_state state = console_state(p);
	struct apmp_missing missing;

	if (!boots_at_power_on(p))
		return true;
	if (boots_now(p) && apmp_template_check(&p->console->tw.tree, p->handle, &missing))
		return true; /* it is held */
	if (!console_running(p)) {
		*ret_failed = true;
		return true;
	}
	return state == APMP_PARTITION_MEMBER ||
	       (state == APMP_PARTITION_RUNNING && (p->runs_alone || !console_joins(p)));
}

static void tell_on(struct console *c, const char *text, bool failed)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_ON, .arg = {failed}};

	c->announced = true;
	snprintf(request.text, sizeof(request.text), "%s", text);
	box_link_post(&c->box, &request, NULL, NULL);
	/* Afterwards: said twice does no harm, and never would leave somebody waiting. */
	if (c->state)
		apmp_store_release(&c->state->announced, 1);
}

/* Names the partitions that would have booted, had they enough. */
static void add_held(struct console *c, char *text, size_t size)
{
	struct apmp_missing missing;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		const struct partition *p = &c->partition[i];
		size_t length = strlen(text);

		if (boots_now(p) && apmp_template_check(&c->tw.tree, p->handle, &missing))
			snprintf(text + length, size - length,
				 "; partition \"%s\" is held: %s wanted %llu, had %llu", p->name,
				 console_part_name(missing.type),
				 (unsigned long long)missing.wanted,
				 (unsigned long long)missing.had);
	}
}

void console_check_on(struct console *c)
{
	char text[APMP_BOX_TEXT_SIZE];
	uint32_t members = 0, alone = 0;

	if (c->announced)
		return;
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];
		bool failed = false;

		if (!p->exists)
			continue;
		if (!settled(p, &failed))
			return;
		if (failed) {
			snprintf(text, sizeof(text), "partition \"%s\" ended while it booted (%s)",
				 p->name, console_state_text(p));
			tell_on(c, text, true);
			return;
		}
		members += console_state(p) == APMP_PARTITION_MEMBER;
		alone += console_state(p) == APMP_PARTITION_RUNNING;
	}
	snprintf(text, sizeof(text), "machine %s is on: %u %s, %s", c->machine, members,
		 members == 1 ? "member" : "members", c->backend);
	if (alone)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %u in no sharing set",
			 alone);
	if (c->nvram)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "; divided as NVRAM has it");
	if (c->nvram_outdated)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "; the machine file divides it anew, what NVRAM had is replaced");
	add_held(c, text, sizeof(text));
	tell_on(c, text, false);
}

/* From the loop only: that it goes on is what the box wants to know. */
static void pong(struct console *c, uint64_t number)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_PONG, .arg = {number, c->served}};

	box_link_post(&c->box, &request, NULL, NULL);
}

void console_served(void *ctx)
{
	struct console *c = ctx;

	if (c->served++ == 0)
		pong(c, 0);
}

static void on_box_event(struct box_link *link, const struct apmp_box_event *event, const int *fds,
			 unsigned fd_count)
{
	struct console *c = &the_console;
	struct partition *p = event->id < APMP_MAX_PARTITIONS ? &c->partition[event->id] : NULL;

	(void)link;
	switch (event->op) {
	case APMP_BOX_HELLO:
		memcpy(c->machine, event->text, sizeof(c->machine) - 1);
		c->backend = event->arg[2] == 1	  ? "cgroup-v2"
			     : event->arg[2] == 2 ? "cgroup-v1"
						  : "affinity";
		break;
	case APMP_BOX_LAST:
		c->last = *event;
		break;
	case APMP_BOX_PING:
		pong(c, event->arg[0]);
		break;
	case APMP_BOX_OBJECT:
		console_object_add(c, event->kind, event->id, event->size, fds, fd_count);
		break;
	case APMP_BOX_PARTITION:
		if (p) {
			p->pid = event->arg[1];
			p->uid = (uint32_t)event->arg[2];
		}
		break;
	case APMP_BOX_EXITED:
		if (p && p->exists)
			console_exited(p, event->arg[0], (int)event->arg[1]);
		break;
	case APMP_BOX_ENDING:
		if (p && p->exists)
			console_ending(p, event->arg[0]);
		break;
	case APMP_BOX_FENCED:
		if (p && p->exists)
			console_fenced(p, event->arg[0]);
		break;
	case APMP_BOX_DUMPED:
		if (p && p->exists)
			console_dumped(p, event);
		break;
	case APMP_BOX_LOAD:
		if (p && p->exists && p->hwrpb)
			apmp_store_relaxed(&p->hwrpb->programs, event->arg[0]);
		break;
	case APMP_BOX_PROGRAM:
		console_program_ended(c, event->arg[0], (int)event->arg[1]);
		break;
	case APMP_BOX_PENDING:
		if (p && p->exists)
			console_pending(p, event->arg[0], event->arg[1]);
		break;
	case APMP_BOX_TERM:
		console_power_off(c);
		break;
	default: /* READY is waited for in main */
		break;
	}
}

static bool ready;

static void on_first_events(struct box_link *link, const struct apmp_box_event *event,
			    const int *fds, unsigned fd_count)
{
	if (event->op == APMP_BOX_READY)
		ready = true;
	else
		on_box_event(link, event, fds, fd_count);
}

/* Why a partition that should have booted at power on did not.  One that lacks components is held
 * until it has them, and the machine goes on without it [0065]. */
static void tell_no_boot(struct partition *p, const struct boot_refusal *refusal)
{
	struct console *c = p->console;
	char text[APMP_BOX_TEXT_SIZE];

	if (refusal->error == BOOT_MISSING) {
		console_event(c, "partition.held", p, "{s:s,s:I,s:I}", "what", refusal->what,
			      "wanted", (json_int_t)refusal->wanted, "had",
			      (json_int_t)refusal->had);
		port_print(p, "apmp-console: partition %s is held: %s wanted %llu, had %llu",
			   p->name, refusal->what, (unsigned long long)refusal->wanted,
			   (unsigned long long)refusal->had);
		return;
	}
	if (refusal->error == BOOT_NOT_ENOUGH)
		snprintf(text, sizeof(text),
			 "partition \"%s\" can't boot: %s wanted %llu, had %llu", p->name,
			 refusal->what, (unsigned long long)refusal->wanted,
			 (unsigned long long)refusal->had);
	else
		snprintf(text, sizeof(text), "partition \"%.32s\" can't boot: %.180s", p->name,
			 refusal->text);
	tell_on(c, text, true);
}

/* Steps 508 and 510 for each partition that boots at power on and has not had its turn. */
static void boot_all(struct console *c)
{
	struct boot_refusal refusal;

	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS && !c->announced; i++) {
		struct partition *p = &c->partition[i];

		if (boots_now(p) && console_boot(p, NULL, NULL, &refusal))
			tell_no_boot(p, &refusal);
	}
	console_check_on(c);
}

int main(void)
{
	struct console *c = &the_console;
	int err;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* ulimit -f: a write beyond it shall fail, not kill */
	console_env_init(c);
	if (uv_loop_init(&c->loop))
		return 1;
	box_link_init(&c->box, APMP_CONSOLE_BOX_FD, on_first_events);
	while (!ready)
		box_link_receive(&c->box);
	c->box.on_event = on_box_event;
	err = console_form(c);
	if (err) {
		char text[APMP_BOX_TEXT_SIZE];

		snprintf(text, sizeof(text), "the machine can't be formed: %.200s",
			 c->why[0] ? c->why : strerror(-err));
		fprintf(stderr, "apmp-console: %s\n", text);
		tell_on(c, text, true); /* the box powers off, or starts the next console */
		return 1;
	}
	apmp_linux_panic_into(c->recorder);
	console_orders_init(c);
	err = console_serve(c, APMP_CONSOLE_LISTEN_FD);
	if (!err)
		err = box_link_serve(&c->box, &c->loop);
	if (err) {
		fprintf(stderr, "apmp-console: %s\n", uv_strerror(err));
		return 1;
	}
	console_capacity_serve(c);
	boot_all(c);
	return uv_run(&c->loop, UV_RUN_DEFAULT);
}
