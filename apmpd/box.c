/* The box: what is there as long as the machine is on.
 *
 * WHAT     One process, one loop, a thread that only writes NVRAM (box_nvram.c), and one while a
 *          dump is written (box_dump.c).  It holds the
 *          machine's descriptors (box_objects.c), starts and reaps its processes (box_children.c),
 *          writes cpusets (cpuset.c), and does what the console tells it (box_request.c).  It
 *          decides nothing.
 * STATES   starting (in this order: run directory, guard, log, back end, uids, socket, NVRAM)
 *          -> on -> powering off (box_power.c) -> off
 * CRASHES  Its death is a power failure, which the guard completes: everything ends, nothing is
 *          left.  Everything the box starts carries its mark, so that this is also true when both
 *          die.  The guard is the first process that there is, and when it dies there is a new
 *          one.
 * LIMITS   Between the start of the box and that of the guard there is nothing to clean but the
 *          run directory, which the next `up` does.
 */
#include "apmpd/box_internal.h"

#include "apmpd/guard.h"
#include "apmpd/host_memory.h"
#include "apmpd/power.h"
#include "shm/assert.h"
#include "shm/wire/urgent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

const char *apmp__exit_text(int status, char ret_text[64])
{
	if (WIFSIGNALED(status))
		snprintf(ret_text, 64, "signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(ret_text, 64, "exit code %d", WEXITSTATUS(status));
	return ret_text;
}

/* 0, or the error after having said it as "what: reason". */
static int said(struct apmp_box *box, int error, const char *what)
{
	if (error)
		apmp__box_word(box, APMP_WORD_FAILED, "%s: %s", what, strerror(-error));
	return error;
}

/* Standard input is nothing; output and error of a box in the background go to its log. */
static int redirect(struct apmp_box *box)
{
	box->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (box->null_fd < 0 || dup2(box->null_fd, STDIN_FILENO) < 0)
		return said(box, -errno, "/dev/null");
	if (!box->foreground &&
	    (dup2(box->log.fd, STDOUT_FILENO) < 0 || dup2(box->log.fd, STDERR_FILENO) < 0))
		return said(box, -errno, "cannot write to the log");
	return 0;
}

static int take_rundir(struct apmp_box *box)
{
	const char *machine = box->machine->name.text;
	char why[PATH_MAX + 256];
	int error = apmp_rundir_open(machine, &box->rundir, why, sizeof(why), NULL);

	if (error)
		apmp__box_word(box, APMP_WORD_FAILED, "%s", why);
	return error;
}

static int start_guard(struct apmp_box *box)
{
	const char *mark = box->mark + strlen(APMP_MARK_VARIABLE "=");
	sigset_t all, before;
	int error;

	/* The handlers of the loop must not run in the guard, which shares the loop's pipe until
	 * it has closed it. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	error = apmp_guard_start(box->machine->name.text, box->rundir.path, mark, &box->guard_fd,
				 &box->guard_pid);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (error)
		box->guard_pid = 0;
	return error;
}

void apmp__guard_ended(struct apmp_box *box)
{
	close(box->guard_fd);
	box->guard_fd = -1;
	box->guard_pid = 0;
	apmp_log_line(&box->log, "the guard was ended");
}

void apmp__guard_renew(struct apmp_box *box)
{
	if (box->guard_pid || start_guard(box) < 0)
		return; /* no process is to be had now: tried again when something has ended */
	apmp_log_line(&box->log, "the new guard is process %d", box->guard_pid);
}

static int set_marks(struct apmp_box *box)
{
	char mark[APMP_MARK_SIZE];
	int error = apmp_mark_make(box->rundir.path, mark, sizeof(mark));

	snprintf(box->mark, sizeof(box->mark), "%s=%s", APMP_MARK_VARIABLE, error ? "" : mark);
	snprintf(box->machine_variable, sizeof(box->machine_variable), "APMP_MACHINE=%s",
		 box->machine->name.text);
	return said(box, error, "cannot tell its processes from others");
}

static int open_logs(struct apmp_box *box)
{
	int error = apmp_log_open(&box->rundir, "apmpd.log", &box->log);

	if (!error)
		error = apmp_log_open(&box->rundir, "console.log", &box->console.log);
	if (error)
		return said(box, error, "cannot write a log into the run directory");
	apmp__box_word(box, APMP_WORD_LOG, "the log");
	return 0;
}

/* As many descriptors as may be; programs get back the limit that was there. */
static int raise_limits(struct apmp_box *box)
{
	struct rlimit most;

	if (getrlimit(RLIMIT_NOFILE, &box->nofile) < 0)
		return said(box, -errno, "getrlimit");
	most = box->nofile;
	most.rlim_cur = most.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &most) < 0)
		apmp_log_line(&box->log, "no more than %lu descriptors: %s",
			      (unsigned long)box->nofile.rlim_cur, strerror(errno));
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return said(box, -errno, "cannot reap what its processes leave");
	return 0;
}

