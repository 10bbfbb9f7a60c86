/*
 * check_live.c - which findings count: a machine that moves is watched, a dump is judged.
 *
 * WHAT      A finding counts when it stands: in CHECK_STANDS images in a row, of which each was
 *           taken when every living member had beaten since the one before, and for as long as the
 *           machine itself may take to act on a death (its stop time).  Where a living instance
 *           holds the lock of a database, what was found in it before stands still; that it holds
 *           the lock counts after CHECK_LOCK_STANDS.  What went backwards between two images
 *           counts at once.
 * STATES    of a finding: found -> gone, or stands -> violation.
 * LIMITS    CHECK_ROUNDS images.  Who does not beat is waited for as long as a fence may take, then
 *           it is a finding.  What comes and goes all the time is counted and is no violation.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "chaos/check.h"
#include "chaos/machine.h"
#include "shm/layout_recorder.h"
#include "shm/wire/core.h"

#define CHECK_STANDS	  3u
#define CHECK_LOCK_STANDS 16u
#define CHECK_ROUNDS	  64u
#define CHECK_KEPT	  3u /* images that are kept, to be saved */
#define CHECK_DUMP_MAX	  64u
#define CONSOLE_TRIES	  16u /* consoles that end in the middle of one answer */
#define MSEC		  UINT64_C(1000000)

struct standing {
	struct finding finding;
	uint64_t since_ns;
	uint32_t stood;
	bool seen, violation;
};

struct watch {
	struct image image[CHECK_KEPT]; /* the newest is image[rounds - 1] in the ring */
	uint32_t rounds, standing_count, gone, lost;
	uint64_t first_ns, last_ns, tick_ns, stop_ns;
	struct standing standing[CHECK_FINDINGS_MAX];
	struct check check;
	struct findings findings;
	struct image_plan plan;
	struct varlink_client *client; /* NULL: none now */
	char why[160];		       /* it could not be watched */
};

static struct image *newest(struct watch *w)
{
	return &w->image[(w->rounds - 1) % CHECK_KEPT];
}

static struct standing *standing_of(struct watch *w, const struct finding *f)
{
	for (uint32_t i = 0; i < w->standing_count; i++) {
		const struct finding *other = &w->standing[i].finding;

		if (other->check == f->check && other->stamp == f->stamp &&
		    strcmp(other->what, f->what) == 0)
			return &w->standing[i];
	}
	return NULL;
}

static void stands(struct watch *w, const struct finding *f, uint64_t t_ns)
{
	struct standing *s = standing_of(w, f);

	if (!s && w->standing_count == CHECK_FINDINGS_MAX) {
		w->lost++;
		return;
	}
	if (!s) {
		s = &w->standing[w->standing_count++];
		*s = (struct standing){.finding = *f, .since_ns = t_ns};
	}
	s->stood++;
	s->seen = true;
}

/* What is not there any more is gone, unless nobody can say. */
static void forget_gone(struct watch *w)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < w->standing_count; i++) {
		struct standing *s = &w->standing[i];
		uint32_t community = s->finding.community;
		bool hidden = community < APMP_MAX_PARTITIONS &&
			      w->check.unsettled >> community & 1 &&
			      s->finding.check != CHECK_db_lock;

		if (!s->seen && !s->violation && !hidden) {
			w->gone++;
			continue;
		}
		s->seen = false;
		w->standing[kept++] = *s;
	}
	w->standing_count = kept;
}

/* The newest image is judged. */
static int judge(struct watch *w, const struct image *before)
{
	const struct image *image = newest(w);
	int err = check_image(image, before, &w->check, &w->findings);

	if (err)
		return err;
	if (w->check.tree_good)
		check_timing(&w->check, &w->tick_ns, &w->stop_ns);
	if (w->rounds == 1)
		w->first_ns = image->t_ns;
	w->last_ns = image->t_ns;
	w->lost = w->findings.lost;
	for (uint32_t i = 0; i < w->findings.count; i++)
		stands(w, &w->findings.finding[i], image->t_ns);
	forget_gone(w);
	return 0;
}

