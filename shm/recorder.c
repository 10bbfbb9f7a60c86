/*
 * recorder.c - a ring of points passed, written by all threads of one party, read by others.
 *
 * ORDERING  An entry's seq is 0 while it is written and released last; a reader acquires it,
 *           copies, and looks at it again: an entry overwritten meanwhile is not returned.
 * CRASHES   An entry of a thread that died in the middle has seq 0: readers skip it.
 * LIMITS    APMP_RECORDER_ENTRIES entries; older ones are lost.  A writer kept from running for a
 *           whole lap writes an old entry over a newer one, which readers then don't find.
 */
#include "shm/recorder.h"

#include <errno.h>
#include <string.h>

#include "shm/shared.h"

void apmp_recorder_init(struct apmp_recorder *rec)
{
	apmp_store_release(&rec->magic, APMP_RECORDER_MAGIC);
}

void apmp_recorder_begin(struct apmp_recorder *rec)
{
	apmp_store_relaxed(&rec->died_at, APMP_P_NONE);
	apmp_store_relaxed(&rec->panicked, 0);
	for (uint32_t i = 0; i < APMP_BEACON_TASKS; i++)
		apmp_store_relaxed(&rec->task[i].number, 0);
}

int apmp_recorder_check(const struct apmp_recorder *rec, uint64_t size)
{
	if (size < sizeof(*rec) || apmp_load_acquire(&rec->magic) != APMP_RECORDER_MAGIC)
		return -EBADMSG;
	return 0;
}

/* Counts an armed point down; its fault when this was the passing. */
static enum apmp_fault count_down(struct apmp_recorder *rec, enum apmp_point point)
{
	uint32_t word = apmp_load_relaxed(&rec->arm[point]);

	while (APMP_ARM_COUNT(word) > 0) {
		bool strikes = APMP_ARM_COUNT(word) == 1;

		if (!apmp_cas(&rec->arm[point], &word, strikes ? 0 : word - 1))
			continue;
		if (!strikes)
			return APMP_FAULT_NONE;
		apmp_fetch_add(&rec->armed, UINT32_MAX);
		apmp_store_relaxed(&rec->died_at, point);
		return (enum apmp_fault)APMP_ARM_FAULT(word);
	}
	return APMP_FAULT_NONE;
}

enum apmp_fault apmp_recorder_pass(struct apmp_recorder *rec, enum apmp_point point,
				   uint32_t thread, uint64_t arg, uint64_t t_ns)
{
	uint64_t idx = apmp_fetch_add(&rec->head, 1);
	struct apmp_recorder_entry *entry = &rec->entry[idx % APMP_RECORDER_ENTRIES];

	apmp_store_relaxed(&entry->seq, 0);
	atomic_thread_fence(memory_order_release); /* 0 before any of the new fields */
	apmp_store_relaxed(&entry->t_ns, t_ns);
	apmp_store_relaxed(&entry->point, point);
	apmp_store_relaxed(&entry->thread, thread);
	apmp_store_relaxed(&entry->arg, arg);
	apmp_store_release(&entry->seq, idx + 1);
	atomic_fetch_add_explicit(&rec->count[point], 1, memory_order_relaxed);
	return apmp_load_relaxed(&rec->armed) ? count_down(rec, point) : APMP_FAULT_NONE;
}

void apmp_recorder_arm_fault(struct apmp_recorder *rec, enum apmp_point point, uint32_t nth,
			     enum apmp_fault fault)
{
	uint32_t count = nth < APMP_ARM_COUNT_MAX ? nth : APMP_ARM_COUNT_MAX;
	uint32_t old = apmp_swap(&rec->arm[point], count ? APMP_ARM(fault, count) : 0);

	if (nth && !old)
		apmp_fetch_add(&rec->armed, 1);
	else if (!nth && old)
		apmp_fetch_add(&rec->armed, UINT32_MAX);
}

void apmp_recorder_arm(struct apmp_recorder *rec, enum apmp_point point, uint32_t nth)
{
	apmp_recorder_arm_fault(rec, point, nth, APMP_FAULT_KILL);
}

enum apmp_fault apmp_fault_find(const char *name)
{
	static const struct {
		const char *name;
		enum apmp_fault fault;
	} faults[] = {
#define X(name, value, text) {text, APMP_FAULT_##name},
	    APMP_FAULTS(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (strcmp(faults[i].name, name) == 0)
			return faults[i].fault;
	return APMP_FAULT_NONE;
}

uint64_t apmp_recorder_newest(const struct apmp_recorder *rec)
{
	return apmp_load_acquire(&rec->head);
}

int apmp_recorder_read(const struct apmp_recorder *rec, uint64_t seq,
		       struct apmp_recorder_view *ret_view)
{
	const struct apmp_recorder_entry *entry = &rec->entry[(seq - 1) % APMP_RECORDER_ENTRIES];
	struct apmp_recorder_view view = {.seq = seq};

	if (seq == 0 || apmp_load_acquire(&entry->seq) != seq)
		return -ENOENT;
	view.t_ns = apmp_load_relaxed(&entry->t_ns);
	view.arg = apmp_load_relaxed(&entry->arg);
	view.point = apmp_load_relaxed(&entry->point);
	view.thread = apmp_load_relaxed(&entry->thread);
	atomic_thread_fence(memory_order_acquire);
	if (apmp_load_relaxed(&entry->seq) != seq)
		return -ENOENT;
	if (!apmp_point_info(view.point))
		return -EBADMSG;
	*ret_view = view;
	return 0;
}