/* APMP_BACKEND chooses a back end by name; else it is the best that works. */
static int open_cpuset(struct apmp_box *box)
{
	const char *name = getenv("APMP_BACKEND"), *path;
	enum apmp_cpuset_kind kind = APMP_CPUSET_AUTO;
	int error;

	for (int k = APMP_CPUSET_AUTO; name && *name && k < APMP_CPUSET_KIND_END; k++)
		if (strcmp(name, apmp_cpuset_kind_name((enum apmp_cpuset_kind)k)) == 0)
			kind = (enum apmp_cpuset_kind)k;
	error = apmp_cpuset_open(box->machine->name.text, kind, &box->cpuset);
	if (error == -EBUSY)
		return said(box, error,
			    "a living box of this name with another run directory "
			    "(XDG_RUNTIME_DIR) holds its control group; choose another --name");
	if (error)
		return said(box, error,
			    "no way to give partitions their host CPUs "
			    "(`apmp doctor` says why)");
	path = apmp_cpuset_path(box->cpuset);
	error = path ? apmp_rundir_write(&box->rundir, "cgroup", path) : 0;
	path = apmp_cpuset_quota_path(box->cpuset);
	if (!error && path)
		error = apmp_rundir_write(&box->rundir, "cgroup.cpu", path);
	return said(box, error, "cannot write into the run directory");
}

/* Written down, so that what these uids still run can be found when the box is dead. */
static int claim_uids(struct apmp_box *box)
{
	bool affinity = apmp_cpuset_kind(box->cpuset) == APMP_CPUSET_AFFINITY;
	char text[16];
	int error = apmp_partition_uids_claim(box->rundir.path, affinity, &box->uids, box->no_uids,
					      sizeof(box->no_uids));

	if (error)
		return said(box, error, "no uids for the partitions");
	if (!box->uids.first) {
		apmp_log_line(&box->log, "partitions have no uids of their own: %s", box->no_uids);
		return 0;
	}
	snprintf(text, sizeof(text), "%u", box->uids.first);
	return said(box, apmp_rundir_write(&box->rundir, "uids", text),
		    "cannot write into the run directory");
}

static json_t *host_json(const struct apmp_box *box)
{
	json_t *cpus = json_array();

	for (uint32_t i = 0; i < box->host->cpu_count; i++)
		json_array_append_new(cpus, json_integer(box->host->cpus[i]));
	return json_pack("{s:o, s:b, s:s, s:s, s:s}", "cpus", cpus, "bare", box->bare, "backend",
			 apmp_cpuset_kind_name(apmp_cpuset_kind(box->cpuset)), "no_quota",
			 apmp_cpuset_no_quota(box->cpuset), "heartbeat_class",
			 apmp_host_class_name(box->host->heartbeat_class));
}

