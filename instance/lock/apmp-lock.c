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
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance/app/apmp.h"

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
	char *repair;
	bool good;
};

static const char usage[] =
    "usage: apmp-lock [--wait SECONDS | --try] [--rank N] [--repair COMMAND] NAME -- COMMAND...\n"
    "       apmp-lock [--wait SECONDS | --try] [--rank N] --good NAME\n";

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

static bool read_seconds(const char *text, uint64_t *ret_ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !isfinite(seconds) || seconds < 0 || seconds > 1e9)
		return false;
	*ret_ns = (uint64_t)(seconds * 1e9);
	return true;
}

static bool read_rank(const char *text, uint32_t *ret_rank)
{
	char *end;
	unsigned long rank = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || rank < 1 || rank > UINT32_MAX)
		return false;
	*ret_rank = (uint32_t)rank;
	return true;
}

static bool read_option(struct wish *wish, int option)
{
	switch (option) {
	case 'w':
		return read_seconds(optarg, &wish->timeout_ns);
	case 'r':
		return read_rank(optarg, &wish->rank);
	case 't':
		wish->timeout_ns = APMP_APP_TRY;
		return true;
	case 'p':
		wish->repair = optarg;
		return true;
	case 'g':
		return wish->good = true;
	default:
		return false;
	}
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
	if (optind >= argc)
		return false;
	wish->name = argv[optind++];
	if (optind < argc && strcmp(argv[optind], "--") == 0)
		optind++;
	wish->command = argv + optind;
	return wish->good ? optind == argc && !wish->repair : optind < argc;
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

	if (!read_arguments(&wish, argc, argv))
		return fputs(usage, stderr), USAGE;
	err = apmp_app_locks_open(&locks);
	if (err)
		return complain(apmp_app_explain(err));
	code = lock_and_serve(locks, &wish);
	apmp_app_locks_close(locks); /* what is held still is broken by that */
	return code;
}
