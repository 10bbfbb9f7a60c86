#ifndef APMP_CLI_FIND_MACHINE_H
#define APMP_CLI_FIND_MACHINE_H

/* Machines are directories of this user: which there are, which is meant, and calling its console.
 */

#include <sys/types.h>

#include "cli/command.h"
#include "shm/wire/varlink.h"

enum { CLI_MACHINES_MAX = 256, CLI_NAME_MAX = 64 };

struct machine {
	char name[CLI_NAME_MAX];
	bool on;   /* its box holds the lock of the pid file */
	bool bare; /* has no console yet, and would get one by being asked */
	pid_t box;
	unsigned long long box_start; /* field 22 of /proc/PID/stat: that very process */
};

/* "$XDG_RUNTIME_DIR/apmp", or "/tmp/apmp-UID"; the caller frees it. */
char *cli_machines_directory(void);

/* All machines, by name: their count. *ret_machines is the caller's. Exits when memory runs out. */
int cli_machines(struct machine **ret_machines);

/* The name of --name or APMP_MACHINE; NULL: none is given. */
const char *cli_wanted_name(const struct cli *cli);

/* The one that is meant: 0, or an exit code after saying why there is none. */
int cli_choose(struct cli *cli, struct machine *ret_machine);

/* Its box as a pidfd, or -errno: -ESRCH: it is not running any more. */
int cli_box_open(const struct machine *machine);

/* A connection to the console of a machine: 0 or -errno, nothing is printed. */
int cli_machine_connect(const struct machine *machine, struct varlink_client **ret_client);

/* Chooses the machine and connects: 0, or an exit code after saying why not. */
int cli_connect(struct cli *cli, struct machine *ret_machine, struct varlink_client **ret_client);

/* One call without parameters, answered within so many seconds: 0, or -errno (-ETIMEDOUT). Prints
 * nothing. */
int cli_ask(const struct machine *machine, const char *method, unsigned seconds,
	    struct varlink_reply *reply);

/* Chooses, connects, calls: 0 with the answer, or an exit code after saying why not. asked is what
 * was wanted, as of cli_refuse_asked. */
int cli_call_asked(struct cli *cli, const char *method, json_t *parameters, const char *asked,
		   json_t **ret_answer);
int cli_call(struct cli *cli, const char *method, json_t *parameters, json_t **ret_answer);

/* After a call was sent: returns when there is something to receive, or false at until_ms of
 * cli_now_ms() (-1 never). Says on standard error why that takes long, as far as the box knows
 * (await_answer.c). */
bool cli_await(const struct machine *machine, const struct varlink_client *client,
	       long long until_ms);

/* varlink_client_call() with that. -ETIMEDOUT: the client is good for nothing but its close. */
int cli_machine_call(const struct machine *machine, struct varlink_client *client,
		     const char *method, json_t *parameters, long long until_ms,
		     struct varlink_reply *ret_reply);

/* One call on a connection of its own; parameters are stolen.  CLI_DONE with the reply; another
 * exit code after saying that there is no such machine; a negative errno: it did not answer. */
int cli_exchange(struct cli *cli, const char *method, json_t *parameters, struct machine *machine,
		 struct varlink_reply *ret_reply);

/* One call with `more`: take is given each reply that is no error, until it says false, or the last
 * one.  endless: the power going off is an end like any other.  An exit code, after saying why not.
 */
int cli_stream(struct cli *cli, const char *method, json_t *parameters, bool endless,
	       bool (*take)(void *ctx, const struct varlink_reply *reply), void *ctx);

/* Says that the console did not answer: CLI_REFUSED. */
int cli_no_answer(const struct cli *cli, const struct machine *machine, int error);

#endif
