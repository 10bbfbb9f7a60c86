/*
 * layouts.c - prints every structure that two processes share as JSON: names, sizes, offsets,
 * types.
 *
 * WHAT      Built to BUILD/PROFILE/layouts.  Its output is compared with layouts.json beside this
 *           file (tests/system/test_layouts.py), and is what Python and others read memory with:
 *           an offset is never written down twice.  After a wanted change of a layout: raise
 *           APMP_LAYOUT_REVISION, then `make golden`.
 * CHECKS    The compiler refuses an entry whose type is not the field's; the program prints nothing
 *           and ends with 1 when the fields of a structure leave a byte out.  The test compares the
 *           structures here with those in the headers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "shm/call.h"
#include "shm/layout_common.h"
#include "shm/layout_console.h"
#include "shm/layout_db.h"
#include "shm/layout_gct.h"
#include "shm/layout_hwrpb.h"
#include "shm/layout_intr.h"
#include "shm/layout_lock.h"
#include "shm/layout_recorder.h"

struct field {
	const char *name;
	const char *type; /* C text; of one element */
	size_t off, size; /* size of one element */
	size_t count;	  /* elements; 0: not an array */
	int typed;	  /* 1; does not compile when the type is another */
};

struct structure {
	const char *name;
	size_t size;
	const struct field *field;
	size_t count;
};

#define FIELD(s, f, t)                                                                             \
	{                                                                                          \
#f, #t, offsetof(struct s, f), sizeof(t), 0,                                       \
		    _Generic(&((struct s *)0)->f, t * : 1)                                         \
	}
#define ARRAY(s, f, t, n)                                                                          \
	{                                                                                          \
#f, #t, offsetof(struct s, f), sizeof(t), n,                                       \
		    _Generic(&((struct s *)0)->f, t(*)[n] : 1)                                     \
	}
#define FIELDS(s) static const struct field fields_of_##s[]
#define STRUCTURE(s)                                                                               \
	{                                                                                          \
#s, sizeof(struct s), fields_of_##s, sizeof(fields_of_##s) / sizeof(struct field)  \
	}

/* clang-format off */
FIELDS(apmp_call_request) = {
	FIELD(apmp_call_request, seq, uint64_t),
	FIELD(apmp_call_request, identity, uint64_t),
	FIELD(apmp_call_request, op, uint32_t),
	FIELD(apmp_call_request, thread, uint32_t),
	ARRAY(apmp_call_request, arg, uint64_t, APMP_CALL_ARGS),
	ARRAY(apmp_call_request, text, char, APMP_CALL_TEXT),
};

FIELDS(apmp_call_reply) = {
	FIELD(apmp_call_reply, seq, uint64_t),
	FIELD(apmp_call_reply, error, int32_t),
	FIELD(apmp_call_reply, reason, uint32_t),
	ARRAY(apmp_call_reply, ret, uint64_t, 2),
};

FIELDS(apmp_cpu_bits) = {
	ARRAY(apmp_cpu_bits, word, uint64_t, APMP_MAX_CPUS / 64u),
};

FIELDS(gct_header) = {
	FIELD(gct_header, size, _Atomic uint64_t),
	FIELD(gct_header, checksum, _Atomic uint64_t),
	FIELD(gct_header, fingerprint, _Atomic uint64_t),
	ARRAY(gct_header, reserved, uint64_t, 5),
};

FIELDS(gct_node) = {
	FIELD(gct_node, type, _Atomic uint8_t),
	FIELD(gct_node, subtype, _Atomic uint8_t),
	FIELD(gct_node, size, _Atomic uint16_t),
	FIELD(gct_node, owner, _Atomic int32_t),
	FIELD(gct_node, current_owner, _Atomic int32_t),
	FIELD(gct_node, id_fill, uint32_t),
	FIELD(gct_node, id, _Atomic uint64_t),
	FIELD(gct_node, node_flags, _Atomic uint64_t),
	FIELD(gct_node, config, _Atomic int32_t),
	FIELD(gct_node, affinity, _Atomic int32_t),
	FIELD(gct_node, parent, _Atomic int32_t),
	FIELD(gct_node, next_sib, _Atomic int32_t),
	FIELD(gct_node, prev_sib, _Atomic int32_t),
	FIELD(gct_node, child, _Atomic int32_t),
	FIELD(gct_node, reserved, _Atomic int32_t),
	FIELD(gct_node, magic, _Atomic uint32_t),
};