/* CONFIG: the machine as JSON text, NUL at the end. */
static int make_config(struct apmp_box *box)
{
	json_t *json = apmp_machine_to_json(box->machine);
	char *text = NULL;
	const struct apmp_object *config;
	struct apmp_shortage shortage;
	uint64_t size;
	int error = -ENOMEM;

	if (json && json_object_set_new(json, "host", host_json(box)) == 0)
		text = json_dumps(json, JSON_COMPACT);
	if (text) {
		size = strlen(text) + 1;
		error =
		    apmp_objects_make(&box->objects, APMP_BOX_CONFIG, 0,
				      (size + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE,
				      &config, &shortage);
		if (!error && pwrite(config->fds[0], text, size, 0) != (ssize_t)size)
			error = -EIO;
	}
	free(text);
	json_decref(json);
	return said(box, error, "cannot tell the console about the machine");
}

static int make_recorder(struct apmp_box *box)
{
	const struct apmp_object *recorder;
	struct apmp_shortage shortage;
	int error = apmp_objects_make(&box->objects, APMP_BOX_RECORDER, APMP_BOX_SELF_RECORDER,
				      APMP_RECORDER_SIZE, &recorder, &shortage);

	return error ? error : apmp_own_recorder_open(recorder->fds[0]);
}

static void on_signal(uv_signal_t *signal, int number)
{
	apmp__power_signal(signal->data, number);
}

static void on_child_signal(uv_signal_t *signal, int number)
{
	(void)number;
	apmp__children_reap(signal->data);
}

static void on_words(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	apmp__console_drain_words(poll->data);
}

static int init_loop(struct apmp_box *box)
{
	const struct {
		uv_signal_t *handle;
		uv_signal_cb call;
		int number;
	} signals[] = {
	    {&box->child_signal, on_child_signal, SIGCHLD},
	    {&box->term_signal, on_signal, SIGTERM},
	    {&box->int_signal, on_signal, SIGINT},
	    {&box->hup_signal, on_signal, SIGHUP},
	};
	uv_timer_t *const timers[] = {&box->kill_timer, &box->power_timer, &box->load_timer,
				      &box->console.restart, &box->console.watch_timer};
	int error = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; !error && i < sizeof(signals) / sizeof(signals[0]); i++) {
		error = uv_signal_init(&box->loop, signals[i].handle);
		signals[i].handle->data = box;
		if (!error)
			error =
			    uv_signal_start(signals[i].handle, signals[i].call, signals[i].number);
	}
	for (size_t i = 0; !error && i < sizeof(timers) / sizeof(timers[0]); i++) {
		error = uv_timer_init(&box->loop, timers[i]);
		timers[i]->data = box;
	}
	if (!error && pipe2(box->console.words, O_CLOEXEC) < 0)
		error = -errno;
	if (!error)
		error = uv_poll_init(&box->loop, &box->console.words_poll, box->console.words[0]);
	box->console.words_poll.data = box;
	if (!error)
		error = uv_poll_start(&box->console.words_poll, UV_READABLE, on_words);
	return said(box, error, "no event loop");
}

