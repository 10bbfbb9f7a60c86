/* The host CPUs that a partition's processes may run on: a pair of groups for each partition.
 *
 * Three back ends behind one set of calls, the best one that works here is taken:
 *
 *   cgroup-v2   a delegated, writable subtree with the cpuset controller
 *   cgroup-v1   the cpuset hierarchy, writable below our own group
 *   affinity    sched_setaffinity() on every thread of the processes of a partition
 *
 * Layout of the two cgroup back ends, below the base (our own group):
 *
 *   apmp-MACHINE/                 locked with flock() for the life of the box
 *     P-PARTITION/                the host CPUs of the partition
 *       instance/                 the instance's process
 *       programs/                 what `apmp run` started in it
 *
 * Beside them, where the cpu hierarchy of v1 is writable too, apmp-MACHINE/P-PARTITION there: the
 * programs of a partition are in that one as well, which limits the time they get
 * (cpuset_quota.c).
 *
 * A host CPU set is a cpu_set_t (at most CPU_SETSIZE host CPUs).
 *
 * Threads that pinned themselves: a mask that a thread chose with sched_setaffinity() survives
 * partition_set() as far as it lies inside the new set; outside of it the kernel gives the thread
 * the whole set, and its own mask again as soon as the set holds one of its CPUs once more (Linux
 * 6.2 and later, both cgroup versions; tests/unit/test_cpuset.c shows it).  The affinity back end
 * forgets the choice once it lies outside, older kernels with each change of the set.
 */
#ifndef APMPD_CPUSET_H
#define APMPD_CPUSET_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define APMP_CPUSET_KINDS(X)                                                                       \
	X(CGROUP_V2, "cgroup-v2")                                                                  \
	X(CGROUP_V1, "cgroup-v1")                                                                  \
	X(AFFINITY, "affinity")

enum apmp_cpuset_kind {
	APMP_CPUSET_AUTO, /* no kind: "choose the best one that works" */
#define X(name, text) APMP_CPUSET_##name,
	APMP_CPUSET_KINDS(X)
#undef X
	    APMP_CPUSET_KIND_END
};

enum apmp_cpuset_group {
	APMP_CPUSET_INSTANCE = 1,
	APMP_CPUSET_PROGRAMS,
};

struct apmp_cpuset;

/* Text of host CPU sets: "0-3,8".  The longest text of a set fits into this. */
#define APMP_CPUSET_TEXT_SIZE 6144

/* Writes the set as a list of ranges; an empty set is "".  -ENOSPC: text_size is too small. */
__attribute__((warn_unused_result)) int apmp_cpuset_format(const cpu_set_t *cpus, char *ret_text,
							   size_t text_size);

/* Reads a list of ranges (a newline may end it).  -EINVAL: not a list; -ERANGE: CPU too high. */
__attribute__((warn_unused_result)) int apmp_cpuset_parse(const char *text, cpu_set_t *ret_cpus);

/* "cgroup-v2", "cgroup-v1", "affinity"; "auto" for none. */
const char *apmp_cpuset_kind_name(enum apmp_cpuset_kind kind);

/* Whether this back end would work here, tried for real (a scratch group is made and removed).
 * ret_why (always written) tells what it would use, or what refused: path and reason.
 * 0: works; -errno: what refused it (-ENOENT not mounted, -EACCES, -EROFS, -EBUSY, ...). */
__attribute__((warn_unused_result)) int apmp_cpuset_probe(enum apmp_cpuset_kind kind, char *ret_why,
							  size_t why_size);

/* Opens the back end and makes the machine's group (left-over empty groups of that name are
 * removed; call apmp_leftover_clean() first).  Tries a back end with a child process of its own,
 * which it reaps.
 *
 * -EINVAL   machine or wanted is not valid
 * -EBUSY    a living box holds the group apmp-MACHINE (another run directory, same name), or
 *           processes of a dead one are in it
 * -ENOMEM   no memory
 * -errno    wanted is not APMP_CPUSET_AUTO and that back end does not work here: see probe
 */