FIELDS(gct_root_node) = {
	FIELD(gct_root_node, hd, struct gct_node),
	FIELD(gct_root_node, lock, _Atomic uint64_t),
	FIELD(gct_root_node, transient_level, _Atomic uint64_t),
	FIELD(gct_root_node, current_level, _Atomic uint64_t),
	FIELD(gct_root_node, console_req, _Atomic uint64_t),
	FIELD(gct_root_node, min_alloc, _Atomic uint64_t),
	FIELD(gct_root_node, min_align, _Atomic uint64_t),
	FIELD(gct_root_node, base_alloc, _Atomic uint64_t),
	FIELD(gct_root_node, base_align, _Atomic uint64_t),
	FIELD(gct_root_node, max_phys_address, _Atomic uint64_t),
	FIELD(gct_root_node, mem_size, _Atomic uint64_t),
	FIELD(gct_root_node, platform_type, _Atomic uint64_t),
	FIELD(gct_root_node, platform_name, _Atomic int32_t),
	FIELD(gct_root_node, primary_instance, _Atomic int32_t),
	FIELD(gct_root_node, first_free, _Atomic int32_t),
	FIELD(gct_root_node, high_limit, _Atomic int32_t),
	FIELD(gct_root_node, lookaside, _Atomic int32_t),
	FIELD(gct_root_node, available, _Atomic int32_t),
	FIELD(gct_root_node, max_partition, _Atomic uint32_t),
	FIELD(gct_root_node, partitions, _Atomic int32_t),
	FIELD(gct_root_node, communities, _Atomic int32_t),
	FIELD(gct_root_node, max_platform_partition, _Atomic uint32_t),
	FIELD(gct_root_node, max_fragments, _Atomic uint32_t),
	FIELD(gct_root_node, max_desc, _Atomic uint32_t),
	ARRAY(gct_root_node, apmp_id, char, 16),
	ARRAY(gct_root_node, apmp_id_pad, char, 4),
	FIELD(gct_root_node, bindings, _Atomic int32_t),
	ARRAY(gct_root_node, fill, uint64_t, 4),
};

FIELDS(gct_binding) = {
	FIELD(gct_binding, node_type, _Atomic uint32_t),
	FIELD(gct_binding, parent_type, _Atomic uint32_t),
	FIELD(gct_binding, config_type, _Atomic uint32_t),
	FIELD(gct_binding, affinity_type, _Atomic uint32_t),
};

FIELDS(gct_community_node) = {
	FIELD(gct_community_node, hd, struct gct_node),
	FIELD(gct_community_node, apmpdb_info, _Atomic uint64_t),
	ARRAY(gct_community_node, name, char, APMP_NAME_SIZE),
	FIELD(gct_community_node, apmpdb_other, _Atomic uint64_t),
	FIELD(gct_community_node, apmpdb_id, _Atomic uint64_t),
	FIELD(gct_community_node, fill, uint64_t),
};

FIELDS(gct_partition_node) = {
	FIELD(gct_partition_node, hd, struct gct_node),
	FIELD(gct_partition_node, hwrpb, _Atomic uint64_t),
	FIELD(gct_partition_node, incarnation, _Atomic uint64_t),
	FIELD(gct_partition_node, priority, _Atomic uint64_t),
	FIELD(gct_partition_node, os_type, _Atomic int32_t),
	FIELD(gct_partition_node, partition_reserved_1, _Atomic uint32_t),
	FIELD(gct_partition_node, instance_name_format, _Atomic uint64_t),
	ARRAY(gct_partition_node, instance_name, char, 128),
	FIELD(gct_partition_node, fenced, _Atomic uint64_t),
	ARRAY(gct_partition_node, name, char, APMP_NAME_SIZE),
	FIELD(gct_partition_node, id_field, _Atomic uint64_t),
	FIELD(gct_partition_node, policy, _Atomic uint64_t),
	FIELD(gct_partition_node, debugged, _Atomic uint64_t),
	ARRAY(gct_partition_node, fill, uint64_t, 3),
};

FIELDS(gct_cpu_node) = {
	FIELD(gct_cpu_node, hd, struct gct_node),
	FIELD(gct_cpu_node, cpu_type, _Atomic uint64_t),
	FIELD(gct_cpu_node, cpu_revision, _Atomic uint64_t),
	ARRAY(gct_cpu_node, fill, uint64_t, 6),
};

FIELDS(gct_mem_info) = {
	FIELD(gct_mem_info, base_pa, _Atomic uint64_t),
	FIELD(gct_mem_info, base_size, _Atomic uint64_t),
	FIELD(gct_mem_info, desc_count, _Atomic uint32_t),
	FIELD(gct_mem_info, info_fill, _Atomic uint32_t),
};

