/*
 * apmp-lock - runs a command while it holds a named lock of the sharing set, as flock(1) does with
 * a file.
 *
 * The command inherits the connection, and with it the lock: whatever ends us, the lock is held
 * until the last process that the command left has ended.  Let go in order it is only by us, after
 * a command that ended by itself; a command that a signal has ended leaves the lock broken.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance/app/connect.h"

/* As of flock(1) and env(1), and EX_TEMPFAIL for what can be tried again. */
enum {
	DONE = 0,
	BUSY = 1,
	USAGE = 2,
	REFUSED = 69,
	SUSPECT = 75,
	NOT_EXECUTABLE = 126,
	NOT_FOUND = 127,
	EXIT_SIGNAL = 128,
};

struct wish {
	const char *name;
	char **command;
	uint32_t rank;
	uint64_t timeout_ns;
	const char *wait;
	char *repair;
	bool good, try;
};

static const char usage[] =
    "usage: apmp-lock [--wait TIME | --try] [--rank N] [--repair COMMAND] NAME -- COMMAND...\n"
    "       apmp-lock [--wait TIME | --try] [--rank N] --good NAME\n";

/* A name in it may be any bytes: it begins no line of its own, and is nothing for a terminal. */
static int complain(const char *sentence)
{
	char text[512];
	size_t size = 0;

	for (; sentence[size] && size + 1 < sizeof(text); size++)
		text[size] = sentence[size] >= ' ' && sentence[size] <= '~' ? sentence[size] : '?';
	text[size] = '\0';
	fprintf(stderr, "apmp-lock: %s\n", text);
	return REFUSED;
}

/* Says what is wrong, and how it is used. */
__attribute__((format(printf, 1, 2))) static bool misuse(const char *format, ...)
{
	va_list args;

	fputs("apmp-lock: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n%s", usage);
	return false;
}

static bool read_time(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}};
	char *unit;
	double value = strtod(text, &unit);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (unit == text || strcmp(unit, units[i].unit) != 0 || !(value >= 0) ||
		    value > 1e9)
			continue;
		*ret_ns = (uint64_t)(value * units[i].ns);
		return true;
	}
	return misuse("--wait is a time as 500ms or 2s, not \"%s\"", text);
}

static bool read_rank(const char *text, uint32_t *ret_rank)
{
	char *end;
	unsigned long rank = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || rank < 1 || rank > UINT32_MAX)
		return misuse("--rank is a number from 1 to %u, not \"%s\"", UINT32_MAX, text);
	*ret_rank = (uint32_t)rank;
	return true;
}

static bool read_option(struct wish *wish, int option)
{
	switch (option) {
	case 'w':
		wish->wait = optarg;
		return read_time(optarg, &wish->timeout_ns);
	case 'r':
		return read_rank(optarg, &wish->rank);
	case 't':
		return wish->try = true;
	case 'p':
		wish->repair = optarg;
		return true;
	case 'g':
		return wish->good = true;
	default:
		fputs(usage, stderr); /* getopt has said what is wrong */
		return false;
	}
}

/* Whether what was said goes together. */
static bool makes_sense(struct wish *wish)
{
	if (!wish->name)
		return misuse("a lock has a name, and none is given");
	if (wish->try && wish->wait)
		return misuse("--try does not wait, and --wait %s does", wish->wait);
	if (wish->try)
		wish->timeout_ns = APMP_APP_TRY;
	if (wish->good && wish->repair)
		return misuse("--good says that the data is good, and --repair makes it so: one "
			      "of them");
	if (wish->good && *wish->command)
		return misuse("--good runs nothing, and \"%s\" is to be run", *wish->command);
	if (!wish->good && !*wish->command)
		return misuse("there is no command to be run while lock \"%s\" is held",
			      wish->name);
	return true;
}

static bool read_arguments(struct wish *wish, int argc, char **argv)
{
	static const struct option options[] = {
	    {"wait", required_argument, NULL, 'w'},
	    {"try", no_argument, NULL, 't'},
	    {"rank", required_argument, NULL, 'r'},
	    {"repair", required_argument, NULL, 'p'},
	    {"good", no_argument, NULL, 'g'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	int option;

	/* "+": what stands behind the name is the command's. */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			exit(DONE);
		}
		if (!read_option(wish, option))
			return false;
	}
	if (optind < argc)
		wish->name = argv[optind++];
	if (optind < argc && strcmp(argv[optind], "--") == 0)
		optind++;
	wish->command = argv + optind;
	return makes_sense(wish);
}

