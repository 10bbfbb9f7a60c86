/*
 * `apmp analyze FILE`: how and why a partition failed, from its core alone [0298].
 *
 * WHAT      Without more words a summary; with one of parts[] that part in full.  Each part is one
 *           JSON value, and the text is printed from it.
 * LIMITS    A file whose sums are wrong, or that was cut, is refused; with --damaged it is read all
 *           the same, as far as it goes, as long as its head and the configuration tree are there.
 */
#include "cli/analyze.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/table.h"

enum { SUMMARY_POINTS = 12, MEMORY_BYTES = 256, MEMORY_BYTES_MAX = 1 << 20 };

/* ---- the file ---- */

static int refuse(struct cli *cli, const char *file, const char *why)
{
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoCore",
			  json_pack("{s:s,s:s}", "file", file, "reason", why));
}

/* What its head leads to. */
static int open_view(struct post_mortem *pm, const char **ret_why)
{
	const json_t *text = pm->core.text;
	const struct image *image = &pm->view.image;
	uint64_t hwrpb = (uint64_t)json_integer_value(json_object_get(text, "hwrpb"));
	uint64_t recorder = (uint64_t)json_integer_value(json_object_get(text, "recorder"));
	int err = core_image(&pm->core, &pm->view.image, ret_why);

	if (err)
		return err;
	*ret_why = "it has no configuration tree, by which the rest is found";
	if (image_tree(image, &pm->view.tree))
		return -EBADMSG;
	pm->id = (uint32_t)json_integer_value(json_object_get(text, "id"));
	pm->identity = apmp_identity(
	    pm->id, (uint64_t)json_integer_value(json_object_get(text, "incarnation")));
	pm->hwrpb = image_at(image, hwrpb, sizeof(*pm->hwrpb));
	pm->recorder = image_at(image, recorder, sizeof(*pm->recorder));
	return 0;
}

static int check_sums(const struct core *core, char *ret_text, size_t size)
{
	int piece = core_verify(core);

	if (piece == (int)core->count)
		return 0;
	if (piece < 0)
		snprintf(ret_text, size, "%s", strerror(-piece));
	else if (core_missing(core, &core->piece[piece]))
		snprintf(ret_text, size,
			 "it was cut: it ends before its memory at %#" PRIx64
			 " does; --damaged reads what is there",
			 core->piece[piece].pa);
	else
		snprintf(ret_text, size,
			 "its memory at %#" PRIx64 " was changed; --damaged reads it all the same",
			 core->piece[piece].pa);
	return -EBADMSG;
}

int post_mortem_open(struct cli *cli, const char *file, bool damaged, struct post_mortem **ret)
{
	struct post_mortem *pm = calloc(1, sizeof(*pm));
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err;
	const char *why = NULL;
	char text[128];

	if (!pm)
		cli_out_of_memory();
	if (fd < 0) {
		free(pm);
		return refuse(cli, file, strerror(errno));
	}
	err = core_open(fd, &pm->core, &why);
	if (!err && !damaged) {
		err = check_sums(&pm->core, text, sizeof(text));
		why = text;
	}
	if (!err)
		err = open_view(pm, &why);
	if (!err) {
		*ret = pm;
		return CLI_DONE;
	}
	post_mortem_close(pm);
	return refuse(cli, file, err == -EBADMSG ? why : strerror(-err));
}

void post_mortem_close(struct post_mortem *pm)
{
	core_close(&pm->core);
	image_fini(&pm->view.image);
	free(pm);
}

/* ---- what its note says ---- */

char *core_end_text(const json_t *text)
{
	json_int_t status = json_integer_value(json_object_get(text, "exit_status"));
	bool announced = json_is_true(json_object_get(text, "announced"));
	const char *fence = json_string_value(json_object_get(text, "fence"));

	if (announced)
		return cli_text("crashed");
	if (status < 0 || status > 0xffff)
		return cli_text("ended, it is not known how");
	if (fence && strcmp(fence, "ended") != 0)
		return cli_text("%s", fence);
	if (WIFSIGNALED((int)status))
		return cli_text("killed by signal %d (%s)", WTERMSIG((int)status),
				strsignal(WTERMSIG((int)status)));
	return cli_text("ended with exit code %d", WEXITSTATUS((int)status));
}