FIELDS(gct_mem_desc) = {
	FIELD(gct_mem_desc, pa, _Atomic uint64_t),
	FIELD(gct_mem_desc, size, _Atomic uint64_t),
	FIELD(gct_mem_desc, mem_owner, _Atomic int32_t),
	FIELD(gct_mem_desc, mem_current_owner, _Atomic int32_t),
	FIELD(gct_mem_desc, mem_flags, _Atomic uint32_t),
	FIELD(gct_mem_desc, mem_fill, _Atomic uint32_t),
};

FIELDS(gct_mem_desc_node) = {
	FIELD(gct_mem_desc_node, hd, struct gct_node),
	FIELD(gct_mem_desc_node, mem_info, struct gct_mem_info),
	FIELD(gct_mem_desc_node, mem_frag, _Atomic int32_t),
	FIELD(gct_mem_desc_node, tested, _Atomic int32_t),
	ARRAY(gct_mem_desc_node, fill, uint32_t, 8),
};

FIELDS(hwrpb_slot) = {
	FIELD(hwrpb_slot, flags, _Atomic uint64_t),
	FIELD(hwrpb_slot, state, _Atomic uint32_t),
	FIELD(hwrpb_slot, host_cpu, _Atomic uint32_t),
	FIELD(hwrpb_slot, context, _Atomic uint64_t),
	FIELD(hwrpb_slot, reason_for_halt, _Atomic uint64_t),
	FIELD(hwrpb_slot, halt_requested, _Atomic uint64_t),
	FIELD(hwrpb_slot, txrdy, _Atomic uint32_t),
	FIELD(hwrpb_slot, rxrdy, _Atomic uint32_t),
	ARRAY(hwrpb_slot, tx, char, HWRPB_MSG_SIZE),
	ARRAY(hwrpb_slot, rx, char, HWRPB_MSG_SIZE),
	FIELD(hwrpb_slot, arrivals, _Atomic uint64_t),
	FIELD(hwrpb_slot, type, _Atomic uint64_t),
	FIELD(hwrpb_slot, revision, _Atomic uint64_t),
	FIELD(hwrpb_slot, refused, _Atomic uint32_t),
	FIELD(hwrpb_slot, bound, _Atomic uint32_t),
	FIELD(hwrpb_slot, request, struct hwrpb_request),
	FIELD(hwrpb_slot, not_started, _Atomic uint64_t),
	ARRAY(hwrpb_slot, fill, uint64_t, 3),
};

FIELDS(hwrpb_request) = {
	FIELD(hwrpb_request, seq, _Atomic uint32_t),
	FIELD(hwrpb_request, op, _Atomic uint32_t),
	FIELD(hwrpb_request, answer, _Atomic uint64_t),
	ARRAY(hwrpb_request, arg, _Atomic uint64_t, 2),
};

FIELDS(hwrpb_crash) = {
	FIELD(hwrpb_crash, state, _Atomic uint32_t),
	FIELD(hwrpb_crash, reason, _Atomic uint32_t),
	FIELD(hwrpb_crash, thread, _Atomic uint32_t),
	FIELD(hwrpb_crash, signal, _Atomic uint32_t),
	FIELD(hwrpb_crash, address, _Atomic uint64_t),
	FIELD(hwrpb_crash, t_ns, _Atomic uint64_t),
	FIELD(hwrpb_crash, image, _Atomic uint64_t),
	ARRAY(hwrpb_crash, fill, uint64_t, 3),
	ARRAY(hwrpb_crash, text, char, HWRPB_CRASH_TEXT),
};

FIELDS(hwrpb_context) = {
	FIELD(hwrpb_context, state, _Atomic uint32_t),
	FIELD(hwrpb_context, thread, _Atomic uint32_t),
	FIELD(hwrpb_context, task, _Atomic uint64_t),
	FIELD(hwrpb_context, t_ns, _Atomic uint64_t),
	FIELD(hwrpb_context, register_count, _Atomic uint32_t),
	FIELD(hwrpb_context, frame_count, _Atomic uint32_t),
	ARRAY(hwrpb_context, reg, _Atomic uint64_t, HWRPB_REGISTERS),
	ARRAY(hwrpb_context, frame, _Atomic uint64_t, HWRPB_FRAMES),
	FIELD(hwrpb_context, program, _Atomic uint64_t),
	FIELD(hwrpb_context, program_end, _Atomic uint64_t),
	ARRAY(hwrpb_context, task_name, char, HWRPB_TASK_NAME),
	ARRAY(hwrpb_context, fill, uint64_t, 4),
};

