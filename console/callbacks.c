/*
 * callbacks.c - what instances ask of their console [0113-0115, 0143, 0278].
 *
 * CRASHES   The record of the last callback that was carried out (seq and answer) is written before
 *           the answer is sent, so that one which is asked again is answered, not done twice.  A
 *           change of the configuration has its record in the same update, and is answered when it
 *           is durable: `durable_level` says what the answer waits for, also to the next console.
 *           A CPU that deassigns itself does not wait for that: the operator does, who ordered it.
 *           MIGRATE_CPU has its record in the update by which the CPU arrives.  The others are
 *           harmless when they are done twice: MAP and SET_APMPDB_INFO by their nature,
 *           REMOVE_INSTANCE because a fenced identity stays fenced.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console/console_configure.h"
#include "console/cpu_order.h"
#include "console/failover.h"
#include "console/page_fault.h"
#include "shm/crash.h"
#include "shm/db_place.h"
#include "shm/shared.h"

static void send_reply(struct partition *p, const struct apmp_call_reply *reply, int fd)
{
	struct apmp_console_partition *record = &p->console->state->partition[p->id];
	int err;

	if (reply->seq) {
		record->last_reply = *reply;
		apmp_store_relaxed(&record->durable_level, 0);
		apmp_store_release(&record->last_seq, reply->seq);
	}
	err = apmp_datagram_send(p->channel, reply, sizeof(*reply), &fd, fd >= 0);
	if (err) /* it has ended; the box will say so */
		fprintf(stderr, "apmp-console: answer to partition %s: %s\n", p->name,
			strerror(-err));
	else if (reply->seq)
		console_served(p->console);
}

void console_callback_reply(struct partition *p, uint64_t seq, int error)
{
	struct apmp_call_reply reply = {.seq = seq, .error = error};

	send_reply(p, &reply, -1);
}

/* Sends the answer that the record holds. */
static void send_recorded(struct partition *p)
{
	struct apmp_console_partition *record = &p->console->state->partition[p->id];
	struct apmp_call_reply reply = record->last_reply;

	send_reply(p, &reply, -1);
}

/* A change that is being made for an instance: its record goes into the same update. */
struct recorded_change {
	struct partition *p;
	uint64_t seq;
	bool haste; /* it is answered before it is durable */
	struct apmp_configured done;
};

static void put_record(struct apmp_update *up, _Atomic uint64_t *field, uint64_t value)
{
	apmp_update_store64(up, APMP_OBJECT_STATE, field, value);
}

static void record_change(void *ctx)
{
	struct recorded_change *change = ctx;
	struct console *c = change->p->console;
	struct apmp_console_partition *record = &c->state->partition[change->p->id];
	struct apmp_call_reply reply = {.seq = change->seq,
					.ret = {change->done.ret[0], change->done.ret[1]}};
	uint64_t word[sizeof(reply) / sizeof(uint64_t)];

	memcpy(word, &reply, sizeof(reply));
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		put_record(&c->update, (_Atomic uint64_t *)(void *)&record->last_reply + i,
			   word[i]);
	put_record(&c->update, &record->last_seq, change->seq);
	put_record(&c->update, &record->durable_level,
		   change->done.permanent && !change->haste
		       ? apmp_load_relaxed(&c->state->permanent_level)
		       : 0);
}

/* An instance gave up a component that the operator may wait for. */
static void tell_deassigned(struct console *c, int32_t handle)
{
	struct apmp_tree_node n;

	if (apmp_tree_node(&c->tw.tree, handle, &n) == 0 && n.type == GCT_CPU &&
	    n.id < APMP_MAX_CPUS && !n.owner && !n.current_owner)
		console_order_deassigned(c, (uint32_t)n.id);
}