char *core_time_text(const json_t *text)
{
	time_t when = (time_t)json_integer_value(json_object_get(text, "time"));
	struct tm local;
	char words[64];

	if (!localtime_r(&when, &local) ||
	    !strftime(words, sizeof(words), "%Y-%m-%d %H:%M:%S", &local))
		return cli_text("-");
	return cli_text("%s", words);
}

char *core_thread_text(uint32_t thread)
{
	if (thread == APMP_THREAD_CLOCK)
		return cli_text("clock");
	if (thread == APMP_THREAD_APPS)
		return cli_text("programs");
	if (thread < APMP_MAX_CPUS)
		return cli_text("cpu %u", thread);
	return cli_text("odd: %#x", thread);
}

json_t *core_state_json(const char *const names[], size_t count, uint32_t state)
{
	char odd[24];

	snprintf(odd, sizeof(odd), "odd: %u", state);
	return json_string(state < count ? names[state] : odd);
}

/* What of its memory was left out, or else is missing because the file was cut. */
static json_t *gaps_json(const struct post_mortem *pm, bool left_out)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < pm->core.count; i++) {
		const struct core_piece *piece = &pm->core.piece[i];
		uint64_t size = !left_out	  ? core_missing(&pm->core, piece)
				: piece->left_out ? piece->size
						  : 0;

		if (size)
			json_array_append_new(
			    list, json_pack("{s:I,s:I}", "pa",
					    (json_int_t)(piece->pa + piece->size - size), "size",
					    (json_int_t)size));
	}
	return list;
}

/* ---- parts ---- */

static const char *community_of(const struct post_mortem *pm)
{
	return json_string_value(
	    json_object_get(json_object_get(pm->core.text, "status"), "community"));
}

static json_t *db_json(struct post_mortem *pm)
{
	return cli_show_databases(&pm->view, community_of(pm));
}

static json_t *locks_json(struct post_mortem *pm)
{
	return cli_show_locks(&pm->view, community_of(pm));
}

static json_t *cpus_json(struct post_mortem *pm)
{
	return analyze_cpus(pm);
}

static json_t *tasks_json(struct post_mortem *pm)
{
	return analyze_tasks(pm);
}

static json_t *trace_json(struct post_mortem *pm)
{
	return analyze_trace(pm, UINT32_MAX, APMP_RECORDER_ENTRIES);
}

static const struct {
	const char *name;
	json_t *(*json)(struct post_mortem *pm);
	void (*print)(struct cli *cli, const json_t *json);
} parts[] = {
    {"cpus", cpus_json, print_analyzed_cpus},	 {"db", db_json, cli_print_databases},
    {"locks", locks_json, cli_print_locks},	 {"tasks", tasks_json, print_analyzed_tasks},
    {"trace", trace_json, print_analyzed_trace},
};

#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

/* Named locks that this life held. */
static json_t *held_json(struct post_mortem *pm)
{
	json_t *locks = locks_json(pm), *held = json_array(), *lock;
	json_t *life = cli_view_life(&pm->view, pm->identity);
	size_t i;

	json_array_foreach(locks, i, lock)
	{
		if (json_equal(json_object_get(lock, "holder"), life))
			json_array_append(held, json_object_get(lock, "name"));
	}
	json_decref(locks);
	json_decref(life);
	return held;
}

/* Of its sharing set, as it was when it failed. */
static json_t *members_json(struct post_mortem *pm)
{
	json_t *databases = db_json(pm);
	json_t *members = json_incref(
	    json_object_get(json_object_get(json_array_get(databases, 0), "database"), "members"));

	json_decref(databases);
	return members ? members : json_null();
}

static json_t *summary_json(struct post_mortem *pm)
{
	static const char *const copied[] = {"machine", "partition", "incarnation", "time",
					     "t_ns",	"fence",     "exit_status", "announced",
					     "died_at", "late",	     "status"};
	char *end = core_end_text(pm->core.text);
	json_t *json =
	    json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "ended", end, "crash",
		      analyze_crash(pm), "panic", analyze_panic(pm), "cpus", analyze_cpus(pm),
		      "tasks", analyze_tasks(pm), "members", members_json(pm), "locks",
		      held_json(pm), "last", analyze_trace(pm, UINT32_MAX, SUMMARY_POINTS),
		      "left_out", gaps_json(pm, true), "missing", gaps_json(pm, false));

	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
		json_object_set(json, copied[i], json_object_get(pm->core.text, copied[i]));
	free(end);
	return json;
}

