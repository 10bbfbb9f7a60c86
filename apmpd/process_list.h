/* The processes of the host, as /proc shows them: a snapshot, and ending some of them. */
#ifndef APMPD_PROCESS_LIST_H
#define APMPD_PROCESS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct apmp_process {
	pid_t pid;
	pid_t parent;
	pid_t process_group;
	pid_t session;
	uint32_t thread_count;
	uint64_t starttime; /* field 22 of /proc/PID/stat; with pid it is never reused */
	char state;	    /* R S D Z ... */
	bool chosen;
	char name[20]; /* comm; what is not printable ASCII is a "?" */
};

struct apmp_process_list {
	struct apmp_process *processes; /* ascending by pid */
	size_t count;
};

/* Reads all of /proc.  -ENOMEM; -errno: /proc can't be read. */
__attribute__((warn_unused_result)) int apmp_process_list_init(struct apmp_process_list *ret);
void apmp_process_list_fini(struct apmp_process_list *list);

/* NULL: none of that pid. */
struct apmp_process *apmp_process_list_find(struct apmp_process_list *list, pid_t pid);

/* Chooses, besides those that are chosen already, every descendant of them and every member of a
 * session whose leader is chosen; then lets go of the caller and its ancestors. */
void apmp_process_list_close_over(struct apmp_process_list *list);

/* Chooses, besides those that are chosen already, everybody who has one of these uids: real,
 * effective, saved or of the file system.  Returns how many of them have not ended. */
size_t apmp_process_list_choose_uids(struct apmp_process_list *list, uid_t first, uid_t count);

/* How many are chosen and have not ended. */
size_t apmp_process_list_chosen(const struct apmp_process_list *list);

/* SIGKILL to every chosen one, and to every process group that holds chosen ones only: that also
 * reaches what they forked since the list was made.  Then waits at most timeout_ms for their end.
 * Returns how many have not ended. */
size_t apmp_process_list_kill(const struct apmp_process_list *list, int timeout_ms);

/* The same for bare pids that were listed just now. */
size_t apmp_process_kill(const pid_t *pids, size_t count, int timeout_ms);

/* One process.  -ESRCH: there is none; -errno: /proc can't be read. */
__attribute__((warn_unused_result)) int apmp_process_get(pid_t pid, struct apmp_process *ret);

/* Its real uid.  -ESRCH: there is none; -errno: /proc can't be read. */
__attribute__((warn_unused_result)) int apmp_process_uid(pid_t pid, uid_t *ret_uid);

/* Whether it has ended: a zombie has, once all of its threads have. */
bool apmp_process_ended(const struct apmp_process *process);

/* Whether this very process still runs. */
bool apmp_process_alive(pid_t pid, uint64_t starttime);

/* Value of a variable in the environment that the process was started with.
 * -ENOENT: no such variable; -ENAMETOOLONG; -EACCES, -EPERM: not ours to read; -ESRCH: gone;
 * -ENOMEM. */
__attribute__((warn_unused_result)) int apmp_process_variable(pid_t pid, const char *variable,
							      char *ret_value, size_t value_size);

/* Milliseconds of CLOCK_MONOTONIC, for deadlines. */
int64_t apmp_process_now_ms(void);

#endif
