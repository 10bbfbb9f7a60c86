/*
 * crash.c - the last gasp of an instance and the contexts of its CPUs, written and read.
 *
 * STATES    of the record: 0 -> 2 by whoever has written all of it.  Of each context: 0 -> 1 by
 *           compare-and-swap of the one who writes it -> 2 when it is whole.  Nothing leads back
 *           but apmp_hwrpb_prepare, of the next life.
 * WRITERS   Of the record: all who fail.  What they write is the first one's, whose thread may not
 *           come to that any more: it was stopped, or has failed again.  So nobody waits for it,
 *           and who ends the process has left a whole record.
 * ORDERING  2 is released after all that it says; a reader acquires it and copies.
 * CRASHES   Who is killed before it has written all leaves 0 or 1: there is nothing to read.
 */
#include "shm/crash.h"

#include <errno.h>
#include <string.h>

#include "shm/shared.h"

enum { NONE = 0, BEING_WRITTEN = 1, WHOLE = 2 };

/* In the order of ucontext_t; of aarch64, which has more, those that a call leaves. */
static const char *const register_names[] = {
#if defined(__x86_64__)
    "r8",  "r9",  "r10", "r11", "r12", "r13",	 "r14",	   "r15", "rdi",    "rsi",     "rbp", "rbx",
    "rdx", "rax", "rcx", "rsp", "rip", "eflags", "csgsfs", "err", "trapno", "oldmask", "cr2",
#else
    "x0",  "x1",  "x2",	 "x3",	"x4",  "x5",  "x6",  "x7",  "x8",  "x9", "x10", "x11",
    "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x29", "x30", "sp", "pc",	"pstate",
#endif
};

const char *apmp_context_register_name(uint32_t idx)
{
	return idx < sizeof(register_names) / sizeof(register_names[0]) ? register_names[idx]
									: NULL;
}

const char *apmp_crash_reason_text(uint32_t reason)
{
	static const char *const texts[] = {
#define X(name, value, text) [value] = text,
	    HWRPB_CRASHES(X)
#undef X
	};

	return reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : NULL;
}

static bool begin(_Atomic uint32_t *state)
{
	uint32_t none = NONE;

	return apmp_cas(state, &none, BEING_WRITTEN);
}

/* A text of size bytes, all of which is written. */
static void text_in(char *to, const char *from, size_t size)
{
	_Alignas(uint64_t) char text[HWRPB_CRASH_TEXT] = {0};

	for (size_t i = 0; i < size - 1 && from[i]; i++)
		text[i] = from[i];
	apmp_copy_in(to, text, size);
}