/* Marks what has stood long enough.  True: nothing is undecided. */
static bool decide(struct watch *w)
{
	bool decided = true;

	for (uint32_t i = 0; i < w->standing_count; i++) {
		struct standing *s = &w->standing[i];
		uint32_t community = s->finding.community, wanted = CHECK_STANDS;

		if (s->finding.check == CHECK_order_tree || s->finding.check == CHECK_order_db)
			s->violation = true;
		if (s->finding.check == CHECK_db_lock && community < APMP_MAX_PARTITIONS &&
		    w->check.unsettled >> community & 1)
			wanted = CHECK_LOCK_STANDS;
		if (s->stood >= wanted && w->last_ns - s->since_ns >= w->stop_ns)
			s->violation = true;
		decided = decided && s->violation;
	}
	return decided;
}

/* One image.  A console that ends meanwhile is restarted, and asked again. */
static int fetch(struct watch *w, const struct machine *machine, struct image *ret_image)
{
	struct varlink_reply reply = {0};
	int err = 0;

	for (uint32_t tries = 0; tries < CONSOLE_TRIES; tries++) {
		err = w->client ? 0 : machine_connect(machine, &w->client);
		if (!err)
			err = image_fetch(w->client, IMAGE_CPUS | IMAGE_DATABASES, &w->plan,
					  ret_image, &reply);
		if (err != -EPIPE && err != -ECONNRESET)
			break;
		varlink_client_close(w->client);
		w->client = NULL;
	}
	if (err == -EREMOTEIO) {
		snprintf(w->why, sizeof(w->why), "the console refuses: %s", reply.error);
		varlink_reply_fini(&reply);
	} else if (err == -EPROTO) {
		snprintf(w->why, sizeof(w->why),
			 "it runs a build with other layouts of shared memory than this one");
	} else if (err) {
		snprintf(w->why, sizeof(w->why), "the console does not answer: %s", strerror(-err));
	}
	return err;
}

/* Takes the next image when every member has beaten since the last, or had time enough. */
static int take(struct watch *w, const struct machine *machine)
{
	struct image *before = w->rounds ? newest(w) : NULL;
	uint64_t pause_ns = w->standing_count ? w->stop_ns / 8 : 0;
	uint64_t limit_ns = 4 * w->stop_ns + 1000 * MSEC;

	pause_ns = pause_ns > w->tick_ns ? pause_ns : w->tick_ns;
	for (;;) {
		struct image image;
		int err = fetch(w, machine, &image);

		if (err)
			return err;
		if (!before || check_beaten(&image, before) ||
		    image.t_ns - before->t_ns > limit_ns) {
			image_fini(&w->image[w->rounds % CHECK_KEPT]);
			w->image[w->rounds++ % CHECK_KEPT] = image;
			return 0;
		}
		image_fini(&image);
		/* Nobody beats more often than once a tick: no sooner is there anything to see. */
		(void)poll(NULL, 0, (int)(pause_ns / MSEC + 1));
	}
}

static const struct image *before_newest(struct watch *w)
{
	return w->rounds > 1 ? &w->image[(w->rounds - 2) % CHECK_KEPT] : NULL;
}

static int watch_machine(struct watch *w, const struct machine *machine)
{
	int err;

	w->tick_ns = MSEC;
	do {
		err = take(w, machine);
		if (!err)
			err = judge(w, before_newest(w));
	} while (!err && (!decide(w) || w->rounds < CHECK_STANDS) && w->rounds < CHECK_ROUNDS);
	return err;
}

/* Only what stands in every image that could show it. */
static int watch_dump(struct watch *w, struct image *images, uint32_t count)
{
	uint32_t wanted = count < CHECK_STANDS ? count : CHECK_STANDS;
	int err = 0;

	for (uint32_t i = 0; i < count; i++) {
		image_fini(&w->image[w->rounds % CHECK_KEPT]);
		w->image[w->rounds++ % CHECK_KEPT] = images[i];
		if (!err)
			err = judge(w, before_newest(w));
		(void)decide(w);
	}
	for (uint32_t i = 0; i < w->standing_count; i++)
		if (w->standing[i].stood >= wanted)
			w->standing[i].violation = true;
	return err;
}

static uint32_t violations(const struct watch *w)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w->standing_count; i++)
		count += w->standing[i].violation;
	return count;
}