__attribute__((warn_unused_result)) int
apmp_cpuset_open(const char *machine, enum apmp_cpuset_kind wanted, struct apmp_cpuset **ret);

/* Lets go of descriptors and memory; removes no group.  NULL is allowed. */
void apmp_cpuset_close(struct apmp_cpuset *set);

enum apmp_cpuset_kind apmp_cpuset_kind(const struct apmp_cpuset *set);

/* Why a better back end was not taken: a sentence with path and reason; "" for the one in use and
 * for those that were not tried. */
const char *apmp_cpuset_why_not(const struct apmp_cpuset *set, enum apmp_cpuset_kind kind);

/* Full path of the machine's group; NULL for the affinity back end.  The box writes it into its
 * run directory (apmp_rundir_write(rundir, "cgroup", path)) so that a later cleaning finds it. */
const char *apmp_cpuset_path(const struct apmp_cpuset *set);

/* The same of the machine's group in the cpu hierarchy of v1; NULL: there is none.  Its note is
 * "cgroup.cpu". */
const char *apmp_cpuset_quota_path(const struct apmp_cpuset *set);

/* Why programs have no quota: a sentence with path and reason; "" if they have. */
const char *apmp_cpuset_no_quota(const struct apmp_cpuset *set);

/* Whether the back end that would be used here could keep programs to a share of their host CPUs,
 * tried for real.  ret_why as for apmp_cpuset_probe().  0; -EOPNOTSUPP: it could not; errors of
 * apmp_cpuset_open(). */
__attribute__((warn_unused_result)) int apmp_cpuset_quota_probe(char *ret_why, size_t why_size);

/* One sentence about the last call that returned a negative errno (path and reason). */
const char *apmp_cpuset_error(const struct apmp_cpuset *set);

/* Makes the two groups of a partition.
 * -EEXIST: it exists already; -EINVAL: name, or empty host_cpus; -ENOSPC: too many partitions;
 * -errno: the kernel refused (EACCES, ENOMEM, EINVAL: CPU not allowed in the base group). */
__attribute__((warn_unused_result)) int
apmp_cpuset_partition_create(struct apmp_cpuset *set, const char *name, const cpu_set_t *host_cpus);

/* Gives the partition these host CPUs; every thread in both groups is on them when this returns
 * (a running thread within one scheduler tick).  Keeps its programs to this capacity, in 1/1000
 * host CPU; 0: no limit but its host CPUs; where there can be no quota it is kept in mind and does
 * nothing.  Writes only what changes.  An empty set is not allowed: the kernel refuses it for
 * groups with tasks in v1 (ENOSPC), and in v2 it would mean "all of the parent's"; so here it is
 * -EINVAL in every back end.
 * -ENOENT: no such partition; -EINVAL: empty set; -errno: the kernel refused (EBUSY: in v1, a group
 * that a program has made keeps a host CPU).  Then nothing is changed, unless undoing is refused as
 * well. */
__attribute__((warn_unused_result)) int apmp_cpuset_partition_set(struct apmp_cpuset *set,
								  const char *name,
								  const cpu_set_t *host_cpus,
								  unsigned capacity);

/* Threads of the partition's programs, outside of groups that these have made themselves. */
struct apmp_cpuset_load {
	uint64_t threads, running; /* running: that run, or could if a host CPU were free */
};

/* -ENOENT: no such partition; -EOPNOTSUPP: the kernel does not count them: another back end than
 * cgroup v1, a kernel without taskstats, or a network namespace that can't ask; -errno. */
__attribute__((warn_unused_result)) int apmp_cpuset_load(struct apmp_cpuset *set, const char *name,
							 struct apmp_cpuset_load *ret_load);