static void line(const char *what, char *text)
{
	for (char *at = text; *at; at++) /* words of a file that may be anybody's */
		*at = *at >= ' ' && *at <= '~' ? *at : '?';
	printf("%-10s %s\n", what, text);
	free(text);
}

static void print_crash(const json_t *summary, bool knows)
{
	const json_t *crash = json_object_get(summary, "crash");
	const char *panic = json_string_value(json_object_get(summary, "panic"));
	const char *died_at = json_string_value(json_object_get(summary, "died_at"));
	const char *at = json_string_value(json_object_get(crash, "address"));

	if (died_at)
		line("injected", cli_text("its end at %s", died_at));
	if (panic)
		line("panic", cli_text("%s", panic));
	if (!json_is_object(crash)) {
		line("crash", cli_text(knows ? "it has not said why: its end was silent"
					     : "where it would have said why is missing"));
		return;
	}
	line("crash", cli_text("%s, in thread %s: %s", cli_string(crash, "reason"),
			       cli_string(crash, "thread"), cli_string(crash, "text")));
	if (json_object_get(crash, "signal"))
		line("", cli_text("signal %lld%s%s",
				  (long long)json_integer_value(json_object_get(crash, "signal")),
				  at ? ", at address " : "", at ? at : ""));
}

static void print_gaps(const char *what, const json_t *gaps, const char *why)
{
	const json_t *piece;
	size_t i;

	json_array_foreach(gaps, i, piece)
	{
		char *size = cli_bytes_text(piece, "size");

		line(what,
		     cli_text("%s of memory at %#llx: %s", size,
			      (unsigned long long)json_integer_value(json_object_get(piece, "pa")),
			      why));
		free(size);
	}
}

static void print_cpus_short(struct cli *cli, const json_t *cpus)
{
	struct table *table = table_create(">CPU STATE FLAGS EXECUTED-BY CONTEXT >TASK LAST-POINT");
	const json_t *cpu;
	size_t i;

	json_array_foreach(cpus, i, cpu)
	{
		const json_t *context = json_object_get(cpu, "context");
		const json_t *last = json_object_get(cpu, "last");
		const json_t *frames = json_object_get(context, "frames");

		table_cell(table, NULL, cli_number_text(cpu, "id"));
		table_string(table, NULL, cli_string(cpu, "state"));
		table_cell(table, NULL, cli_names_text(json_object_get(cpu, "flags")));
		table_string(table, NULL, cli_string(cpu, "runner"));
		table_string(table, NULL, cli_string(json_array_get(frames, 0), "address"));
		table_cell(table, NULL, cli_number_text(context, "task"));
		table_string(table, NULL,
			     cli_string(json_array_get(last, json_array_size(last) - 1), "point"));
	}
	table_print(table, cli);
}

static void print_summary(struct cli *cli, const json_t *summary, const struct post_mortem *pm)
{
	char *when = core_time_text(pm->core.text);
	char *names = cli_names_text(json_object_get(summary, "members"));
	char *locks = cli_names_text(json_object_get(summary, "locks"));

	line("partition",
	     cli_text("%s of machine %s, incarnation %lld", cli_string(summary, "partition"),
		      cli_string(summary, "machine"),
		      (long long)json_integer_value(json_object_get(summary, "incarnation"))));
	line("ended", cli_text("%s, at %s", cli_string(summary, "ended"), when));
	print_crash(summary, pm->hwrpb != NULL);
	line("members", cli_text("%s%s", names,
				 json_is_true(json_object_get(summary, "late"))
				     ? " (seen late: after survivors had recovered)"
				     : ""));
	line("held locks", cli_text("%s", locks));
	print_gaps("left out", json_object_get(summary, "left_out"), "too much for the limit");
	print_gaps("missing", json_object_get(summary, "missing"), "the file was cut");
	free(when);
	free(names);
	free(locks);
	printf("\n");
	print_cpus_short(cli, json_object_get(summary, "cpus"));
	printf("\nlast points\n");
	print_analyzed_trace(cli, json_object_get(summary, "last"));
}

/* ---- memory ---- */