/* What compares an image with the one before needs two. */
static bool is_judged(const struct watch *w, uint32_t id)
{
	return w->rounds > 1 ||
	       (id != CHECK_beat_rises && id != CHECK_order_tree && id != CHECK_order_db);
}

static unsigned judged(const struct watch *w)
{
	unsigned count = 0;

	for (uint32_t id = 0; id < CHECK_COUNT; id++)
		count += is_judged(w, id);
	return count;
}

/* ---- what is said ---- */

static void print_text(const struct watch *w, const char *machine)
{
	for (uint32_t id = 0; id < CHECK_COUNT; id++) {
		const struct check_info *info = &check_infos[id];
		bool good = true;

		for (uint32_t i = 0; i < w->standing_count; i++) {
			const struct standing *s = &w->standing[i];

			if (s->finding.check != id || !s->violation)
				continue;
			good = false;
			printf("violation  %-14s %s%s%s: %s\n", info->id, info->holds,
			       info->paragraph[0] ? " " : "", info->paragraph, s->finding.what);
		}
		if (good)
			printf("%-10s %-14s %s%s%s\n", is_judged(w, id) ? "ok" : "not seen",
			       info->id, info->holds, info->paragraph[0] ? " " : "",
			       info->paragraph);
	}
	printf("%s: %u checks of %u image%s in %.1f ms: ", machine, judged(w), w->rounds,
	       w->rounds > 1 ? "s" : "", (double)(w->last_ns - w->first_ns) / (double)MSEC);
	if (violations(w))
		printf("%u violation%s\n", violations(w), violations(w) > 1 ? "s" : "");
	else
		printf("no violation\n");
}

static void print_json(const struct watch *w, const char *machine)
{
	json_t *all = json_array(), *document;
	uint32_t undecided = 0;

	for (uint32_t i = 0; i < w->standing_count; i++) {
		const struct standing *s = &w->standing[i];
		const struct check_info *info = &check_infos[s->finding.check];

		undecided += !s->violation;
		if (s->violation)
			json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:s}", "check", info->id,
							     "paragraph", info->paragraph, "holds",
							     info->holds, "what", s->finding.what));
	}
	document = json_pack("{s:s,s:s,s:i,s:i,s:i,s:I,s:o}", "machine", machine, "verdict",
			     violations(w) ? "violated" : "ok", "checks", (int)judged(w), "images",
			     (int)w->rounds, "passing", (int)(w->gone + undecided), "elapsed_ns",
			     (json_int_t)(w->last_ns - w->first_ns), "violations", all);
	json_dumpf(document, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(document);
}

static int conclude(struct watch *w, bool json)
{
	const char *machine = newest(w)->machine;

	if (json)
		print_json(w, machine);
	else
		print_text(w, machine);
	return violations(w) ? 1 : 0;
}

static int save_images(struct watch *w, const char *file)
{
	uint32_t count = w->rounds < CHECK_KEPT ? w->rounds : CHECK_KEPT;
	struct image images[CHECK_KEPT];
	json_t *document;
	int err;

	for (uint32_t i = 0; i < count; i++)
		images[i] = w->image[(w->rounds - count + i) % CHECK_KEPT];
	document = image_document(images, count);
	errno = ENOMEM;
	err = document ? json_dump_file(document, file, JSON_COMPACT) : -1;
	if (err)
		fprintf(stderr, "apmp: %u images of machine %s can't be written to %s: %s\n", count,
			newest(w)->machine, file, strerror(errno));
	json_decref(document);
	return err ? 1 : 0;
}

static void watch_free(struct watch *w)
{
	for (uint32_t i = 0; w && i < CHECK_KEPT; i++)
		image_fini(&w->image[i]);
	if (w)
		varlink_client_close(w->client);
	free(w);
}

/* Says why nothing could be judged, as apmp says what is refused.  Returns code. */
__attribute__((format(printf, 4, 5))) static int refuse(bool json, int code, const char *error,
							const char *format, ...)
{
	char reason[PATH_MAX + 256];
	va_list list;

	va_start(list, format);
	vsnprintf(reason, sizeof(reason), format, list);
	va_end(list);
	fprintf(stderr, "apmp: %s\n", reason);
	if (json)
		machine_print_error(error, reason);
	return code;
}