static void do_configure(struct partition *p, const struct apmp_call_request *r)
{
	struct console *c = p->console;
	struct apmp_console_partition *record = &c->state->partition[p->id];
	struct recorded_change change = {.p = p,
					 .seq = r->seq,
					 .haste = r->op == APMP_CALL_DEASSIGN &&
						  r->arg[1] & APMP_DEASSIGN_HASTE};
	struct apmp_call_reply reply = {.seq = r->seq};

	reply.error = console_configure(c, r, p->handle, record_change, &change, &change.done);
	if (reply.error || apmp_load_relaxed(&record->last_seq) != r->seq) {
		reply.reason = change.done.reason;
		memcpy(reply.ret, change.done.ret, sizeof(reply.ret));
		send_reply(p, &reply, -1);
	} else if (!apmp_load_relaxed(&record->durable_level)) {
		send_recorded(p);
	}
	if (change.done.permanent)
		console_save(c);
	if (!reply.error && r->op == APMP_CALL_DEASSIGN)
		tell_deassigned(c, (int32_t)r->arg[0]);
}

/* The CPU may have gone on, and its receiver have died, when the answer has to be sent again: so it
 * is recorded with the arrival. */
static void do_migrate(struct partition *p, const struct apmp_call_request *r)
{
	struct recorded_change change = {.p = p, .seq = r->seq};
	struct apmp_crash last_gasp;
	bool fails = !apmp_crash_read(p->hwrpb, &last_gasp);
	int err = -ENXIO;

	if (fails)
		console_failover_begin(p);
	if (r->arg[0] < APMP_MAX_CPUS && r->arg[1] < APMP_MAX_PARTITIONS)
		err = console_migrate(p, (uint32_t)r->arg[0], (uint32_t)r->arg[1],
				      (uint32_t)r->arg[2], record_change, &change);
	console_callback_reply(p, r->seq, err);
	/* Behind what others wait for. */
	if (!(r->arg[2] & APMP_MIGRATE_CONSOLE) && r->arg[0] < p->console->cpu_count)
		console_event(p->console, "cpu.quiesced", p, "{s:I}", "cpu", (json_int_t)r->arg[0]);
	if (fails)
		console_failover_tell(p);
}

void console_callbacks_durable(struct console *c, uint64_t level, int error)
{
	for (uint32_t i = 0; i < APMP_MAX_PARTITIONS; i++) {
		struct partition *p = &c->partition[i];
		struct apmp_console_partition *record = &c->state->partition[i];
		uint64_t owed = apmp_load_relaxed(&record->durable_level);

		if (!owed || owed > level)
			continue;
		if (error) {
			record->last_reply.error = error;
			record->last_reply.reason = APMP_REASON_STORAGE;
		}
		if (p->exists && p->channel >= 0)
			send_recorded(p);
		else
			apmp_store_relaxed(&record->durable_level, 0);
	}
}

/* Firmware memory that this partition may map: its descriptor and where it begins; -ENXIO. */
static int firmware_at(struct partition *p, uint64_t pa, uint64_t size, int *ret_fd,
		       uint64_t *ret_base, bool *ret_writable)
{
	const struct {
		uint64_t pa, size;
		uint32_t kind, id;
		bool writable;
	} areas[] = {
	    {CONSOLE_TREE_PA, p->console->tree_size, APMP_BOX_TREE_RO, 0, false},
	    {CONSOLE_LINES_PA, APMP_INTR_SIZE, APMP_BOX_LINES, 0, true},
	    {CONSOLE_HWRPB_PA(p->id), HWRPB_SIZE, APMP_BOX_HWRPB, p->id, true},
	    {CONSOLE_RECORDER_PA(p->id), APMP_RECORDER_SIZE, APMP_BOX_RECORDER, p->id, true},
	};
	int fds[2];

	for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		uint64_t end = areas[i].pa + (areas[i].size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE *
						 APMP_PAGE_SIZE;

		if (pa < areas[i].pa || pa >= end || size > end - pa)
			continue;
		if (console_object(p->console, areas[i].kind, areas[i].id, 0, fds))
			return -ENXIO;
		*ret_fd = fds[0];
		*ret_base = areas[i].pa;
		*ret_writable = areas[i].writable;
		return 0;
	}
	return -ENXIO;
}