/* Everything up to the console, each thing once; what was made is in box for unmake(). */
static int make(struct apmp_box *box)
{
	char text[APMP_BOX_TEXT_SIZE];
	int error = take_rundir(box);

	if (!error)
		error = set_marks(box);
	if (!error)
		error = said(box, start_guard(box), "cannot start the guard");
	if (!error)
		error = open_logs(box);
	if (!error)
		error = redirect(box);
	if (!error)
		error = raise_limits(box);
	if (!error)
		error = said(box, apmp_host_probe(&box->host), "cannot look at the host");
	if (!error)
		error = open_cpuset(box);
	if (!error)
		error = claim_uids(box);
	if (!error)
		error = said(box, apmp_rundir_listen(&box->rundir, &box->listen_fd),
			     "cannot make the control socket");
	if (!error)
		error = make_config(box);
	if (!error)
		error = said(box, make_recorder(box), "cannot make a flight recorder");
	if (!error)
		error = said(box, apmp__nvram_start(box), "cannot use NVRAM");
	if (!error)
		error = init_loop(box);
	if (error)
		return error;
	error = said(box, apmp__dumps_start(box), "no way to hear of dumps");
	if (error)
		return error;
	apmp__beacons_start(box);
	if (box->bare)
		return apmp__box_bare(box);
	error = apmp__console_start(box, text);
	if (error)
		apmp__box_word(box, APMP_WORD_FAILED, "%s", text);
	return error;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void fini_loop(struct apmp_box *box)
{
	uv_walk(&box->loop, close_handle, NULL);
	uv_run(&box->loop, UV_RUN_DEFAULT);
	uv_loop_close(&box->loop);
}

/* Removes what make() made; all processes have ended.  The guard is the last to go. */
static void unmake(struct apmp_box *box)
{
	int error = 0;

	apmp__beacons_stop(box);
	fini_loop(box);
	apmp_nvram_store_close(&box->nvram.store, false);
	apmp_own_recorder_close();
	apmp_objects_fini(&box->objects);
	apmp_partition_uids_release(&box->uids);
	close_fd(box->listen_fd);
	close_fd(box->console.words[0]);
	close_fd(box->console.words[1]);
	if (box->cpuset) {
		error = apmp_cpuset_machine_remove(box->cpuset);
		if (error)
			apmp_log_line(&box->log, "%s", apmp_cpuset_error(box->cpuset));
		apmp_cpuset_close(box->cpuset);
	}
	apmp_host_destroy(box->host);
	if (box->rundir.magic && !error) {
		error = apmp_rundir_remove(&box->rundir);
		if (error)
			apmp_log_line(&box->log, "cannot remove %s: %s", box->rundir.path,
				      strerror(-error));
	}
	apmp_log_close(&box->console.log);
	apmp_log_close(&box->log);
	/* If something could not be removed, the guard is left to try: it goes on until it can. */
	if (box->guard_pid && !error) {
		error = apmp_guard_dismiss(box->guard_fd, box->guard_pid);
		(void)error; /* it was gone, and so is what it guarded */
	}
	if (box->rundir.magic)
		apmp_rundir_close(&box->rundir);
	close_fd(box->null_fd);
	close_fd(box->word_fd);
}

static struct apmp_box *box_new(const struct machine *machine, const struct apmp_power_how *how,
				struct apmp_nvram_store *nvram, int word_fd)
{
	struct apmp_box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	box->magic = APMP__BOX_MAGIC;
	box->machine = machine;
	box->nvram.store = *nvram;
	box->foreground = how->foreground;
	box->bare = how->bare;
	box->word_fd = word_fd;
	box->power = APMP_POWER_ON;
	box->guard_fd = box->listen_fd = box->null_fd = -1;
	box->console.words[0] = box->console.words[1] = -1;
	box->log.fd = box->console.log.fd = -1;
	box->uids.claim_fd = -1;
	if (uv_loop_init(&box->loop)) {
		free(box);
		return NULL;
	}
	return box;
}

int apmp_box_main(const struct machine *machine, const struct apmp_power_how *how,
		  struct apmp_nvram_store *nvram, int word_fd)
{
	struct apmp_box *box;
	bool was_on = false;

	/* ulimit -f: a write beyond it shall fail, not kill. */
	signal(SIGXFSZ, SIG_IGN);
	if (!how->foreground)
		setsid(); /* refused only to who leads a group already, which a fork does not */
	box = chdir("/") < 0 ? NULL : box_new(machine, how, nvram, word_fd);
	if (!box) {
		apmp_nvram_store_close(nvram, false);
		return 1;
	}
	if (make(box) == 0) {
		(void)!apmp_urgent_self(false);
		uv_run(&box->loop, UV_RUN_DEFAULT);
	}
	was_on = box->was_on;
	unmake(box);
	free(box);
	return was_on ? 0 : 1;
}