int check_live(const char *name, const char *save, bool json)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct machine machine;
	int code, err;

	if (!w || machine_find(&machine, name)) {
		watch_free(w);
		return 3;
	}
	err = machine_connect(&machine, &w->client);
	if (err) {
		watch_free(w);
		return refuse(json, 3, "NoSuchMachine", "no machine \"%s\": %s: %s", machine.name,
			      machine.control, strerror(-err));
	}
	if (watch_machine(w, &machine)) {
		code = refuse(json, 1, "NotChecked", "machine \"%s\" can't be checked: %s",
			      machine.name, w->why);
	} else {
		code = conclude(w, json);
	}
	if (save && w->rounds && save_images(w, save))
		code = 1;
	watch_free(w);
	return code;
}

/* The end of the partition that a core is of is no violation: it has failed. */
static void forgive(const struct core *core, const struct image *image)
{
	uint64_t pa = (uint64_t)json_integer_value(json_object_get(core->text, "recorder"));
	const void *at = image_at(image, pa, offsetof(struct apmp_recorder, arm));
	struct apmp_recorder *recorder = (struct apmp_recorder *)(uintptr_t)at;

	if (recorder)
		recorder->panicked = 0;
}

/* Judges what a failed partition left (`apmp dump`). */
static int check_core(int fd, const char *file, bool json)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct core *core = calloc(1, sizeof(*core));
	struct image image = {0};
	const char *why = "out of memory";
	int code, err = w && core ? core_open(fd, core, &why) : -ENOMEM;

	if (!err && core_verify(core) != (int)core->count) {
		why = "its memory was changed";
		err = -EBADMSG;
	}
	if (!err)
		err = core_image(core, &image, &why);
	if (!err) {
		forgive(core, &image);
		err = watch_dump(w, &image, 1);
	}
	code = err ? refuse(json, 1, "NoDump", "%s can't be judged: %s", file, why)
		   : conclude(w, json);
	if (core)
		core_close(core);
	free(core);
	watch_free(w);
	return code;
}

int check_dump(const char *file, bool json)
{
	struct image *images = calloc(CHECK_DUMP_MAX, sizeof(*images));
	struct watch *w = calloc(1, sizeof(*w));
	FILE *in = fopen(file, "re");
	json_error_t error;
	const char *why = "out of memory";
	json_t *document = NULL;
	int code, count = -ENOMEM, unread = errno;

	if (in && core_is_one(fileno(in))) {
		free(images);
		free(w);
		code = check_core(dup(fileno(in)), file, json);
		fclose(in);
		return code;
	}
	if (in) {
		errno = 0;
		document = json_loadf(in, 0, &error);
		unread = ferror(in) ? errno : 0;
		fclose(in);
	}
	if (document && w && images)
		count = image_undocument(document, images, CHECK_DUMP_MAX, &why);
	if (!in || unread)
		code = refuse(json, 1, "NoDump", "%s can't be read: %s", file, strerror(unread));
	else if (!document)
		code = refuse(json, 1, "NoDump",
			      "%s is no dump of a machine: it is not JSON from line %d on; "
			      "`apmp check --live --save FILE` writes one",
			      file, error.line);
	else if (count < 0 || watch_dump(w, images, (uint32_t)count))
		code = refuse(json, 1, "NoDump",
			      "%s is no dump of a machine, or was changed: %s; "
			      "`apmp check --live --save FILE` writes one",
			      file, why);
	else
		code = conclude(w, json);
	json_decref(document);
	watch_free(w);
	free(images);
	return code;
}

bool check_machine(struct machine *machine)
{
	struct watch *w = calloc(1, sizeof(*w));
	bool good = w && watch_machine(w, machine) == 0;

	if (w && !good)
		machine_violated(machine, "memory", w->why);
	for (uint32_t i = 0; w && i < w->standing_count && good; i++) {
		const struct finding *f = &w->standing[i].finding;

		if (!w->standing[i].violation)
			continue;
		good = machine_violated(machine, check_infos[f->check].id, f->what);
	}
	watch_free(w);
	return good;
}
