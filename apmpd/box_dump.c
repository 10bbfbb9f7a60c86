/* Dumps of failed partitions [0298], Fig. 26B step 2610.
 *
 * WHAT     The console says what memory a life had, and brings copies of what is not its alone; a
 *          thread writes it (write_dump.c), one dump after the other, so that the box never waits
 *          for memory or a disk.  The parts are descriptors of the dump's own: memory that is
 *          dropped meanwhile leaves the table at once, and is given back when it is copied.
 * STATES   queued -> copying -> copied (whoever asked is answered: the memory may be used again)
 *          -> written or not (DUMPED is told)
 * LOCKS    None: while a dump is being written the thread reads it, and writes only result, error
 *          and what is atomic.
 * ORDERING copied and written are released by the thread and acquired by the loop, which the thread
 *          wakes after each.  hurried and tid: each is written by one and then the other is read,
 *          in one order for all, so that one of the two sees both.
 * TIMES    The thread gives way to everybody, until somebody waits for it.
 * CRASHES  See write_dump.c.  A console that ended meanwhile is not answered; the next one asks
 *          again for the same life and is answered with those before it, or at once.
 * LIMITS   Power off waits for the dumps that were asked for.  DUMPED is for the console that lives
 *          then; the log has it always.  Without privileges a thread that has given way can't take
 *          that back, and gives way less.
 */
#include "apmpd/box_internal.h"

#include "apmpd/write_dump.h"
#include "apmpd/host_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TEXT_MAX (256u << 10)

struct apmp_dump_job {
	struct apmp_dump_job *next;
	struct apmp_box *box;
	struct apmp_dump dump;
	struct apmp_dump_part parts[CORE_PIECES_MAX];
	uint64_t ram[CORE_PIECES_MAX]; /* id of the object; 0: of the description */
	bool dropped[CORE_PIECES_MAX]; /* give it back when it is copied */
	struct apmp_asked asked[APMP__DUMP_ASKED];
	unsigned asked_count;
	char *text;
	uint64_t begin_ns;
	bool answered;
	_Atomic bool copied, written;
	_Atomic bool hurried;		/* W: loop, before it reads tid */
	_Atomic pid_t tid;		/* W: thread, before it reads hurried again */
	struct apmp_dump_result result; /* W: thread, before written.  R: loop after it */
	int error;
};

static void job_free(struct apmp_dump_job *job)
{
	for (uint32_t i = 0; i < job->dump.count; i++)
		if (job->parts[i].fd >= 0)
			close(job->parts[i].fd);
	free(job->text);
	free(job);
}

/* ---- the thread ---- */

static void on_copied(void *ctx)
{
	struct apmp_dump_job *job = ctx;

	atomic_store_explicit(&job->copied, true, memory_order_release);
	uv_async_send(&job->box->dumps.wake_loop);
}

static void *write_main(void *arg)
{
	struct apmp_dump_job *job = arg;

	(void)pthread_setname_np(pthread_self(), "dump"); /* for top -H and gdb */
	if (!atomic_load(&job->hurried))
		(void)setpriority(PRIO_PROCESS, 0, geteuid() == 0 ? 19 : 5);
	atomic_store(&job->tid, gettid());
	if (atomic_load(&job->hurried)) /* meanwhile, of one that had no number yet */
		(void)setpriority(PRIO_PROCESS, 0, 0);
	job->error = apmp_dump_write(&job->dump, &job->result);
	atomic_store_explicit(&job->written, true, memory_order_release);
	uv_async_send(&job->box->dumps.wake_loop);
	return NULL;
}

/* Somebody waits for what it reads. */
static void hurry(struct apmp_dump_job *job)
{
	pid_t tid;

	atomic_store(&job->hurried, true);
	tid = atomic_load(&job->tid);
	if (tid)
		(void)setpriority(PRIO_PROCESS, (id_t)tid, 0); /* refused: it takes longer */
}

/* ---- the loop ---- */

/* What it read is not needed any more, and whoever waits for that is told. */
static void copied(struct apmp_dump_job *job)
{
	struct apmp_box_event answer = {.id = job->dump.id};

	if (job->answered)
		return;
	job->answered = true;
	for (uint32_t i = 0; i < job->dump.count; i++) {
		if (job->dropped[i])
			(void)!apmp_host_memory_drop(job->parts[i].fd); /* it goes with the fd */
		close(job->parts[i].fd);
		job->parts[i].fd = -1;
	}
	for (unsigned i = 0; i < job->asked_count; i++)
		apmp__box_done(job->box, job->asked[i], &answer, NULL, 0);
	job->asked_count = 0;
}