/* Reads back from the kernel what the partition may really use (affinity: what was set last).
 * -ENOENT: no such partition; -errno: reading failed. */
__attribute__((warn_unused_result)) int
apmp_cpuset_partition_get(struct apmp_cpuset *set, const char *name, cpu_set_t *ret_cpus);

/* Moves a process, with all its threads, into a group.  What it forks later is in the group too,
 * what it forked before is not (cgroup back ends): so hold a new process back until this is done.
 * Start it in a session of its own (UV_PROCESS_DETACHED), or the affinity back end can't kill it
 * reliably: a process group is killed as a whole, and the box's own never is.
 * -ENOENT: no such partition; -ESRCH: no such process; -errno: the kernel refused. */
__attribute__((warn_unused_result)) int apmp_cpuset_enter(struct apmp_cpuset *set, const char *name,
							  enum apmp_cpuset_group group, pid_t pid);

/* Opens the files of a group that a process of one thread puts itself into by writing "0" to each:
 * cgroup v1, where the kernel lets whoever moves another one wait for 10 ms, until no thread
 * anywhere is just being made.  ret_fds are the caller's; the second is -1 where there is no quota.
 * -ENOTSUP: another back end, use apmp_cpuset_enter(); -ENOENT: no such partition; -errno: it can't
 * be opened, or made. */
#define APMP_CPUSET_DOORS 2
__attribute__((warn_unused_result)) int apmp_cpuset_doors(struct apmp_cpuset *set, const char *name,
							  enum apmp_cpuset_group group,
							  int ret_fds[APMP_CPUSET_DOORS]);

/* Kills (SIGKILL) every process in both groups, again until none is left, and waits for their end
 * at most timeout_ms (0: does not wait).  Zombies count as ended; reaping is the caller's.
 * Returns the number of processes left (not yet ended, or in state D); call again to look again.
 * -ENOENT: no such partition; -errno: listing failed. */
__attribute__((warn_unused_result)) int
apmp_cpuset_partition_kill(struct apmp_cpuset *set, const char *name, int timeout_ms);

/* Lists the processes of both groups: returns how many there are, of which at most max are
 * written to ret_pids.  -ENOENT, -errno as above. */
__attribute__((warn_unused_result)) int
apmp_cpuset_partition_pids(struct apmp_cpuset *set, const char *name, pid_t *ret_pids, size_t max);

/* Removes the groups of a partition.  -EBUSY: there are processes in it; -ENOENT: no such one. */
__attribute__((warn_unused_result)) int apmp_cpuset_partition_remove(struct apmp_cpuset *set,
								     const char *name);

/* Removes every partition and the machine's group; the set may only be closed afterwards.
 * -EBUSY: processes are left in some group (what could be removed is removed). */
__attribute__((warn_unused_result)) int apmp_cpuset_machine_remove(struct apmp_cpuset *set);

/* Cleaning after a dead box: kills what is in the group `path` (.../apmp-MACHINE, as
 * apmp_cpuset_path() gave it) and removes the group.  Returns the number of processes killed.
 * -EINVAL: not such a path, or not in a cgroup file system; -ENOENT: no such group;
 * -EBUSY: a living box holds it; -EDEADLK: the caller itself is in it; -ETIMEDOUT: processes are
 * left that did not die; -errno: it can't be removed (EACCES: not ours). */
__attribute__((warn_unused_result)) int apmp_cpuset_path_clean(const char *path, int timeout_ms);

/* Whether a living box holds this group: 1, else 0; errors as above. */
__attribute__((warn_unused_result)) int apmp_cpuset_path_held(const char *path);

/* Paths of the groups apmp-* below the base of each cgroup back end (those of `machine`, or all
 * for NULL).  Returns how many; *ret_paths (free() each, then the array) is NULL for none.
 * -ENOMEM. */
__attribute__((warn_unused_result)) int apmp_cpuset_path_list(const char *machine,
							      char ***ret_paths);

#endif