FIELDS(hwrpb) = {
	FIELD(hwrpb, magic, _Atomic uint64_t),
	FIELD(hwrpb, fingerprint, _Atomic uint64_t),
	FIELD(hwrpb, pa, _Atomic uint64_t),
	FIELD(hwrpb, unique, _Atomic uint64_t),
	FIELD(hwrpb, config, _Atomic uint64_t),
	FIELD(hwrpb, intr, _Atomic uint64_t),
	FIELD(hwrpb, recorder, _Atomic uint64_t),
	FIELD(hwrpb, tick_ns, _Atomic uint64_t),
	FIELD(hwrpb, stop_ns, _Atomic uint64_t),
	FIELD(hwrpb, suspect, _Atomic uint32_t),
	FIELD(hwrpb, primary, _Atomic uint32_t),
	FIELD(hwrpb, cpu_count, _Atomic uint32_t),
	FIELD(hwrpb, slot_size, _Atomic uint32_t),
	FIELD(hwrpb, slot_off, _Atomic uint64_t),
	FIELD(hwrpb, boot_count, _Atomic uint64_t),
	FIELD(hwrpb, programs, _Atomic uint64_t),
	ARRAY(hwrpb, fill, uint64_t, 2),
	FIELD(hwrpb, wish, struct hwrpb_request),
	FIELD(hwrpb, end, _Atomic uint32_t),
	FIELD(hwrpb, fill_end, uint32_t),
	ARRAY(hwrpb, fill_line, uint64_t, 3),
	FIELD(hwrpb, potential, struct apmp_cpu_bits),
	FIELD(hwrpb, configure, struct apmp_cpu_bits),
	FIELD(hwrpb, active, struct apmp_cpu_bits),
	FIELD(hwrpb, autostart, struct apmp_cpu_bits),
	FIELD(hwrpb, crash, struct hwrpb_crash),
	ARRAY(hwrpb, failover, _Atomic uint64_t, APMP_MAX_CPUS),
	ARRAY(hwrpb, slot, struct hwrpb_slot, APMP_MAX_CPUS),
	ARRAY(hwrpb, saved, struct hwrpb_context, APMP_MAX_CPUS),
};

FIELDS(apmp_intr_line) = {
	FIELD(apmp_intr_line, doorbell, _Atomic uint32_t),
	FIELD(apmp_intr_line, tree_can_wait, _Atomic uint32_t),
	FIELD(apmp_intr_line, pending, _Atomic uint64_t),
	FIELD(apmp_intr_line, runner, _Atomic uint64_t),
	FIELD(apmp_intr_line, taken, _Atomic uint64_t),
	ARRAY(apmp_intr_line, reserved, uint64_t, 4),
};

FIELDS(apmp_journal_entry) = {
	FIELD(apmp_journal_entry, object, _Atomic uint32_t),
	FIELD(apmp_journal_entry, width, _Atomic uint32_t),
	FIELD(apmp_journal_entry, off, _Atomic uint64_t),
	FIELD(apmp_journal_entry, old, _Atomic uint64_t),
};

FIELDS(apmp_journal) = {
	FIELD(apmp_journal, open, _Atomic uint32_t),
	FIELD(apmp_journal, count, _Atomic uint32_t),
	ARRAY(apmp_journal, entry, struct apmp_journal_entry, APMP_JOURNAL_ENTRIES),
};

FIELDS(apmp_console_partition) = {
	FIELD(apmp_console_partition, state, _Atomic uint32_t),
	FIELD(apmp_console_partition, exit, _Atomic uint32_t),
	FIELD(apmp_console_partition, last_seq, _Atomic uint64_t),
	FIELD(apmp_console_partition, last_reply, struct apmp_call_reply),
	FIELD(apmp_console_partition, durable_level, _Atomic uint64_t),
	FIELD(apmp_console_partition, suspected, _Atomic uint64_t),
	FIELD(apmp_console_partition, unsuspected, _Atomic uint64_t),
	FIELD(apmp_console_partition, dumped, _Atomic uint64_t),
	FIELD(apmp_console_partition, ending, _Atomic uint64_t),
	ARRAY(apmp_console_partition, failover, _Atomic uint64_t, APMP_MAX_CPUS),
	ARRAY(apmp_console_partition, no_autostart, _Atomic uint64_t, APMP_MAX_CPUS / 64u),
};

FIELDS(apmp_event_slot) = {
	FIELD(apmp_event_slot, seq, _Atomic uint64_t),
	ARRAY(apmp_event_slot, json, char, APMP_EVENT_SIZE - sizeof(uint64_t)),
};

