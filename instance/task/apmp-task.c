/*
 * apmp-task - runs a program of tasks in the instance of this partition, and lists those that run.
 *
 * WHAT      The instance gets a sealed copy of the program and of its arguments, and the writing
 *           end of a pipe; what comes out of that is printed here.  We wait for the end of all of
 *           the program's tasks, and end with the value of the first.
 * CRASHES   Whatever ends us ends our connection, and so the tasks.  SIGINT and its like ask them
 *           to end; a second one ends us at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/app/connect.h"

/* As of env(1), and EX_UNAVAILABLE. */
enum { DONE = 0, USAGE = 2, REFUSED = 69, NOT_LOADABLE = 126, NOT_FOUND = 127, EXIT_SIGNAL = 128 };

struct wish {
	const char *file;
	char **arguments; /* the file is the first */
	uint32_t count;
	uint32_t bound; /* CPU + 1, or 0 */
	bool list, json;
};

struct run {
	int sock, output, signals;
	int signalled; /* the first signal that asked for the end, or 0 */
	bool ended;
	int value;
};

static const char usage[] = "usage: apmp-task [--bind CPU] FILE.so [ARGUMENT...]\n"
			    "       apmp-task --list [--json]\n";

static const char options_text[] =
    "\n"
    "Runs FILE.so as a task on the CPUs of the partition that it was started in.\n"
    "\n"
    "options:\n"
    "  --bind CPU  run the task on CPU number CPU alone (on any)\n"
    "  --list      print the tasks of the partition, and run none\n"
    "  --json      with --list: one JSON object for each\n"
    "  --help      this\n";

/* A name in it may be any bytes: it begins no line of its own, and is nothing for a terminal. */
__attribute__((format(printf, 2, 3))) static int complain(int code, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	fprintf(stderr, "apmp-task: %s\n", text);
	return code;
}

/* ---- what is wanted ---- */

static bool misuse(const char *sentence, const char *word)
{
	fprintf(stderr, "apmp-task: %s%s\n%s", sentence, word, usage);
	return false;
}

static bool read_cpu(const char *text, uint32_t *ret_bound)
{
	char *end;
	unsigned long cpu = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || cpu >= APMP_MAX_CPUS)
		return misuse("--bind takes the number of a CPU, not ", text);
	*ret_bound = (uint32_t)cpu + 1;
	return true;
}

static bool makes_sense(const struct wish *wish)
{
	if (wish->list && wish->bound)
		return misuse("--list runs nothing that --bind could bind", "");
	if (wish->list && wish->count)
		return misuse("--list runs nothing, and this is to be run: ", wish->file);
	if (wish->json && !wish->list)
		return misuse("--json is for --list", "");
	if (!wish->list && !wish->count)
		return misuse("there is no program to be run", "");
	return true;
}

static bool read_arguments(struct wish *wish, int argc, char **argv)
{
	static const struct option options[] = {
	    {"bind", required_argument, NULL, 'b'},
	    {"list", no_argument, NULL, 'l'},
	    {"json", no_argument, NULL, 'j'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	int option;

	/* "+": what stands behind the file is the program's. */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s%s", usage, options_text);
			exit(DONE);
		}
		if (option == '?') {
			fputs(usage, stderr); /* getopt has said what is wrong */
			return false;
		}
		if (option == 'b' && !read_cpu(optarg, &wish->bound))
			return false;
		wish->list = wish->list || option == 'l';
		wish->json = wish->json || option == 'j';
	}
	wish->arguments = argv + optind;
	wish->count = (uint32_t)(argc - optind);
	wish->file = wish->arguments[0];
	return makes_sense(wish);
}

/* ---- what the instance gets ---- */

/* Nobody can change any more what is in it. */
static int seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0
		   ? -errno
		   : 0;
}