/* The command holds the lock with us, and gets signals as we would have. */
__attribute__((noreturn)) static void become(struct apmp_app_locks *locks, char **command,
					     void (*const before[2])(int))
{
	int err;

	(void)fcntl(apmp_app_locks_fd(locks), F_SETFD, 0);
	signal(SIGINT, before[0]);
	signal(SIGQUIT, before[1]);
	execvp(command[0], command);
	err = errno;
	fprintf(stderr, "apmp-lock: cannot run %s: %s\n", command[0], strerror(err));
	_exit(err == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Its wait status; ^C is the command's to take. */
static int run(struct apmp_app_locks *locks, char **command)
{
	void (*const before[2])(int) = {signal(SIGINT, SIG_IGN), signal(SIGQUIT, SIG_IGN)};
	int status = REFUSED << 8; /* where nothing can run */
	pid_t pid = fork();

	if (pid == 0)
		become(locks, command, before);
	if (pid < 0)
		complain(strerror(errno));
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	signal(SIGINT, before[0]);
	signal(SIGQUIT, before[1]);
	return status;
}

/* Waits for it.  DONE, with *ret_broken; or an exit code after saying why. */
static int take(struct apmp_app_locks *locks, const struct wish *wish, uint32_t *ret_lock,
		bool *ret_broken)
{
	int err = apmp_app_lock_open(locks, wish->name, wish->rank, ret_lock);

	if (!err)
		err = apmp_app_lock_acquire(locks, *ret_lock, wish->timeout_ns);
	if (err)
		complain(apmp_app_locks_sentence(locks));
	*ret_broken = err == APMP_APP_BROKEN;
	if (!err || *ret_broken)
		return DONE;
	return err == -ETIMEDOUT ? BUSY : REFUSED;
}

/* A lock that is broken and held: whether what it protects is good now. */
static bool repair(struct apmp_app_locks *locks, const struct wish *wish)
{
	char shell[] = "/bin/sh", option[] = "-c";
	char *command[] = {shell, option, wish->repair, NULL};

	if (wish->good)
		return true;
	if (!wish->repair) {
		fprintf(stderr,
			"apmp-lock: nothing was run; name a command that makes it good with "
			"--repair, or say with --good that it is\n");
		return false;
	}
	if (run(locks, command) == 0)
		return true;
	fprintf(stderr, "apmp-lock: the repair failed, and nothing else was run\n");
	return false;
}

/* The lock is held: runs the command, and lets go as the way in which it ended allows. */
static int serve(struct apmp_app_locks *locks, const struct wish *wish, uint32_t lock)
{
	int status = *wish->command ? run(locks, wish->command) : 0;

	if (WIFSIGNALED(status)) {
		char text[512];

		snprintf(text, sizeof(text), "%s was ended by signal %d: lock \"%s\" is broken",
			 wish->command[0], WTERMSIG(status), wish->name);
		complain(text);
		return EXIT_SIGNAL + WTERMSIG(status); /* the end of our connection breaks it */
	}
	if (apmp_app_lock_release(locks, lock))
		return complain(apmp_app_locks_sentence(locks));
	return WEXITSTATUS(status);
}

static int lock_and_serve(struct apmp_app_locks *locks, const struct wish *wish)
{
	uint32_t lock;
	bool broken;
	int code = take(locks, wish, &lock, &broken);

	if (code != DONE)
		return code;
	if (broken && !repair(locks, wish))
		return apmp_app_lock_release(locks, lock) ? REFUSED : SUSPECT;
	if (broken && apmp_app_lock_good(locks, lock))
		return complain(apmp_app_locks_sentence(locks));
	return serve(locks, wish, lock);
}

int main(int argc, char **argv)
{
	struct wish wish = {.rank = 1, .timeout_ns = APMP_APP_FOR_EVER};
	struct apmp_app_locks *locks;
	int err, code;

	apmp__app_keep_standard();
	if (!read_arguments(&wish, argc, argv))
		return USAGE;
	err = apmp_app_locks_open(&locks);
	if (err)
		return complain(apmp_app_explain(err));
	code = lock_and_serve(locks, &wish);
	apmp_app_locks_close(locks); /* what is held still is broken by that */
	return code;
}