/* Memory: a fragment of its own or of its community. */
static int memory_at(struct partition *p, uint64_t pa, uint64_t size, int *ret_fd,
		     uint64_t *ret_base)
{
	struct apmp_tree *tree = &p->console->tw.tree;
	struct apmp_tree_partition self;
	struct apmp_tree_fragment f;
	struct apmp_box_event event;
	int err = apmp_tree_memory_at(tree, pa, &f);
	int32_t owner;

	if (err || size > f.size - (pa - f.pa) || apmp_tree_partition(tree, p->id, &self))
		return -ENXIO;
	owner =
	    f.owner ? f.owner : f.current_owner; /* taken back, but used until it boots [0102] */
	if (!owner || (owner != p->handle && owner != self.community))
		return -EACCES;
	return console_ram(p->console, owner, f.pa, f.size, ret_fd, ret_base, &event) ? -ENXIO : 0;
}

static void do_map(struct partition *p, const struct apmp_call_request *r)
{
	struct apmp_call_reply reply = {.seq = r->seq};
	uint64_t pa = r->arg[0], size = r->arg[1], base = 0;
	bool writable = true;
	int fd = -1;

	if (pa % APMP_PAGE_SIZE || !size || size % APMP_PAGE_SIZE)
		reply.error = -EINVAL;
	else
		reply.error = pa >= CONSOLE_TREE_PA
				  ? firmware_at(p, pa, size, &fd, &base, &writable)
				  : memory_at(p, pa, size, &fd, &base);
	reply.ret[0] = pa - base;
	reply.ret[1] = writable;
	send_reply(p, &reply, reply.error ? -1 : fd);
}

static int do_set_apmpdb_info(struct partition *p, const struct apmp_call_request *r)
{
	struct console *c = p->console;
	struct apmp_tree *tree = &c->tw.tree;
	struct apmp_tree_partition self;
	struct apmp_tree_node community;
	int32_t desc;
	int err;

	if (apmp_tree_partition(tree, p->id, &self) || !self.community ||
	    apmp_tree_node(tree, self.community, &community))
		return -EPERM;
	if (r->arg[1] && apmp_place_check(tree, self.community, r->arg[1], &desc))
		return -ENXIO;
	if (r->arg[2])
		return apmp_tree_set_apmpdb_other(&c->tw, (uint32_t)community.id, r->arg[0],
						  r->arg[1]);
	err = apmp_tree_set_apmpdb_info(&c->tw, (uint32_t)community.id, r->arg[0], r->arg[1]);
	/* Asked again: a console died between the store and its record of it. */
	if (err == -EAGAIN && r->arg[1] &&
	    apmp_tree_database(tree, self.community).info == r->arg[1])
		err = 0;
	if (!err && r->arg[0] && r->arg[0] != r->arg[1]) /* the members are to come over */
		apmp_intr_all(&c->env, APMP_INTR_TREE);
	return err;
}

/* Answered when it is fenced; by on_killed in lifecycle.c unless that is so already. */
static void do_remove(struct partition *p, const struct apmp_call_request *r)
{
	struct console *c = p->console;
	uint32_t id = apmp_identity_id(r->arg[0]);
	struct partition *dead = id == APMP_NO_PARTITION ? NULL : &c->partition[id];
	struct apmp_tree_partition mine, its;

	if (!dead || !dead->exists || dead == p || apmp_tree_partition(&c->tw.tree, p->id, &mine) ||
	    apmp_tree_partition(&c->tw.tree, id, &its)) {
		console_callback_reply(p, r->seq, -EINVAL);
		return;
	}
	if (!mine.community || mine.community != its.community) {
		console_callback_reply(p, r->seq, -EPERM);
		return;
	}
	if (!apmp_tree_alive(&c->tw.tree, r->arg[0])) {
		console_callback_reply(p, r->seq, 0);
		return;
	}
	if (dead->fence_pending || dead->bugcheck_asked ||
	    apmp_tree_debugged(&c->tw.tree, r->arg[0]) || dead->remove_waiters == CONSOLE_WAITERS) {
		console_callback_reply(p, r->seq, -EINPROGRESS);
		return;
	}
	dead->remove_waiter[dead->remove_waiters].partition = p->id;
	dead->remove_waiter[dead->remove_waiters].seq = r->seq;
	dead->remove_waiter[dead->remove_waiters++].identity = r->identity;
	console_fence(dead, FENCE_REMOVED);
}