FIELDS(apmp_console_state) = {
	FIELD(apmp_console_state, fingerprint, _Atomic uint64_t),
	FIELD(apmp_console_state, restarts, _Atomic uint64_t),
	FIELD(apmp_console_state, announced, _Atomic uint64_t),
	FIELD(apmp_console_state, event_seq, _Atomic uint64_t),
	FIELD(apmp_console_state, permanent_level, _Atomic uint64_t),
	FIELD(apmp_console_state, nvram_level, _Atomic uint64_t),
	FIELD(apmp_console_state, nvram_refused, _Atomic uint64_t),
	ARRAY(apmp_console_state, transit, _Atomic uint64_t, APMP_MAX_CPUS),
	ARRAY(apmp_console_state, source, _Atomic uint64_t, APMP_MAX_CPUS),
	ARRAY(apmp_console_state, arrival, _Atomic uint64_t, APMP_MAX_CPUS),
	ARRAY(apmp_console_state, partition, struct apmp_console_partition, APMP_MAX_PARTITIONS),
	FIELD(apmp_console_state, journal, struct apmp_journal),
	ARRAY(apmp_console_state, event, struct apmp_event_slot, APMP_EVENT_SLOTS),
};

FIELDS(apmp_recorder_entry) = {
	FIELD(apmp_recorder_entry, seq, _Atomic uint64_t),
	FIELD(apmp_recorder_entry, t_ns, _Atomic uint64_t),
	FIELD(apmp_recorder_entry, point, _Atomic uint32_t),
	FIELD(apmp_recorder_entry, thread, _Atomic uint32_t),
	FIELD(apmp_recorder_entry, arg, _Atomic uint64_t),
};

FIELDS(apmp_recorder_task) = {
	FIELD(apmp_recorder_task, number, _Atomic uint64_t),
	FIELD(apmp_recorder_task, state, _Atomic uint32_t),
	FIELD(apmp_recorder_task, cpu, _Atomic uint32_t),
	FIELD(apmp_recorder_task, bound, _Atomic uint32_t),
	FIELD(apmp_recorder_task, fill, uint32_t),
	ARRAY(apmp_recorder_task, program, char, APMP_NAME_SIZE),
};

FIELDS(apmp_recorder) = {
	FIELD(apmp_recorder, magic, _Atomic uint64_t),
	FIELD(apmp_recorder, identity, _Atomic uint64_t),
	FIELD(apmp_recorder, head, _Atomic uint64_t),
	FIELD(apmp_recorder, passed, _Atomic uint64_t),
	FIELD(apmp_recorder, armed, _Atomic uint32_t),
	FIELD(apmp_recorder, step_fill, _Atomic uint32_t),
	FIELD(apmp_recorder, died_at, _Atomic uint32_t),
	FIELD(apmp_recorder, panicked, _Atomic uint32_t),
	ARRAY(apmp_recorder, fill, uint64_t, 2),
	ARRAY(apmp_recorder, arm, _Atomic uint32_t, APMP_RECORDER_POINTS),
	ARRAY(apmp_recorder, count, _Atomic uint64_t, APMP_RECORDER_POINTS),
	ARRAY(apmp_recorder, panic, char, APMP_PANIC_SIZE),
	ARRAY(apmp_recorder, beacon, _Atomic uint32_t, APMP_BEACONS),
	ARRAY(apmp_recorder, task, struct apmp_recorder_task, APMP_BEACON_TASKS),
	ARRAY(apmp_recorder, entry, struct apmp_recorder_entry, APMP_RECORDER_ENTRIES),
};

FIELDS(apmp_db_segment) = {
	FIELD(apmp_db_segment, off, _Atomic uint32_t),
	FIELD(apmp_db_segment, size, _Atomic uint32_t),
};