static json_t *bytes_json(const unsigned char *bytes, size_t size)
{
	char *hex = malloc(2 * size + 1);
	json_t *json;

	if (!hex)
		cli_out_of_memory();
	for (size_t i = 0; i < size; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	json = json_string(hex);
	free(hex);
	return json;
}

static void print_bytes(uint64_t pa, const unsigned char *bytes, size_t size)
{
	for (size_t row = 0; row < size; row += 16) {
		size_t count = size - row < 16 ? size - row : 16;

		printf("%012" PRIx64 " ", pa + row);
		for (size_t i = 0; i < 16; i++)
			if (i < count)
				printf("%s%02x", i == 8 ? "  " : " ", bytes[row + i]);
			else
				printf("%s  ", i == 8 ? "  " : " ");
		printf("  |");
		for (size_t i = 0; i < count; i++)
			putchar(bytes[row + i] >= ' ' && bytes[row + i] <= '~' ? bytes[row + i]
									       : '.');
		printf("|\n");
	}
}

static int refuse_bytes(struct cli *cli, const char *file, json_int_t pa, json_int_t size, int err)
{
	const char *why = err == -ENOENT    ? "no piece of it has them all"
			  : err == -ENODATA ? "they were left out, as too much for the limit"
			  : err == -ERANGE  ? "the file was cut before them"
					    : strerror(-err);
	char address[24];

	snprintf(address, sizeof(address), "%#llx", (unsigned long long)pa);
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoBytes",
			  json_pack("{s:s,s:I,s:s,s:s}", "file", file, "bytes", size, "address",
				    address, "reason", why));
}

static int show_memory(struct cli *cli, const struct cli_args *args, const struct post_mortem *pm)
{
	json_int_t pa, size = MEMORY_BYTES;
	unsigned char *bytes;
	int err, r = args->count < 3 ? cli_usage(args, "memory wants an address") : CLI_DONE;

	if (r == CLI_DONE)
		r = cli_bytes(args, "the address", args->args[2], &pa);
	if (r == CLI_DONE && args->count > 3)
		r = cli_bytes(args, "the number of bytes", args->args[3], &size);
	if (r == CLI_DONE && (pa < 0 || size < 1 || size > MEMORY_BYTES_MAX))
		r = cli_usage(args, "memory shows 1 to %d bytes", MEMORY_BYTES_MAX);
	if (r != CLI_DONE)
		return r;
	bytes = malloc((size_t)size);
	if (!bytes)
		cli_out_of_memory();
	err = core_read(&pm->core, (uint64_t)pa, bytes, (uint64_t)size);
	if (err) {
		r = refuse_bytes(cli, args->args[0], pa, size, err);
	} else if (cli->json) {
		json_t *json = json_pack("{s:I,s:I,s:o}", "pa", pa, "size", size, "bytes",
					 bytes_json(bytes, (size_t)size));

		cli_print_json(json);
		json_decref(json);
	} else {
		print_bytes((uint64_t)pa, bytes, (size_t)size);
	}
	free(bytes);
	return r;
}

/* ---- the verb ---- */

static void print_lines(const json_t *entries)
{
	for (size_t i = 0; i < json_array_size(entries); i++)
		cli_print_json(json_array_get(entries, i));
}

static int show(struct cli *cli, const struct cli_args *args, struct post_mortem *pm)
{
	const char *what = args->count > 1 ? args->args[1] : NULL;
	size_t part = 0;
	json_t *json;

	if (what && strcmp(what, "memory") == 0)
		return show_memory(cli, args, pm);
	while (what && part < PART_COUNT && strcmp(parts[part].name, what) != 0)
		part++;
	if (part < PART_COUNT && args->count > 2)
		return cli_usage(args,
				 "nothing stands behind \"%s\": only memory wants ADDRESS "
				 "[BYTES]",
				 what);
	if (part == PART_COUNT)
		return cli_usage(args, "behind FILE stands one of cpus, db, locks, tasks, trace, "
				       "and memory ADDRESS [BYTES]");
	json = what ? parts[part].json(pm) : summary_json(pm);
	if (cli->json && what && strcmp(what, "trace") == 0)
		print_lines(json); /* as `apmp trace` */
	else if (cli->json)
		cli_print_json(json);
	else if (what)
		parts[part].print(cli, json);
	else
		print_summary(cli, json, pm);
	json_decref(json);
	return CLI_DONE;
}

int cli_analyze(struct cli *cli, const struct cli_args *args)
{
	struct post_mortem *pm = NULL;
	int r = post_mortem_open(cli, args->args[0], cli_option(args, "damaged") != NULL, &pm);

	if (r != CLI_DONE || !pm)
		return r;
	r = show(cli, args, pm);
	post_mortem_close(pm);
	return r;
}