/* The partition has got as far as it will: who waits for its boot is answered. */
static void boot_done(struct partition *p)
{
	struct varlink_call *call = p->boot_call;

	p->boot_call = NULL;
	if (call)
		varlink_call_reply(call, json_pack("{s:b}", "member", console_joins(p)));
	console_check_on(p->console);
}

static void on_booted(struct partition *p)
{
	console_set_state(p, APMP_PARTITION_RUNNING);
	console_event(p->console, "instance.booted", p, "{s:I}", "incarnation",
		      (json_int_t)apmp_identity_incarnation(console_identity(p)));
	if (!console_joins(p)) /* the others go on to join */
		boot_done(p);
}

void console_joined(struct partition *p)
{
	struct console *c = p->console;

	if (console_state(p) == APMP_PARTITION_MEMBER)
		return; /* this life has been told: by its report, or by a look at the database */
	console_set_state(p, APMP_PARTITION_MEMBER);
	console_event(c, "member.joined", p, "{s:I}", "incarnation",
		      (json_int_t)apmp_identity_incarnation(console_identity(p)));
	boot_done(p);
}

static bool same_community(const struct partition *a, const struct partition *b)
{
	struct apmp_tree *tree = &a->console->tw.tree;
	struct apmp_tree_partition mine, its;

	return apmp_tree_partition(tree, a->id, &mine) == 0 &&
	       apmp_tree_partition(tree, b->id, &its) == 0 && mine.community == its.community;
}

/* What an instance tells of another: by name, and each life's removal once. */
static void on_about_other(struct partition *p, uint32_t report, uint64_t identity)
{
	struct console *c = p->console;
	uint32_t id = apmp_identity_id(identity);
	struct partition *other = id == APMP_NO_PARTITION ? NULL : &c->partition[id];
	json_int_t incarnation = (json_int_t)apmp_identity_incarnation(identity);
	struct apmp_tree_partition its;

	/* Of its own community, and of lives that were: an instance may say anything. */
	if (!other || !other->exists || !same_community(p, other) ||
	    apmp_tree_partition(&c->tw.tree, id, &its) ||
	    apmp_identity_incarnation(identity) > its.incarnation)
		return;
	if (report == APMP_REPORT_UNSUSPECTED) {
		apmp_fetch_add(&c->state->partition[id].unsuspected, 1);
		console_event(c, "instance.unsuspected", other, "{s:s,s:I}", "by", p->name,
			      "incarnation", incarnation);
	} else if (report == APMP_REPORT_SUSPECTED) {
		apmp_fetch_add(&c->state->partition[id].suspected, 1);
		console_event(c, "instance.suspected", other, "{s:s,s:I}", "by", p->name,
			      "incarnation", incarnation);
	} else if (report == APMP_REPORT_LOCK_BROKEN) {
		console_event(c, "lock.broken", other, "{s:s,s:s}", "by", p->name, "lock",
			      "database");
	} else if (other->removed_told != identity) {
		other->removed_told = identity;
		console_event(c, "member.removed", other, "{s:s,s:I}", "by", p->name, "incarnation",
			      incarnation);
	}
}

/* A named lock: by its name, and whose it was, which the event does without when it makes no
 * sense. */
static void on_named_lock(struct partition *p, uint64_t about)
{
	struct console *c = p->console;
	uint32_t id = (uint32_t)(about >> 32) - 1;
	struct partition *other = id < APMP_MAX_PARTITIONS ? &c->partition[id] : NULL;
	struct apmp_tree_partition self;
	struct apmp_tree_community community;
	struct apmp_tree_node node;
	_Alignas(uint64_t) char name[APMP_NAME_SIZE];

	if (other && (!other->exists || !same_community(p, other)))
		other = NULL;
	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || !self.community ||
	    apmp_tree_node(&c->tw.tree, self.community, &node) ||
	    apmp_tree_community(&c->tw.tree, (uint32_t)node.id, &community))
		return;
	console_db_lock_name(c, &community, (uint32_t)about, name);
	console_event(c, "lock.broken", other, "{s:s,s:s%}", "by", p->name, "lock", name,
		      strnlen(name, sizeof(name)));
}