FIELDS(apmp_db_header) = {
	FIELD(apmp_db_header, lock, _Atomic uint64_t),
	ARRAY(apmp_db_header, lock_fill, uint64_t, 7),
	FIELD(apmp_db_header, fingerprint, _Atomic uint64_t),
	FIELD(apmp_db_header, software_version, _Atomic uint32_t),
	FIELD(apmp_db_header, state, _Atomic uint32_t),
	FIELD(apmp_db_header, actor, _Atomic uint64_t),
	FIELD(apmp_db_header, creation_ns, _Atomic uint64_t),
	FIELD(apmp_db_header, incarnation, _Atomic uint64_t),
	FIELD(apmp_db_header, creator, _Atomic uint64_t),
	FIELD(apmp_db_header, members_off, _Atomic uint32_t),
	FIELD(apmp_db_header, page_count, _Atomic uint32_t),
	FIELD(apmp_db_header, first_pfn, _Atomic uint64_t),
	FIELD(apmp_db_header, members, _Atomic uint64_t),
	FIELD(apmp_db_header, crashing, _Atomic uint64_t),
	FIELD(apmp_db_header, removed_count, _Atomic uint64_t),
	FIELD(apmp_db_header, validate, _Atomic uint64_t),
	FIELD(apmp_db_header, service_mask, _Atomic uint64_t),
	FIELD(apmp_db_header, expected, _Atomic uint64_t),
	FIELD(apmp_db_header, reformed_of, _Atomic uint64_t),
	FIELD(apmp_db_header, pfn_list, _Atomic uint64_t),
	ARRAY(apmp_db_header, segment, struct apmp_db_segment, APMP_DB_MAX_SERVICES),
};

FIELDS(apmp_db_node) = {
	FIELD(apmp_db_node, reasons, _Atomic uint64_t),
	FIELD(apmp_db_node, bugcheck_of, _Atomic uint64_t),
	ARRAY(apmp_db_node, reasons_fill, uint64_t, 6),
	FIELD(apmp_db_node, heartbeat, _Atomic uint64_t),
	FIELD(apmp_db_node, beat_of, _Atomic uint64_t),
	ARRAY(apmp_db_node, heartbeat_fill, uint64_t, 6),
	FIELD(apmp_db_node, identity, _Atomic uint64_t),
	FIELD(apmp_db_node, software_version, _Atomic uint32_t),
	FIELD(apmp_db_node, state, _Atomic uint32_t),
	FIELD(apmp_db_node, since_ns, _Atomic uint64_t),
	FIELD(apmp_db_node, little_brother, _Atomic uint32_t),
	FIELD(apmp_db_node, big_brother, _Atomic uint32_t),
	FIELD(apmp_db_node, little_inactive_ns, _Atomic uint64_t),
	FIELD(apmp_db_node, validated, _Atomic uint64_t),
	FIELD(apmp_db_node, left, _Atomic uint64_t),
	FIELD(apmp_db_node, ring_fill, uint64_t),
	ARRAY(apmp_db_node, silence, _Atomic uint64_t, APMP_DB_SILENCES),
	ARRAY(apmp_db_node, name, char, 128),
};

FIELDS(apmp_db) = {
	FIELD(apmp_db, header, struct apmp_db_header),
	ARRAY(apmp_db, node, struct apmp_db_node, APMP_MAX_PARTITIONS),
};

FIELDS(apmp_db_pfn_list) = {
	ARRAY(apmp_db_pfn_list, pfn, _Atomic uint64_t, APMP_PAGE_SIZE / 8u),
};

FIELDS(apmp_db_cpu_sets) = {
	FIELD(apmp_db_cpu_sets, identity, _Atomic uint64_t),
	ARRAY(apmp_db_cpu_sets, potential, _Atomic uint64_t, APMP_MAX_CPUS / 64u),
	ARRAY(apmp_db_cpu_sets, configure, _Atomic uint64_t, APMP_MAX_CPUS / 64u),
	ARRAY(apmp_db_cpu_sets, active, _Atomic uint64_t, APMP_MAX_CPUS / 64u),
	ARRAY(apmp_db_cpu_sets, autostart, _Atomic uint64_t, APMP_MAX_CPUS / 64u),
	FIELD(apmp_db_cpu_sets, depth, _Atomic uint64_t),
	FIELD(apmp_db_cpu_sets, wish, _Atomic uint64_t),
	FIELD(apmp_db_cpu_sets, giver, _Atomic uint64_t),
	ARRAY(apmp_db_cpu_sets, no, _Atomic uint64_t, APMP_MAX_PARTITIONS / 32u),
	ARRAY(apmp_db_cpu_sets, fill, uint64_t, 2),
};

FIELDS(apmp_db_lock) = {
	FIELD(apmp_db_lock, word, _Atomic uint64_t),
	FIELD(apmp_db_lock, broken_by, _Atomic uint64_t),
	FIELD(apmp_db_lock, acquired_count, _Atomic uint64_t),
	FIELD(apmp_db_lock, broken_count, _Atomic uint64_t),
	ARRAY(apmp_db_lock, word_fill, uint64_t, 4),
	FIELD(apmp_db_lock, openers, _Atomic uint64_t),
	FIELD(apmp_db_lock, contended_count, _Atomic uint64_t),
	FIELD(apmp_db_lock, rank, _Atomic uint32_t),
	FIELD(apmp_db_lock, rank_fill, uint32_t),
	ARRAY(apmp_db_lock, name, char, APMP_NAME_SIZE),
	FIELD(apmp_db_lock, fill, uint64_t),
};

