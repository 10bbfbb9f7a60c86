/* Requests of the console: each is checked as a message, done, answered. */
#include "apmpd/box_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int apmp__call_fail(struct apmp_call *call, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(call->answer.text, sizeof(call->answer.text), format, args);
	va_end(args);
	return error;
}

static int no_memory(struct apmp_call *call, const struct apmp_shortage *shortage)
{
	call->answer.arg[0] = shortage->wanted;
	call->answer.arg[1] = shortage->had;
	return apmp__call_fail(call, -ENOMEM, "%s", shortage->limit);
}

int apmp__call_short(struct apmp_call *call, int error, const struct apmp_short *shortage)
{
	call->answer.arg[0] = shortage->wanted;
	call->answer.arg[1] = shortage->supply.had;
	return apmp__call_fail(call, error, "%s (%s)", shortage->what, shortage->supply.limit);
}

static int op_room(struct apmp_box *box, struct apmp_call *call)
{
	struct apmp_short shortage = {0};
	int error = apmp_enough_for_process(call->request->arg[0], &shortage);

	(void)box;
	return error ? apmp__call_short(call, error, &shortage) : 0;
}

static int op_make(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	const char *kind = apmp_object_kind_name(request->kind);
	struct apmp_shortage shortage = {0};
	const struct apmp_object *object;
	int error = apmp_objects_make(&box->objects, request->kind, request->id, request->size,
				      &object, &shortage);

	call->answer.kind = request->kind;
	if (error == -ENOMEM)
		return no_memory(call, &shortage);
	if (error)
		return apmp__call_fail(call, error,
				       "cannot make %s %" PRIu64 " of %" PRIu64 " bytes: %s", kind,
				       request->id, request->size, strerror(-error));
	call->answer.size = object->size;
	call->answer_fd_count = object->fd_count;
	for (unsigned i = 0; i < object->fd_count; i++)
		call->answer_fds[i] = object->fds[i];
	return 0;
}

static int op_drop(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	int error;

	call->answer.kind = request->kind;
	if (apmp__dump_takes(box, request->kind, request->id))
		return 0;
	error = apmp_objects_drop(&box->objects, request->kind, request->id);
	if (error)
		return apmp__call_fail(call, error, "cannot drop %s %" PRIu64 ": %s",
				       apmp_object_kind_name(request->kind), request->id,
				       strerror(-error));
	return 0;
}

/* Answered when only the console is left. */
static int power_off(struct apmp_box *box, struct apmp_call *call, const char *why)
{
	box->off_asked = call->asked;
	apmp__power_off(box, why);
	return APMP__BOX_LATER;
}

static int op_on(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	bool failed = request->arg[0] != 0;

	apmp__box_word(box, failed ? APMP_WORD_FAILED : APMP_WORD_ON, "%s", request->text);
	/* A machine that is on goes on, with the next console. */
	return failed && !box->was_on ? power_off(box, call, "power on failed") : 0;
}

static int op_off(struct apmp_box *box, struct apmp_call *call)
{
	return power_off(box, call, "the console said OFF");
}

static const struct {
	int (*handle)(struct apmp_box *box, struct apmp_call *call);
	bool of_partition; /* id is a partition's */
	bool while_ending; /* also when the box is on its way off */
} ops[] = {
    [APMP_BOX_OP_MAKE] = {op_make, false, false},
    [APMP_BOX_OP_DROP] = {op_drop, false, true},
    [APMP_BOX_OP_SPAWN] = {apmp__box_spawn, true, false},
    [APMP_BOX_OP_KILL] = {apmp__box_kill, true, true},
    [APMP_BOX_OP_SIGNAL] = {apmp__box_signal, true, true},
    [APMP_BOX_OP_CPUSET] = {apmp__box_cpuset, true, false},
    [APMP_BOX_OP_RUN] = {apmp__box_run_program, true, false},
    [APMP_BOX_OP_RUN_KILL] = {apmp__box_run_kill, false, true},
    [APMP_BOX_OP_ON] = {op_on, false, false},
    [APMP_BOX_OP_OFF] = {op_off, false, true},
    [APMP_BOX_OP_REMOVE] = {apmp__box_remove, true, true},
    [APMP_BOX_OP_NVRAM] = {apmp__box_nvram, false, true},
    [APMP_BOX_OP_ROOM] = {op_room, false, false},
    [APMP_BOX_OP_PONG] = {apmp__box_pong, false, true},
    [APMP_BOX_OP_DUMP] = {apmp__box_dump, true, false},
    [APMP_BOX_OP_URGENT] = {apmp__box_urgent, true, false},
};

#define X(name, value, text) +1
_Static_assert(sizeof(ops) / sizeof(ops[0]) == 1 + (0 APMP_BOX_OPS(X)), "an op without a handler");
#undef X

static int handle(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	uint32_t op = request->op;

	if (op >= sizeof(ops) / sizeof(ops[0]) || !ops[op].handle)
		return apmp__call_fail(call, -ENOSYS, "the box does not know request %u", op);
	if (ops[op].of_partition && request->id >= APMP_MAX_PARTITIONS)
		return apmp__call_fail(call, -EINVAL, "there is no partition %" PRIu64,
				       request->id);
	if (box->power != APMP_POWER_ON && !ops[op].while_ending)
		return apmp__call_fail(call, -ESHUTDOWN, "the machine is being powered off");
	return ops[op].handle(box, call);
}

void apmp__box_request(void *owner, const struct apmp_box_request *request, const int *fds,
		       unsigned fd_count)
{
	struct apmp_box *box = owner;
	struct apmp_call call = {.request = request,
				 .fds = fds,
				 .fd_count = fd_count,
				 .asked = {.seq = request->seq, .life = box->console.life}};
	uint64_t begin_ns = uv_hrtime();
	int result;

	call.answer.id = request->id;
	apmp__watch_heard(box);
	result = handle(box, &call);
	apmp_watch_busy(&box->console.watch, (uv_hrtime() - begin_ns) / 1000000);
	if (result == APMP__BOX_LATER)
		return;
	call.answer.error = result;
	apmp__box_done(box, call.asked, &call.answer, call.answer_fds, call.answer_fd_count);
}
