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
	bool accept, good;
};

static const char usage[] =
    "usage: apmp-lock [--wait SECONDS | --try] [--rank N] [--accept | --good] NAME -- COMMAND...\n"
    "       apmp-lock [--wait SECONDS | --try] [--rank N] --good NAME\n";

static int complain(const char *sentence)
{
	fprintf(stderr, "apmp-lock: %s\n", sentence);
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
	case 'a':
		return wish->accept = true;
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
	    {"accept", no_argument, NULL, 'a'},
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
	return (optind < argc || wish->good) && !(wish->good && wish->accept);
}

/* Takes it.  DONE, or an exit code after saying why. */
static int take(struct apmp_app_locks *locks, const struct wish *wish, uint32_t *ret_lock)
{
	int err = apmp_app_lock_open(locks, wish->name, wish->rank, ret_lock);

	if (!err)
		err = apmp_app_lock_acquire(locks, *ret_lock, wish->timeout_ns);
	if (!err)
		return DONE;
	complain(apmp_app_locks_sentence(locks));
	if (err == -ETIMEDOUT)
		return BUSY;
	if (err != APMP_APP_BROKEN)
		return REFUSED;
	if (wish->accept || wish->good)
		return DONE;
	err = apmp_app_lock_release(locks, *ret_lock);
	fprintf(stderr, "apmp-lock: nothing was run; repair it under --accept, or say with --good "
			"that it is in order\n");
	return err ? REFUSED : SUSPECT;
}

__attribute__((noreturn)) static void become(struct apmp_app_locks *locks, char **command)
{
	int err;

	(void)fcntl(apmp_app_locks_fd(locks), F_SETFD, 0); /* the command holds the lock with us */
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	execvp(command[0], command);
	err = errno;
	fprintf(stderr, "apmp-lock: cannot run %s: %s\n", command[0], strerror(err));
	_exit(err == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Its wait status; ^C is the command's to take. */
static int run(struct apmp_app_locks *locks, char **command)
{
	int status;
	pid_t pid;

	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	pid = fork();
	if (pid == 0)
		become(locks, command);
	if (pid < 0) {
		complain(strerror(errno));
		return REFUSED << 8; /* as a status: nothing ran */
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int main(int argc, char **argv)
{
	struct wish wish = {.rank = 1, .timeout_ns = APMP_APP_FOR_EVER};
	struct apmp_app_locks *locks;
	uint32_t lock;
	int err, code, status = 0;

	if (!read_arguments(&wish, argc, argv))
		return fputs(usage, stderr), USAGE;
	err = apmp_app_locks_open(&locks);
	if (err)
		return complain(apmp_app_explain(err));
	code = take(locks, &wish, &lock);
	if (code != DONE)
		return code;
	if (wish.good && apmp_app_lock_good(locks, lock))
		return complain(apmp_app_locks_sentence(locks));
	if (*wish.command)
		status = run(locks, wish.command);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "apmp-lock: %s was ended by signal %d: lock \"%s\" is broken\n",
			wish.command[0], WTERMSIG(status), wish.name);
		return EXIT_SIGNAL + WTERMSIG(status);
	}
	if (apmp_app_lock_release(locks, lock))
		return complain(apmp_app_locks_sentence(locks));
	return WEXITSTATUS(status);
}