static void on_cpu(struct partition *p, uint32_t report, uint64_t about)
{
	struct console *c = p->console;
	uint32_t cpu_idx = (uint32_t)about;
	struct apmp_tree_node cpu;

	if (cpu_idx >= c->cpu_count || apmp_tree_cpu(&c->tw.tree, cpu_idx, &cpu))
		return;
	if (report == APMP_REPORT_CPU_QUIESCED)
		console_event(c, "cpu.quiesced", p, "{s:i}", "cpu", (int)cpu_idx);
	else if (cpu.current_owner == p->handle)
		console_order_reported(p, cpu_idx, report == APMP_REPORT_CPU_ACTIVE);
}

static void on_join_failed(struct partition *p, uint64_t about)
{
	struct console *c = p->console;
	struct varlink_call *call = p->boot_call;
	const char *why = strerror((int)about);

	p->runs_alone = true;
	console_set_state(p, APMP_PARTITION_RUNNING);
	port_print(p, "apmp-console: partition %s did not join: %s", p->name, why);
	p->boot_call = NULL;
	if (call)
		varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", why));
	console_check_on(c);
}

/* What a member says of its set's database. */
static void on_database(struct partition *p, uint32_t report, uint64_t about)
{
	static const char *const faults[] = {
#define X(name, value, text) [value] = text,
	    APMP_DB_FAULTS(X)
#undef X
	};
	struct console *c = p->console;
	struct apmp_tree_partition self;
	struct apmp_tree_database db;

	if (apmp_tree_partition(&c->tw.tree, p->id, &self) || !self.community)
		return;
	if (report == APMP_REPORT_PAGE_BAD) {
		/* Another may have found it before; what is not the community's is nonsense. */
		(void)!console_page_bad(c, self.community, about, p);
		return;
	}
	if (report == APMP_REPORT_DB_ODD) {
		if (about && about < sizeof(faults) / sizeof(faults[0]))
			console_event(c, "set.odd", p, "{s:s}", "what", faults[about]);
		return;
	}
	db = apmp_tree_database(&c->tw.tree, self.community);
	console_event(c, "set.reformed", p, "{s:I,s:I}", "incarnation", (json_int_t)about, "pfn",
		      (json_int_t)apmp_place_pfn(db.info));
}

static void on_report(struct partition *p, uint32_t report, uint64_t about)
{
	struct console *c = p->console;

	switch (report) {
	case APMP_REPORT_BOOTED:
		on_booted(p);
		break;
	case APMP_REPORT_CREATING:
		console_set_state(p, APMP_PARTITION_CREATING);
		break;
	case APMP_REPORT_JOINING:
		console_set_state(p, APMP_PARTITION_JOINING);
		break;
	case APMP_REPORT_LEAVING:
		console_set_state(p, APMP_PARTITION_LEAVING);
		break;
	case APMP_REPORT_CREATED:
		console_event(c, "set.created", p, "{s:I}", "incarnation", (json_int_t)about);
		break;
	case APMP_REPORT_JOINED:
		console_joined(p);
		break;
	case APMP_REPORT_LEFT:
		console_set_state(p, APMP_PARTITION_RUNNING);
		console_event(c, "member.left", p, NULL);
		break;
	case APMP_REPORT_JOIN_FAILED:
		on_join_failed(p, about);
		break;
	case APMP_REPORT_SUSPECTED:
	case APMP_REPORT_UNSUSPECTED:
	case APMP_REPORT_REMOVED:
	case APMP_REPORT_LOCK_BROKEN:
		on_about_other(p, report, about);
		break;
	case APMP_REPORT_NAMED_LOCK_BROKEN:
		on_named_lock(p, about);
		break;
	case APMP_REPORT_CPU_ACTIVE:
	case APMP_REPORT_CPU_QUIESCED:
	case APMP_REPORT_CPU_HALTED:
		on_cpu(p, report, about);
		break;
	case APMP_REPORT_PAGE_BAD:
	case APMP_REPORT_DB_ODD:
	case APMP_REPORT_REFORMED:
		on_database(p, report, about);
		break;
	default: /* CPU_REFUSED, WISHED; or of a build that knows more, where nothing is lost */
		break;
	}
	/* Whatever it says: what was to be said of these may have been lost. */
	console_wish_look(p);
	console_orders_look(p);
}

