#ifndef APMP_CLI_ANALYZE_H
#define APMP_CLI_ANALYZE_H

/* What a failed partition left, decoded from a core alone: whatever is in it may be anything. */

#include "cli/view_memory.h"
#include "shm/layout_hwrpb.h"
#include "shm/layout_recorder.h"
#include "shm/wire/core.h"

struct post_mortem {
	struct view view; /* of what is no private memory */
	uint64_t identity;
	const struct hwrpb *hwrpb;	      /* NULL: the core has none */
	const struct apmp_recorder *recorder; /* NULL: the core has none */
	struct core core;
	uint32_t id; /* of the partition */
};

/* Reads a core and checks its sums; damaged: goes on with one whose memory was changed. 0, or an
 * exit code after saying what is wrong with the file. To be closed and freed. */
int post_mortem_open(struct cli *cli, const char *file, bool damaged, struct post_mortem **ret);
void post_mortem_close(struct post_mortem *pm);

/* How the life ended: "killed by signal 11 (Segmentation fault)"; the caller frees. */
char *core_end_text(const json_t *text);
/* When: local time; the caller frees. */
char *core_time_text(const json_t *text);
/* "cpu 3", "clock", "programs"; the caller frees. */
char *core_thread_text(uint32_t thread);
/* What a state is called; one that has no name, as "odd: 99". */
json_t *core_state_json(const char *const names[], size_t count, uint32_t state);

/* ---- show_database.c, list_locks.c: of one community; NULL: of none ---- */

json_t *cli_show_databases(struct view *view, const char *community);
void cli_print_databases(struct cli *cli, const json_t *communities);
json_t *cli_show_locks(struct view *view, const char *community);
void cli_print_locks(struct cli *cli, const json_t *locks);

/* ---- analyze_cpus.c ---- */

/* Its crash record; null: it has written none. */
json_t *analyze_crash(const struct post_mortem *pm);
json_t *analyze_cpus(const struct post_mortem *pm);
void print_analyzed_cpus(struct cli *cli, const json_t *cpus);

/* ---- analyze_tasks.c ---- */

/* All that it had, whether on a CPU or not. */
json_t *analyze_tasks(const struct post_mortem *pm);
void print_analyzed_tasks(struct cli *cli, const json_t *tasks);

/* ---- analyze_trace.c ---- */

/* Points that it has passed, oldest first; of one thread (or UINT32_MAX) the last max. */
json_t *analyze_trace(const struct post_mortem *pm, uint32_t thread, uint32_t max);
void print_analyzed_trace(struct cli *cli, const json_t *entries);
/* What was written before an assertion ended it; null. */
json_t *analyze_panic(const struct post_mortem *pm);

#endif