static int create(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

static int copy(int to, int from)
{
	char block[1 << 16];
	ssize_t n;

	while ((n = read(from, block, sizeof(block))) > 0)
		for (ssize_t off = 0, part; off < n; off += part) {
			part = write(to, block + off, (size_t)(n - off));
			if (part < 0)
				return -errno;
		}
	return n < 0 ? -errno : seal(to);
}

/* A sealed copy of a file, or -errno. */
static int copy_of(const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), fd, err;

	if (from < 0)
		return -errno;
	fd = create("program");
	err = fd < 0 ? fd : copy(fd, from);
	close(from);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* The arguments as the instance wants them, or -errno; -E2BIG. */
static int sealed_arguments(const struct wish *wish)
{
	size_t total = 0;
	int fd = create("arguments"), err = fd < 0 ? fd : 0;

	for (uint32_t i = 0; i < wish->count && !err; i++) {
		size_t size = strlen(wish->arguments[i]) + 1;

		total += size;
		if (total > APMP_APP_TASK_ARGS)
			err = -E2BIG;
		else if (write(fd, wish->arguments[i], size) != (ssize_t)size)
			err = -EIO;
	}
	if (!err)
		err = seal(fd);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* What the instance calls the program: no path. */
static const char *name_of(const struct wish *wish)
{
	const char *slash = strrchr(wish->file, '/');

	return slash ? slash + 1 : wish->file;
}

static int send_start(int sock, const struct wish *wish, const int fd[APMP_APP_TASK_FDS])
{
	struct apmp_app_request request = {.version = APMP_APP_VERSION,
					   .op = APMP_APP_START,
					   .lock = wish->count,
					   .rank = wish->bound};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(APMP_APP_TASK_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = &request, .iov_len = sizeof(request)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	snprintf(request.text, sizeof(request.text), "%.31s", name_of(wish));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(APMP_APP_TASK_FDS * sizeof(int));
	memcpy(CMSG_DATA(c), fd, APMP_APP_TASK_FDS * sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -EPIPE : 0;
}

/* ---- while it runs ---- */

static void ask_to_end(const struct run *run)
{
	const struct apmp_app_request request = {.version = APMP_APP_VERSION, .op = APMP_APP_END};

	/* Where it fails the instance has ended, and we hear of that. */
	(void)!send(run->sock, &request, sizeof(request), MSG_NOSIGNAL);
}

static void hear_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (run->signalled)
		_exit(EXIT_SIGNAL + (int)info.ssi_signo);
	run->signalled = (int)info.ssi_signo;
	ask_to_end(run);
}

/* All of it, whatever kind of file it goes to; hears signals while that is full.  False: nobody
 * wants it. */
static bool print(struct run *run, const char *text, size_t size)
{
	while (size) {
		struct pollfd fds[] = {{.fd = STDOUT_FILENO, .events = POLLOUT},
				       {.fd = run->signals, .events = POLLIN}};
		ssize_t n = 0;

		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR */
		if (fds[1].revents)
			hear_signal(run);
		if (fds[0].revents) /* a pipe that is not full takes so many without waiting */
			n = write(STDOUT_FILENO, text, size < PIPE_BUF ? size : PIPE_BUF);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return false;
		if (n > 0)
			text += n, size -= (size_t)n;
	}
	return true;
}

/* False: the output has ended. */
static bool hear_output(struct run *run)
{
	static char block[1 << 16];
	ssize_t n = read(run->output, block, sizeof(block));

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		return false;
	if (print(run, block, (size_t)n))
		return true;
	ask_to_end(run);
	return false;
}

/* The end of its tasks.  False: that of the instance. */
static bool hear_end(struct run *run)
{
	struct apmp_app_task task;
	int err = apmp__app_receive(run->sock, &task, sizeof(task));

	if (err == -EINTR)
		return true;
	if (err || task.version != APMP_APP_VERSION)
		return false;
	run->ended = true;
	run->value = task.value;
	return true;
}

/* Until its tasks have ended and all that they wrote is printed.  Its exit status. */
static int attend(struct run *run)
{
	while (!run->ended || run->output >= 0) {
		struct pollfd fds[] = {{.fd = run->output, .events = POLLIN},
				       {.fd = run->ended ? -1 : run->sock, .events = POLLIN},
				       {.fd = run->signals, .events = POLLIN}};

		if (poll(fds, 3, -1) < 0)
			continue; /* EINTR */
		if (fds[2].revents)
			hear_signal(run);
		if (fds[0].revents && !hear_output(run)) {
			close(run->output);
			run->output = -1;
		}
		if (fds[1].revents && !hear_end(run))
			return complain(REFUSED, "%s", apmp_app_explain(-EPIPE));
	}
	return run->signalled ? EXIT_SIGNAL + run->signalled : run->value & 0xff;
}

/* Signals that end a program come to us by a descriptor, before any of it runs. */
static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* One reply of the instance.  0, or an exit code after saying why, of a program as it was typed. */
static int hear_reply(int sock, const struct wish *wish, struct apmp_app_reply *ret_reply)
{
	struct apmp_app_request sent;
	const char *file = "", *text = ret_reply->text;
	size_t length;
	int err;

	do
		err = apmp__app_receive(sock, ret_reply, sizeof(*ret_reply));
	while (err == -EINTR);
	if (err)
		return complain(REFUSED, "%s", apmp_app_explain(err));
	if (!ret_reply->error)
		return DONE;
	ret_reply->text[sizeof(ret_reply->text) - 1] = '\0';
	snprintf(sent.text, sizeof(sent.text), "%.31s", wish->file ? name_of(wish) : "");
	length = strlen(sent.text);
	if (length && strncmp(text, sent.text, length) == 0) {
		file = wish->file;
		text += length;
	}
	return complain(ret_reply->error == -ENOEXEC ? NOT_LOADABLE : REFUSED, "%s%s", file, text);
}

static int start(int sock, const struct wish *wish, int program)
{
	struct run run = {.sock = sock};
	struct apmp_app_reply reply;
	int ends[2], arguments = sealed_arguments(wish), code;

	if (arguments == -E2BIG)
		return complain(REFUSED, "the arguments of %s have more than %u bytes", wish->file,
				APMP_APP_TASK_ARGS);
	if (arguments < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return complain(REFUSED, "cannot run %s: %s", wish->file, strerror(errno));
	run.output = ends[0];
	run.signals = watch_signals();
	/* Refused or cut off: the reply says so. */
	(void)!send_start(sock, wish, (const int[]){program, arguments, ends[1]});
	close(program);
	close(arguments);
	close(ends[1]);
	code = hear_reply(sock, wish, &reply);
	return code == DONE ? attend(&run) : code;
}

/* ---- the list ---- */

static const char *state_of(const struct apmp_app_task *task)
{
	switch (task->state) {
	case APMP_APP_TASK_READY:
		return "ready";
	case APMP_APP_TASK_RUNNING:
		return "running";
	default:
		return "waiting";
	}
}

static void print_json(const struct apmp_app_task *task)
{
	printf("{\"number\": %" PRIu64 ", \"program\": %" PRIu64
	       ", \"name\": \"%s\", \"state\": \"%s\", \"cpu\": %d, \"bound\": %d, "
	       "\"ending\": %s}\n",
	       task->number, task->program, task->name, state_of(task), (int)task->cpu - 1,
	       (int)task->bound - 1, task->ending ? "true" : "false");
}

static void print_line(const struct apmp_app_task *task)
{
	char cpu[16] = "-", bound[16] = "-";

	if (task->cpu)
		snprintf(cpu, sizeof(cpu), "%u", task->cpu - 1);
	if (task->bound)
		snprintf(bound, sizeof(bound), "%u", task->bound - 1);
	printf("%-6" PRIu64 " %-7" PRIu64 " %-7s %3s %5s %s%s\n", task->number, task->program,
	       state_of(task), cpu, bound, task->name, task->ending ? " (asked to end)" : "");
}

static int list(int sock, const struct wish *wish)
{
	const struct apmp_app_request request = {.version = APMP_APP_VERSION, .op = APMP_APP_LIST};
	struct apmp_app_reply reply;
	struct apmp_app_task task;
	int code;

	(void)!send(sock, &request, sizeof(request), MSG_NOSIGNAL);
	code = hear_reply(sock, wish, &reply);
	if (code != DONE)
		return code;
	if (!wish->json)
		printf("NUMBER PROGRAM STATE   CPU BOUND NAME\n");
	for (uint32_t i = 0; i < reply.lock; i++) {
		if (apmp__app_receive(sock, &task, sizeof(task)))
			return complain(REFUSED, "%s", apmp_app_explain(-EPIPE));
		task.name[sizeof(task.name) - 1] = '\0';
		for (char *c = task.name; *c; c++)
			if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
				*c = '?';
		if (wish->json)
			print_json(&task);
		else
			print_line(&task);
	}
	return fflush(stdout) < 0 ? REFUSED : DONE;
}

int main(int argc, char **argv)
{
	struct wish wish = {0};
	struct apmp_app_partition self;
	int sock, err, program = -1;

	apmp__app_keep_standard();
	if (!read_arguments(&wish, argc, argv))
		return USAGE;
	if (!wish.list) {
		program = copy_of(wish.file);
		if (program < 0)
			return complain(program == -ENOENT ? NOT_FOUND : NOT_LOADABLE,
					"cannot read %s: %s", wish.file, strerror(-program));
	}
	err = apmp__app_connect(APMP_APP_TASKS, 0, &sock, &self);
	if (err)
		return complain(REFUSED, "%s", apmp_app_explain(err));
	return wish.list ? list(sock, &wish) : start(sock, &wish, program);
}