FIELDS(apmp_db_locks) = {
	FIELD(apmp_db_locks, table, _Atomic uint64_t),
	FIELD(apmp_db_locks, broken_changes, _Atomic uint64_t),
	ARRAY(apmp_db_locks, table_fill, uint64_t, 6),
	ARRAY(apmp_db_locks, lock, struct apmp_db_lock, APMP_LOCK_COUNT),
};

static const struct structure structures[] = {
	STRUCTURE(apmp_call_request),
	STRUCTURE(apmp_call_reply),
	STRUCTURE(apmp_cpu_bits),
	STRUCTURE(gct_header),
	STRUCTURE(gct_node),
	STRUCTURE(gct_root_node),
	STRUCTURE(gct_binding),
	STRUCTURE(gct_community_node),
	STRUCTURE(gct_partition_node),
	STRUCTURE(gct_cpu_node),
	STRUCTURE(gct_mem_info),
	STRUCTURE(gct_mem_desc),
	STRUCTURE(gct_mem_desc_node),
	STRUCTURE(hwrpb_slot),
	STRUCTURE(hwrpb_request),
	STRUCTURE(hwrpb_crash),
	STRUCTURE(hwrpb_context),
	STRUCTURE(hwrpb),
	STRUCTURE(apmp_intr_line),
	STRUCTURE(apmp_journal_entry),
	STRUCTURE(apmp_journal),
	STRUCTURE(apmp_console_partition),
	STRUCTURE(apmp_event_slot),
	STRUCTURE(apmp_console_state),
	STRUCTURE(apmp_recorder_entry),
	STRUCTURE(apmp_recorder_task),
	STRUCTURE(apmp_recorder),
	STRUCTURE(apmp_db_segment),
	STRUCTURE(apmp_db_header),
	STRUCTURE(apmp_db_node),
	STRUCTURE(apmp_db),
	STRUCTURE(apmp_db_pfn_list),
	STRUCTURE(apmp_db_cpu_sets),
	STRUCTURE(apmp_db_lock),
	STRUCTURE(apmp_db_locks),
};
/* clang-format on */

struct value {
	const char *name;
	uint64_t value;
};

#define X(name, value, text) {text, value},
static const struct value db_states[] = {APMP_DB_STATES(X)};
static const struct value node_states[] = {APMP_NODE_STATES(X)};
static const struct value node_types[] = {GCT_NODE_TYPES(X)};
static const struct value cpu_states[] = {HWRPB_CPU_STATES(X)};
static const struct value requests[] = {HWRPB_REQUESTS(X)};
static const struct value partition_states[] = {APMP_PARTITION_STATES(X)};
static const struct value calls[] = {APMP_CALLS(X)};
static const struct value reports[] = {APMP_REPORTS(X)};
#undef X

#define CONSTANT(name)                                                                             \
	{                                                                                          \
#name, name                                                                        \
	}