/* It goes to terminals. */
static void text_out(char *to, const char *from, size_t size)
{
	_Alignas(uint64_t) char text[HWRPB_CRASH_TEXT];

	apmp_copy_out(text, from, size);
	memset(to, 0, size);
	for (size_t i = 0; i < size - 1 && text[i]; i++)
		to[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
}

bool apmp_crash_write(struct hwrpb *h, const struct apmp_crash *_Atomic *first,
		      const struct apmp_crash *mine)
{
	const struct apmp_crash *crash = NULL;
	struct hwrpb_crash *to = &h->crash;
	/* Released: what it says; acquired: what that of another says. */
	bool is_first = apmp_cas(first, &crash, mine);

	if (is_first)
		crash = mine;
	apmp_store_relaxed(&to->reason, crash->reason);
	apmp_store_relaxed(&to->thread, crash->thread);
	apmp_store_relaxed(&to->signal, crash->signal);
	apmp_store_relaxed(&to->address, crash->address);
	apmp_store_relaxed(&to->t_ns, crash->t_ns);
	apmp_store_relaxed(&to->image, crash->image);
	text_in(to->text, crash->text, sizeof(to->text));
	/* Acquired by apmp_crash_read. */
	apmp_store_release(&to->state, WHOLE);
	return is_first;
}

bool apmp_context_begin(struct hwrpb *h, uint32_t cpu_idx)
{
	return begin(&h->saved[cpu_idx].state);
}

void apmp_context_finish(struct hwrpb *h, uint32_t cpu_idx, const struct apmp_context *context)
{
	struct hwrpb_context *to = &h->saved[cpu_idx];

	apmp_store_relaxed(&to->thread, context->thread);
	apmp_store_relaxed(&to->task, context->task);
	apmp_store_relaxed(&to->t_ns, context->t_ns);
	apmp_store_relaxed(&to->register_count, context->register_count);
	apmp_store_relaxed(&to->frame_count, context->frame_count);
	for (uint32_t i = 0; i < context->register_count; i++)
		apmp_store_relaxed(&to->reg[i], context->reg[i]);
	for (uint32_t i = 0; i < context->frame_count; i++)
		apmp_store_relaxed(&to->frame[i], context->frame[i]);
	apmp_store_relaxed(&to->program, context->program);
	apmp_store_relaxed(&to->program_end, context->program_end);
	text_in(to->task_name, context->task_name, sizeof(to->task_name));
	/* Acquired by apmp_context_read and apmp_context_saved. */
	apmp_store_release(&to->state, WHOLE);
}

bool apmp_context_saved(const struct hwrpb *h, uint32_t cpu_idx)
{
	return apmp_load_acquire(&h->saved[cpu_idx].state) == WHOLE;
}

/* 0 whole; -ENOENT, -EBADMSG. */
static int readable(const _Atomic uint32_t *state)
{
	/* Acquires what was stored before it was whole. */
	uint32_t is = apmp_load_acquire(state);

	return is == WHOLE ? 0 : is > WHOLE ? -EBADMSG : -ENOENT;
}

int apmp_crash_read(const struct hwrpb *h, struct apmp_crash *ret_crash)
{
	const struct hwrpb_crash *from = &h->crash;
	struct apmp_crash crash;
	int err = readable(&from->state);

	if (err)
		return err;
	crash = (struct apmp_crash){.reason = apmp_load_relaxed(&from->reason),
				    .thread = apmp_load_relaxed(&from->thread),
				    .signal = apmp_load_relaxed(&from->signal),
				    .address = apmp_load_relaxed(&from->address),
				    .t_ns = apmp_load_relaxed(&from->t_ns),
				    .image = apmp_load_relaxed(&from->image)};
	if (!apmp_crash_reason_text(crash.reason))
		return -EBADMSG;
	text_out(crash.text, from->text, sizeof(crash.text));
	*ret_crash = crash;
	return 0;
}

int apmp_context_read(const struct hwrpb *h, uint32_t cpu_idx, struct apmp_context *ret_context)
{
	const struct hwrpb_context *from = &h->saved[cpu_idx % APMP_MAX_CPUS];
	struct apmp_context context;
	int err;

	if (cpu_idx >= APMP_MAX_CPUS || cpu_idx >= apmp_load_relaxed(&h->cpu_count))
		return -ENXIO;
	err = readable(&from->state);
	if (err)
		return err;
	context = (struct apmp_context){.thread = apmp_load_relaxed(&from->thread),
					.task = apmp_load_relaxed(&from->task),
					.t_ns = apmp_load_relaxed(&from->t_ns),
					.register_count = apmp_load_relaxed(&from->register_count),
					.frame_count = apmp_load_relaxed(&from->frame_count),
					.program = apmp_load_relaxed(&from->program),
					.program_end = apmp_load_relaxed(&from->program_end)};
	if (context.register_count > HWRPB_REGISTERS || context.frame_count > HWRPB_FRAMES)
		return -EBADMSG;
	for (uint32_t i = 0; i < context.register_count; i++)
		context.reg[i] = apmp_load_relaxed(&from->reg[i]);
	for (uint32_t i = 0; i < context.frame_count; i++)
		context.frame[i] = apmp_load_relaxed(&from->frame[i]);
	text_out(context.task_name, from->task_name, sizeof(context.task_name));
	*ret_context = context;
	return 0;
}

bool apmp_failover_next(uint64_t targets, uint32_t self_id, uint32_t *place, uint32_t *ret_id)
{
	while (*place < HWRPB_TARGETS) {
		uint32_t id = (uint32_t)(targets >> 8u * *place & 0xffu);

		if (id == 0 || id - 1 == self_id)
			return false;
		++*place;
		if (id > APMP_MAX_PARTITIONS)
			continue;
		*ret_id = id - 1;
		return true;
	}
	return false;
}