static void start_next(struct apmp_box *box);

static void written(struct apmp_box *box, struct apmp_dump_job *job)
{
	const struct apmp_dump_result *result = &job->result;
	struct apmp_box_event event = {
	    .op = APMP_BOX_DUMPED,
	    .id = job->dump.id,
	    .error = job->error,
	    .size = result->left_out,
	    .arg = {job->dump.incarnation, result->bytes, uv_hrtime() - job->begin_ns}};
	const char *folder = box->nvram.store.state.path;

	if (job->error)
		snprintf(event.text, sizeof(event.text), "%s", result->why);
	else if ((size_t)snprintf(event.text, sizeof(event.text), "%.200s/" DUMP_FOLDER "/%s",
				  folder, result->name) >= sizeof(event.text) ||
		 strlen(folder) > 200)
		snprintf(event.text, sizeof(event.text), DUMP_FOLDER "/%s", result->name);
	if (job->error)
		apmp_log_line(&box->log, "no dump of partition \"%s\", incarnation %" PRIu64 ": %s",
			      job->dump.partition, job->dump.incarnation, result->why);
	else
		apmp_log_line(&box->log, "%s: %" PRIu64 " bytes", event.text, result->bytes);
	box->dumps.last[job->dump.id] = job->dump.incarnation;
	apmp__console_tell(box, &event);
}

static void on_wake(uv_async_t *async)
{
	struct apmp_box *box = async->data;
	struct apmp_dump_job *job = box->dumps.first;

	if (!job || !box->dumps.running)
		return;
	if (atomic_load_explicit(&job->copied, memory_order_acquire))
		copied(job);
	if (!atomic_load_explicit(&job->written, memory_order_acquire))
		return;
	pthread_join(box->dumps.thread, NULL);
	box->dumps.running = false;
	written(box, job);
	box->dumps.first = job->next;
	job_free(job);
	start_next(box);
	apmp__power_step(box);
}

static void start_next(struct apmp_box *box)
{
	struct apmp_dump_job *job;

	while ((job = box->dumps.first) && !box->dumps.running) {
		int error = pthread_create(&box->dumps.thread, NULL, write_main, job);

		box->dumps.running = !error;
		if (!error)
			return;
		job->error = -error;
		snprintf(job->result.why, sizeof(job->result.why),
			 "there can't be one more thread: %s", strerror(error));
		copied(job);
		written(box, job);
		box->dumps.first = job->next;
		job_free(job);
	}
}

bool apmp__dumps_busy(const struct apmp_box *box)
{
	return box->dumps.first != NULL;
}

int apmp__dumps_start(struct apmp_box *box)
{
	apmp_dump_tidy(box->nvram.store.state.dir_fd);
	box->dumps.wake_loop.data = box;
	return uv_async_init(&box->loop, &box->dumps.wake_loop, on_wake);
}

bool apmp__dump_takes(struct apmp_box *box, uint32_t kind, uint64_t id)
{
	for (struct apmp_dump_job *job = box->dumps.first; job; job = job->next)
		for (uint32_t i = 0; i < job->dump.count && !job->answered; i++) {
			/* What was dropped already is not what has the number now. */
			if (kind != APMP_BOX_RAM || job->ram[i] != id || job->dropped[i])
				continue;
			apmp_objects_release(&box->objects, kind, id);
			job->dropped[i] = true;
			return true;
		}
	return false;
}

/* ---- the request ---- */

/* One of the pieces that the description names.  -EINVAL; -errno. */
static int add_part(struct apmp_dump_job *job, const json_t *piece, int fd, bool ram)
{
	struct apmp_dump_part *part = &job->parts[job->dump.count];
	uint64_t id = (uint64_t)json_integer_value(json_object_get(piece, "ram"));
	const struct apmp_object *object =
	    ram ? apmp_objects_find(&job->box->objects, APMP_BOX_RAM, id) : NULL;

	if (job->dump.count == CORE_PIECES_MAX || (ram && !object))
		return -EINVAL;
	*part = (struct apmp_dump_part){
	    .pa = (uint64_t)json_integer_value(json_object_get(piece, "pa")),
	    .size = (uint64_t)json_integer_value(json_object_get(piece, "size")),
	    .fd = fcntl(ram ? object->fds[0] : fd, F_DUPFD_CLOEXEC, 0),
	    .off = (uint64_t)json_integer_value(json_object_get(piece, "off")),
	    .may_miss = ram};
	if (part->fd < 0)
		return -errno;
	job->ram[job->dump.count++] = ram ? id : 0;
	return 0;
}

