/* Starting a program: forked at once, but held back before exec until its caller lets it go.
 *
 * Between the two it is entered into its cpuset, by the caller or by itself, so that neither the
 * program nor anything it forks ever runs on a host CPU that is not its partition's.
 */
#ifndef APMPD_SPAWN_H
#define APMPD_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#define APMP_SPAWN_FDS 8u

/* What is started.  Nothing of it is used any more when apmp_spawn_start() has returned. */
struct apmp_spawn {
	const char *program; /* with a slash: this file; else it is looked for in PATH of env */
	char *const *argv;
	char **env;
	const char *cwd;   /* NULL: the box's */
	int door_fds[2];   /* what it writes "0" to before exec (cpuset.h); -1: nothing */
	const int *fds;	   /* fds[i] becomes descriptor i of the program; it has no other */
	unsigned fd_count; /* at most APMP_SPAWN_FDS */
	bool terminal;	   /* descriptor 0 becomes its controlling terminal */
	const struct rlimit *nofile; /* NULL: the box's */
	uid_t uid;		     /* see partition_uid.h; 0: the user of the box */
	bool reach;		     /* with uid: program is found and executed as by the box */
	bool expendable;	     /* the first to go where the host has no memory left */
	bool urgent;		     /* its first thread, as apmp_urgent_self, */
	bool urgent_threads;	     /* and what that makes; it may get SCHED_FIFO */
};

struct apmp_spawned {
	pid_t pid;
	int go_fd;     /* held back as long as this is open and nothing was written to it */
	int status_fd; /* see apmp_spawn_status(); non-blocking */
};

/* What the program could not be started for. */
enum apmp_spawn_step {
	APMP_SPAWN_DONE, /* none: it runs */
	APMP_SPAWN_GROUP,
	APMP_SPAWN_FDS_STEP,
	APMP_SPAWN_UID,
	APMP_SPAWN_CWD,
	APMP_SPAWN_EXEC,
};

/* Forks.  The child is in a session of its own, with every signal as at a login.
 * -EINVAL: too many descriptors; -EMFILE, -ENFILE: no descriptor; -EAGAIN, -ENOMEM: no process. */
__attribute__((warn_unused_result)) int apmp_spawn_start(const struct apmp_spawn *what,
							 struct apmp_spawned *ret);

/* Lets it go on to exec. */
void apmp_spawn_release(struct apmp_spawned *spawned);

/* Ends it instead, and reaps it. */
void apmp_spawn_abandon(struct apmp_spawned *spawned);

/* What became of it, once status_fd is readable.  Closes nothing.
 * Returns 0: it is the program now, or it ended before it could tell; -EAGAIN: not yet known;
 * -errno: why it can't be started, and *ret_step at what. */
__attribute__((warn_unused_result)) int apmp_spawn_status(int status_fd,
							  enum apmp_spawn_step *ret_step);

/* An environment: of `from` what begins with one of the prefixes `keep` (NULL: everything) and is
 * not set by `set`; then `set` ("NAME=value").  One array that points into the arguments: free()
 * it.  NULL: no memory. */
__attribute__((warn_unused_result)) char **
apmp_spawn_env(char *const *from, const char *const *keep, char *const *set);

/* A program that belongs to this one: looked for in $APMP_LIBEXEC, beside our own executable, and
 * in ../libexec/apmp from there.
 * -ENOENT: in none of them (ret_path has the last place); -ENAMETOOLONG; -errno of readlink(). */
__attribute__((warn_unused_result)) int apmp_spawn_find(const char *name, char *ret_path,
							size_t path_size);

#endif