/* It calls us: the thread that does so is there, which makes the others, and the clock does not
 * beat yet. */
static void make_urgent(struct partition *p)
{
	struct apmp_box_request request = {.op = APMP_BOX_OP_URGENT, .id = p->id};

	p->urgent = true;
	box_link_post(&p->console->box, &request, NULL, NULL); /* refused: it is as it was */
}

static void serve(struct partition *p, const struct apmp_call_request *r)
{
	struct apmp_console_partition *record = &p->console->state->partition[p->id];

	/* Two that judge each other dead: only the first is heard. */
	if (r->identity != console_identity(p) || p->fencing) {
		if (r->op != APMP_CALL_REPORT)
			console_callback_reply(p, r->seq, -ESTALE);
		return;
	}
	if (!p->urgent)
		make_urgent(p);
	if (!r->seq && r->op != APMP_CALL_REPORT) { /* the console's word for "ask again" */
		console_callback_reply(p, 0, -EINVAL);
		return;
	}
	/* Carried out before a restart; only the answer was lost.  MAP's descriptor is sent anew.
	 */
	if (r->op != APMP_CALL_REPORT && r->op != APMP_CALL_MAP &&
	    r->seq == apmp_load_relaxed(&record->last_seq)) {
		if (!apmp_load_relaxed(
			&record->durable_level)) /* else it is sent when it is durable */
			send_recorded(p);
		return;
	}
	switch (r->op) {
	case APMP_CALL_MAP:
		do_map(p, r);
		break;
	case APMP_CALL_SET_APMPDB_INFO:
		console_callback_reply(p, r->seq, do_set_apmpdb_info(p, r));
		break;
	case APMP_CALL_REMOVE_INSTANCE:
		do_remove(p, r);
		break;
	case APMP_CALL_MIGRATE_CPU:
		do_migrate(p, r);
		break;
	case APMP_CALL_REPORT:
		on_report(p, (uint32_t)r->arg[0], r->arg[1]);
		break;
	case APMP_CALL_EXIT:
		apmp_store_relaxed(&record->exit,
				   r->arg[0] == APMP_EXIT_HALT ? APMP_EXIT_HALT : APMP_EXIT_CRASH);
		console_callback_reply(p, r->seq, 0);
		break;
	default:
		if (r->op >= APMP_CALL_CREATE_COMMUNITY && r->op <= APMP_CALL_RESET_BUSES)
			do_configure(p, r);
		else
			console_callback_reply(p, r->seq, -EINVAL);
	}
}

static void on_channel(uv_poll_t *poll, int status, int events)
{
	struct partition *p = poll->data;
	struct apmp_call_request request;
	int fds[APMP_DATAGRAM_FDS], n;
	unsigned count = 0;

	(void)status;
	n = apmp_datagram_receive(p->channel, &request, sizeof(request), fds, &count);
	while (count > 0)
		close(fds[--count]);
	if (n == (int)sizeof(request))
		serve(p, &request);
	else if ((n < 0 && n != -EAGAIN && n != -EMSGSIZE) || (n == 0 && events & UV_DISCONNECT))
		uv_poll_stop(poll); /* it is broken, or shut down: that would be read without end */
	/* Anything else is not a request: an instance that sends it gets no answer. */
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

int console_channel_open(struct partition *p)
{
	int fds[2], err = console_object(p->console, APMP_BOX_CHANNEL, p->id, 0, fds);

	if (err)
		return err;
	p->channel_poll = calloc(1, sizeof(*p->channel_poll));
	if (!p->channel_poll)
		return -ENOMEM;
	err = uv_poll_init(&p->console->loop, p->channel_poll, fds[0]);
	if (err) {
		free(p->channel_poll);
		p->channel_poll = NULL;
		return err;
	}
	p->channel = fds[0];
	p->urgent = false;
	p->channel_poll->data = p;
	return uv_poll_start(p->channel_poll, UV_READABLE | UV_DISCONNECT, on_channel);
}

void console_channel_close(struct partition *p)
{
	if (!p->channel_poll)
		return;
	uv_poll_stop(p->channel_poll);
	uv_close((uv_handle_t *)p->channel_poll, on_poll_closed);
	p->channel_poll = NULL;
	p->channel = -1;
}
