/* core_world.c - the core of a failed partition, without a machine. */
#include "tests/unit/core_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/crash.h"
#include "shm/layout_lock.h"
#include "shm/recorder.h"
#include "shm/service.h"
#include "tests/unit/suite.h"

static int memory_of(const void *data, uint64_t size, uint64_t used)
{
	int fd = memfd_create("part", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	ck_assert_int_eq(pwrite(fd, data, used, 0), (ssize_t)used);
	return fd;
}

static void add(struct core_world *cw, uint64_t pa, const void *data, uint64_t used, bool private)
{
	uint64_t size = (used + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE;

	ck_assert_uint_lt(cw->dump.count, CORE_WORLD_PARTS);
	cw->part[cw->dump.count++] = (struct apmp_dump_part){
	    .pa = pa, .size = size, .fd = memory_of(data, size, used), .may_miss = private};
	json_array_append_new(
	    json_object_get(cw->text, private ? "private" : "copied"),
	    json_pack("{s:I,s:I}", "pa", (json_int_t)pa, "size", (json_int_t)size));
}

void core_world_private(struct core_world *cw, uint64_t pa, uint64_t size, uint64_t used)
{
	unsigned char *data = malloc(used);

	memset(data, 0x5a, used);
	add(cw, pa, data, used, true);
	ck_assert_int_eq(ftruncate(cw->part[cw->dump.count - 1].fd, (off_t)size), 0);
	cw->part[cw->dump.count - 1].size = size;
	free(data);
}

static void crash(struct core_world *cw)
{
	struct hwrpb *h = cw->w.party[ALPHA].hwrpb;
	struct apmp_crash record = {.reason = HWRPB_CRASH_SIGNAL,
				    .signal = 11,
				    .address = 0x40,
				    .image = 0x400000,
				    .text = "it touched what it had not"};
	const struct apmp_crash *_Atomic first = NULL;
	struct apmp_context context = {.task = 17,
				       .register_count = 23,
				       .frame_count = 3,
				       .frame = {0x401234, 0x402345, 0x403000},
				       .program = 0x402000,
				       .program_end = 0x403000,
				       .task_name = "sieve.so"};

	ck_assert(apmp_crash_write(h, &first, &record));
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		h->slot[cpu].state = HWRPB_CPU_ACTIVE;
		context.thread = cpu;
		ck_assert(apmp_context_begin(h, cpu));
		apmp_context_finish(h, cpu, &context);
	}
	cw->recorder->task[3] = (struct apmp_recorder_task){
	    .number = 17, .state = 3, .cpu = 1, .bound = 1, .program = "sieve.so"};
	cw->recorder->task[5] = (struct apmp_recorder_task){.number = 9, .state = 2};
	memset(cw->recorder->task[5].program, 'x', sizeof(cw->recorder->task[5].program));
	cw->recorder->task[7] = (struct apmp_recorder_task){.number = 18, .state = 99};
	for (uint64_t i = 0; i < CORE_WORLD_POINTS; i++)
		(void)apmp_recorder_pass(cw->recorder, APMP_P_tick_beat, (uint32_t)(i % 2), i, i);
}

/* A named lock of ALPHA's, as its shared memory would have it. */
static void take_lock(struct core_world *cw)
{
	struct apmp_db *db = world_db(&cw->w);
	struct apmp_db_locks *locks =
	    (void *)((unsigned char *)db + db->header.segment[APMP_SERVICE_lock].off);

	locks->lock[3].word = apmp_lock_word(party_identity(&cw->w.party[ALPHA]), 2);
	locks->lock[3].openers = BIT(ALPHA);
	locks->lock[3].rank = 7;
	strcpy(locks->lock[3].name, "ledger");
}

static void add_all(struct core_world *cw)
{
	static const char marker[] = CORE_WORLD_MARKER;
	struct world *w = &cw->w;
	unsigned char private[3 * APMP_PAGE_SIZE] = {0};

	memcpy(private + APMP_PAGE_SIZE, marker, sizeof(marker));
	add(cw, CORE_WORLD_TREE_PA, w->tree_base, w->tree_size, false);
	add(cw, CORE_WORLD_LINES_PA, w->line, sizeof(w->line), false);
	for (uint32_t id = 0; id < WORLD_PARTITIONS; id++)
		if (id == ALPHA || id > STRANGER)
			continue;
		else
			add(cw, WORLD_HWRPB_PA(id + 16), w->party[id].hwrpb, 2 * APMP_PAGE_SIZE,
			    false);
	add(cw, CORE_WORLD_TREE_PA + (UINT64_C(3) << 32), w->party[ALPHA].hwrpb,
	    sizeof(struct hwrpb), false);
	add(cw, CORE_WORLD_REC_PA, cw->recorder, sizeof(*cw->recorder), false);
	for (uint32_t r = 0; r < WORLD_RANGES; r++)
		add(cw, w->range_pa[r], w->shared + r * WORLD_RANGE_SIZE,
		    APMP_DB_MAX_PAGES * APMP_PAGE_SIZE, false);
	add(cw, CORE_WORLD_PRIVATE_PA, private, sizeof(private), true);
}

static void on_copied(void *ctx)
{
	struct core_world *cw = ctx;

	cw->copied++;
}

void core_world_init(struct core_world *cw)
{
	memset(cw, 0, sizeof(*cw));
	world_init(&cw->w);
	for (uint32_t id = ALPHA; id <= GAMMA; id++)
		(void)world_member(&cw->w, id);
	cw->recorder = calloc(1, APMP_RECORDER_SIZE);
	apmp_recorder_init(cw->recorder);
	crash(cw);
	take_lock(cw);
	cw->text = json_pack(
	    "{s:i,s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s,s:i,s:b,s:b,s:I,s:I,s:I,s:I,s:[],s:[],s:{s:s}}",
	    "apmp_core", 1, "machine", "world", "partition", "alpha", "id", ALPHA, "incarnation",
	    (json_int_t)1, "layout", (json_int_t)image_layout(), "t_ns", (json_int_t)1, "time",
	    (json_int_t)1000000000, "fence", "ended", "exit_status", 11, "announced", 0, "late", 0,
	    "tree", (json_int_t)CORE_WORLD_TREE_PA, "lines", (json_int_t)CORE_WORLD_LINES_PA,
	    "hwrpb", (json_int_t)(CORE_WORLD_TREE_PA + (UINT64_C(3) << 32)), "recorder",
	    (json_int_t)CORE_WORLD_REC_PA, "copied", "private", "status", "community", "lab");
	ck_assert_ptr_nonnull(cw->text);
	add_all(cw);
	strcpy(cw->dir, "/tmp/apmp-core-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(cw->dir));
	cw->state_fd = open(cw->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cw->dump.env = &cw->w.console.env;
	cw->dump.state_fd = cw->state_fd;
	cw->dump.limit = 64 << 20;
	cw->dump.keep = 3;
	cw->dump.parts = cw->part;
	cw->dump.copied = on_copied;
	cw->dump.ctx = cw;
	strcpy(cw->dump.partition, "alpha");
}

int core_world_write(struct core_world *cw, uint64_t incarnation)
{
	cw->dump.incarnation = incarnation;
	json_object_set_new(cw->text, "incarnation", json_integer((json_int_t)incarnation));
	free(cw->dumped_text);
	cw->dumped_text = json_dumps(cw->text, JSON_COMPACT);
	cw->dump.text = cw->dumped_text;
	return apmp_dump_write(&cw->dump, &cw->result);
}

const char *core_world_path(const struct core_world *cw, char ret_path[160])
{
	snprintf(ret_path, 160, "%s/" DUMP_FOLDER "/%s", cw->dir, cw->result.name);
	return ret_path;
}

void core_world_dumped(struct core_world *cw, char ret_path[160])
{
	core_world_init(cw);
	ck_assert_msg(core_world_write(cw, 1) == 0, "%s", cw->result.why);
	core_world_path(cw, ret_path);
}

void core_world_fini(struct core_world *cw)
{
	char command[96];

	for (uint32_t i = 0; i < cw->dump.count; i++)
		close(cw->part[i].fd);
	json_decref(cw->text);
	free(cw->dumped_text);
	free(cw->recorder);
	close(cw->state_fd);
	snprintf(command, sizeof(command), "rm -rf %s", cw->dir);
	ck_assert_int_eq(system(command), 0);
	world_fini(&cw->w);
}