static int add_parts(struct apmp_dump_job *job, const json_t *text, int fd)
{
	static const char *const lists[] = {"copied", "private"};
	int error = 0;

	for (unsigned ram = 0; ram < 2; ram++) {
		const json_t *list = json_object_get(text, lists[ram]), *piece;
		size_t i;

		json_array_foreach(list, i, piece)
		{
			if (!error)
				error = add_part(job, piece, fd, ram);
		}
	}
	return error ? error : job->dump.count ? 0 : -EINVAL;
}

/* The description, which stands at the end of its memory, and what it names. */
static int describe(struct apmp_dump_job *job, const struct apmp_call *call)
{
	uint64_t size = call->request->arg[1], at = call->request->size;
	json_t *text;
	int error;

	if (!size || size > TEXT_MAX || at > INT64_MAX - TEXT_MAX)
		return -EINVAL;
	job->text = calloc(1, size + 1);
	if (!job->text)
		return -ENOBUFS;
	if (pread(call->fds[0], job->text, size, (off_t)at) != (ssize_t)size)
		return -EINVAL;
	text = json_loads(job->text, 0, NULL);
	error = text ? add_parts(job, text, call->fds[0]) : -EINVAL;
	json_decref(text);
	job->dump.text = job->text;
	return error;
}

static struct apmp_dump_job *job_new(struct apmp_box *box, const struct apmp_call *call)
{
	struct apmp_dump_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->box = box;
	job->begin_ns = uv_hrtime();
	job->asked[job->asked_count++] = call->asked;
	job->dump = (struct apmp_dump){.env = apmp_own_env(),
				       .state_fd = box->nvram.store.state.dir_fd,
				       .limit = box->machine->dump.limit.bytes,
				       .keep = box->machine->dump.keep,
				       .id = (uint32_t)call->request->id,
				       .incarnation = call->request->arg[0],
				       .parts = job->parts,
				       .copied = on_copied,
				       .ctx = job};
	snprintf(job->dump.partition, sizeof(job->dump.partition), "%.*s", APMP_NAME_SIZE - 1,
		 call->request->text);
	return job;
}

/* The dump of this life, when it is on its way. */
static struct apmp_dump_job *find(struct apmp_box *box, uint64_t id, uint64_t incarnation)
{
	for (struct apmp_dump_job *job = box->dumps.first; job; job = job->next)
		if (job->dump.id == id && job->dump.incarnation == incarnation)
			return job;
	return NULL;
}

static int join(struct apmp_box *box, struct apmp_dump_job *job, struct apmp_call *call)
{
	if (job->answered)
		return 0;
	if (job->asked_count == APMP__DUMP_ASKED)
		return apmp__call_fail(call, -EBUSY, "%u requests wait for this dump already",
				       APMP__DUMP_ASKED);
	job->asked[job->asked_count++] = call->asked;
	for (struct apmp_dump_job *before = box->dumps.first; before != job; before = before->next)
		hurry(before); /* it waits for those, too */
	hurry(job);
	return APMP__BOX_LATER;
}

int apmp__box_dump(struct apmp_box *box, struct apmp_call *call)
{
	const struct apmp_box_request *request = call->request;
	struct apmp_dump_job *job = find(box, request->id, request->arg[0]), **end;
	int error;

	if (job)
		return join(box, job, call);
	if (box->dumps.last[request->id] == request->arg[0]) {
		call->answer.arg[0] = 1; /* DUMPED was told to a console before this one */
		return 0;
	}
	if (!box->machine->dump.on || call->fd_count != 1 || !apmp_name_valid(request->text))
		return apmp__call_fail(call, -EINVAL,
				       "a dump wants the partition's name and one descriptor, and "
				       "that dumps are not off");
	job = job_new(box, call);
	if (!job)
		return apmp__call_fail(call, -ENOBUFS, "no memory for a dump");
	error = describe(job, call);
	if (error) {
		job_free(job);
		return apmp__call_fail(call, error, "what a dump is to hold makes no sense: %s",
				       strerror(-error));
	}
	for (end = &box->dumps.first; *end; end = &(*end)->next)
		;
	*end = job;
	start_next(box);
	return APMP__BOX_LATER;
}