static const struct value constants[] = {
    CONSTANT(APMP_LAYOUT_REVISION),
    CONSTANT(APMP_PAGE_SIZE),
    CONSTANT(APMP_CACHE_LINE),
    CONSTANT(APMP_GRANULE),
    CONSTANT(APMP_MAX_PARTITIONS),
    CONSTANT(APMP_MAX_CPUS),
    CONSTANT(APMP_IDENTITY_ID_MASK),
    CONSTANT(APMP_DB_MAX_PAGES),
    CONSTANT(APMP_DB_INITIAL_PAGES),
    CONSTANT(APMP_REASON_BUGCHECK),
    CONSTANT(APMP_REASON_MEMBERS),
    CONSTANT(APMP_REASON_LOCKS),
    CONSTANT(APMP_LOCK_COUNT),
    CONSTANT(APMP_LOCKER_COUNT),
    CONSTANT(APMP_LOCK_LOCKER_MASK),
    CONSTANT(APMP_LOCK_LOCKER_SHIFT),
    CONSTANT(APMP_LOCK_WAITERS),
    CONSTANT(APMP_LOCK_BY_REFORMING),
    CONSTANT(APMP_INTR_TREE),
    CONSTANT(APMP_INTR_APMP),
    CONSTANT(APMP_INTR_TXRDY),
    CONSTANT(APMP_INTR_REQUEST),
    CONSTANT(APMP_INTR_WORK),
    CONSTANT(APMP_INTR_MOVED),
    CONSTANT(APMP_RECORDER_MAGIC),
    CONSTANT(APMP_THREAD_CLOCK),
    CONSTANT(APMP_THREAD_APPS),
    CONSTANT(APMP_THREAD_CONSOLE),
    CONSTANT(GCT_MAGIC),
    CONSTANT(GCT_ALIGN),
    CONSTANT(GCT_NONE),
    CONSTANT(NODE_HARDWARE),
    CONSTANT(NODE_HOTSWAP),
    CONSTANT(NODE_UNAVAILABLE),
    CONSTANT(NODE_HW_TEMPLATE),
    CONSTANT(NODE_INITIALIZED),
    CONSTANT(NODE_PRIMARY),
    CONSTANT(GCT_MEM_CONSOLE),
    CONSTANT(GCT_MEM_PRIVATE),
    CONSTANT(GCT_MEM_SHARED),
    CONSTANT(GCT_MEM_BASE),
    CONSTANT(HWRPB_MAGIC),
    CONSTANT(HWRPB_PP),
    CONSTANT(HWRPB_PA),
    CONSTANT(HWRPB_PRIMARY),
    CONSTANT(HWRPB_COMPATIBLE),
    CONSTANT(HWRPB_PRIMARY_OK),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t bytes_of(const struct field *f)
{
	return f->size * (f->count ? f->count : 1);
}

/* Whether the fields follow each other from the first byte to the last; says where they don't. */
static int covered(const struct structure *s)
{
	size_t end = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (s->field[i].off != end) {
			(void)fprintf(
			    stderr,
			    "layouts: struct %s: nothing stands at byte %zu, %s is at %zu\n",
			    s->name, end, s->field[i].name, s->field[i].off);
			return 0;
		}
		end += bytes_of(&s->field[i]);
	}
	if (end != s->size)
		(void)fprintf(stderr, "layouts: struct %s: nothing stands at byte %zu of %zu\n",
			      s->name, end, s->size);
	return end == s->size;
}

static const char *comma(size_t i, size_t count)
{
	return i + 1 < count ? "," : "";
}

static void print_structure(const struct structure *s)
{
	printf("  \"%s\": {\"size\": %zu, \"fields\": [\n", s->name, s->size);
	for (size_t i = 0; i < s->count; i++) {
		const struct field *f = &s->field[i];

		printf("    {\"name\": \"%s\", \"offset\": %zu, \"size\": %zu, \"type\": \"%s\"",
		       f->name, f->off, bytes_of(f), f->type);
		if (f->count)
			printf(", \"count\": %zu", f->count);
		printf("}%s\n", comma(i, s->count));
	}
	printf("  ]}");
}

static void print_values(const char *name, const struct value *value, size_t count, const char *end)
{
	printf("  \"%s\": {", name);
	for (size_t i = 0; i < count; i++)
		printf("\"%s\": %llu%s", value[i].name, (unsigned long long)value[i].value,
		       i + 1 < count ? ", " : "");
	printf("}%s\n", end);
}

static void print_enumerations(void)
{
	printf(" \"enumerations\": {\n");
	print_values("apmp_db_state", db_states, COUNT(db_states), ",");
	print_values("apmp_node_state", node_states, COUNT(node_states), ",");
	print_values("gct_node_type", node_types, COUNT(node_types), ",");
	print_values("hwrpb_cpu_state", cpu_states, COUNT(cpu_states), ",");
	print_values("hwrpb_request_op", requests, COUNT(requests), ",");
	print_values("apmp_partition_state", partition_states, COUNT(partition_states), ",");
	print_values("apmp_call_op", calls, COUNT(calls), ",");
	print_values("apmp_report", reports, COUNT(reports), "");
	printf(" },\n");
}

static void print_constants(void)
{
	printf(" \"constants\": {\n");
	for (size_t i = 0; i < COUNT(constants); i++)
		printf("  \"%s\": %llu%s\n", constants[i].name,
		       (unsigned long long)constants[i].value, comma(i, COUNT(constants)));
	printf(" },\n");
}

int main(void)
{
	for (size_t i = 0; i < COUNT(structures); i++)
		if (!covered(&structures[i]))
			return EXIT_FAILURE;
	printf("{\n");
	print_constants();
	print_enumerations();
	printf(" \"structures\": {\n");
	for (size_t i = 0; i < COUNT(structures); i++) {
		print_structure(&structures[i]);
		printf("%s\n", comma(i, COUNT(structures)));
	}
	printf(" }\n}\n");
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
