/* Between cpuset.c and its back ends; nobody else includes this. */
#ifndef APMPD_CPUSET_OPS_H
#define APMPD_CPUSET_OPS_H

#include "apmpd/cpuset.h"
#include "apmpd/rundir.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define APMP__CPUSET_MAGIC 0x61437073u
#define APMP__WHY_SIZE	   (PATH_MAX + 512)

struct apmp__cpuset_partition {
	struct apmp__cpuset_partition *next;
	char name[APMP_NAME_SIZE];
	cpu_set_t host_cpus; /* as set last */

	/* cgroup back ends; kept open, because partition_set() is on the path of a migration */
	int dir_fd;	/* P-NAME */
	int cpus_fd[3]; /* cpuset.cpus of P-NAME, instance, programs; v2 has only the first */
	int procs_fd[2];
	int effective_fd;

	/* cpuset_quota.c */
	unsigned capacity; /* in 1/1000 host CPU; 0: whole host CPUs, and no quota */
	int quota_fd;	   /* of the group with the programs' quota; -1: none yet */
	struct apmp__cpu_share {
		uint64_t weight, period_us, quota_us; /* as written last; all 0: not known */
	} share;

	/* affinity back end */
	struct apmp__cpuset_member *members;
	size_t member_count;
};

struct apmp__cpuset_ops {
	enum apmp_cpuset_kind kind;
	/* Makes the machine's group.  On error the sentence is in set->error. */
	int (*open)(struct apmp_cpuset *set);
	void (*close)(struct apmp_cpuset *set);
	int (*create)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p);
	int (*set)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
		   const cpu_set_t *host_cpus);
	int (*get)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p, cpu_set_t *ret_cpus);
	int (*enter)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
		     enum apmp_cpuset_group group, pid_t pid);
	/* See apmp_cpuset_door(); NULL where there is no such thing. */
	int (*door)(const struct apmp__cpuset_partition *p, enum apmp_cpuset_group group);
	/* Lists both groups into a new array (free() it).  Returns how many. */
	int (*pids)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p, pid_t **ret_pids);
	/* Kills everything in both groups at once; NULL where there is no such thing. */
	void (*kill)(struct apmp__cpuset_partition *p);
	/* Releases the partition's groups and what p holds of them (not p itself). */
	int (*remove)(struct apmp_cpuset *set, struct apmp__cpuset_partition *p);
	void (*forget)(struct apmp__cpuset_partition *p);
	int (*machine_remove)(struct apmp_cpuset *set);
};

struct apmp_cpuset {
	uint32_t magic;
	const struct apmp__cpuset_ops *ops;
	struct apmp__cpuset_partition *partitions;
	char machine[APMP_NAME_SIZE];
	char why_not[APMP_CPUSET_KIND_END][APMP__WHY_SIZE];
	char error[APMP__WHY_SIZE];
	char path[PATH_MAX];	       /* of the machine's group; "" for affinity */
	int dir_fd;		       /* that group, locked; -1 for affinity */
	cpu_set_t base_cpus;	       /* no partition can have others */
	char quota_path[PATH_MAX];     /* of the machine's group in the cpu hierarchy; "": none */
	int quota_fd;		       /* that group, locked; -1 */
	char no_quota[APMP__WHY_SIZE]; /* why there is none */
};

extern const struct apmp__cpuset_ops apmp__cpuset_cgroup_v2;
extern const struct apmp__cpuset_ops apmp__cpuset_cgroup_v1;
extern const struct apmp__cpuset_ops apmp__cpuset_affinity;

/* Puts a sentence into set->error and returns error. */
__attribute__((format(printf, 3, 4))) int apmp__cpuset_fail(struct apmp_cpuset *set, int error,
							    const char *format, ...);

/* cpuset_base.c: finds where our groups can be made.
 *
 * controller  "cpuset" or "memory" for a v1 hierarchy, NULL for v2
 * ret_mount   where it is mounted; ret_base: our own group in it (a path below ret_mount)
 * -ENOENT: not mounted, or we have no group in it; -ENAMETOOLONG; -errno: /proc can't be read. */
__attribute__((warn_unused_result)) int apmp_cgroup_own(const char *controller, char *ret_mount,
							char *ret_base, size_t path_size);

/* cpuset_quota.c: see apmp_cpuset_partition_set().  Sentences are in set->error. */
/* After the back end.  What can't be is told in set->no_quota. */
void apmp__quota_open(struct apmp_cpuset *set);
/* Writes what the partition is to have; nothing as long as it has no group.  -errno. */
__attribute__((warn_unused_result)) int apmp__quota_write(struct apmp_cpuset *set,
							  struct apmp__cpuset_partition *p);
/* The partition gets its first program: nothing where there are no quotas.  -errno. */
__attribute__((warn_unused_result)) int apmp__quota_begin(struct apmp_cpuset *set,
							  struct apmp__cpuset_partition *p);
/* v1, after that: a file that a process puts itself into the group with.  -errno of open(). */
__attribute__((warn_unused_result)) int apmp__quota_door(struct apmp_cpuset *set,
							 const struct apmp__cpuset_partition *p);
/* -EBUSY: there are processes in it; -errno of rmdir(). */
__attribute__((warn_unused_result)) int apmp__quota_remove(struct apmp_cpuset *set,
							   struct apmp__cpuset_partition *p);
void apmp__quota_forget(struct apmp__cpuset_partition *p);
__attribute__((warn_unused_result)) int apmp__quota_machine_remove(struct apmp_cpuset *set);

/* cpuset_load.c, of v1: see apmp_cpuset_load(). */
__attribute__((warn_unused_result)) int apmp__load_read(const struct apmp__cpuset_partition *p,
							struct apmp_cpuset_load *ret_load);

/* cpuset_base.c: the group of v1 that an administrator may have made for a user: it need not be the
 * user's own one, for in v1 who may write both a group and a process may move the process into it.
 * Writes its path, whether it exists or not.  controller: "cpuset" or "cpu".
 * -ENOENT: there is no such hierarchy of v1; -ENAMETOOLONG; -errno. */
__attribute__((warn_unused_result)) int apmp_cgroup_delegated(const char *controller, uid_t uid,
							      char *ret_path, size_t path_size);

/* The group of v2 to make ours in: our own one, prepared for that, or the nearest one above that
 * hands on the cpuset controller and is writable.  The sentence of a refusal is in ret_why.
 * Of our own one: -EOPNOTSUPP: it has no cpuset; -ENOTEMPTY: there are processes in it that are not
 * ours (and not -EBUSY, which is another box's group); -EACCES, -EROFS, -errno.  -ENOENT: v2 is not
 * mounted; -ENAMETOOLONG. */
__attribute__((warn_unused_result)) int apmp__cpuset_v2_base(char *ret_base, size_t path_size,
							     char *ret_why, size_t why_size);

/* Reads a small file of a group whole, NUL at the end.  Returns its length; -errno. */
__attribute__((warn_unused_result)) int apmp__cgroup_read(int dir_fd, const char *name,
							  char *ret_text, size_t text_size);
__attribute__((warn_unused_result)) int apmp__cgroup_write(int dir_fd, const char *name,
							   const char *text);

/* cpuset_tree.c: groups below an open group, however deep programs have nested them. */
/* Adds the processes of the group, and of those below it.  -ENOMEM; -errno: it can't be read. */
__attribute__((warn_unused_result)) int apmp__cgroup_pids(int dir_fd, bool below, pid_t **pids,
							  size_t *count);
__attribute__((warn_unused_result)) int apmp__cgroup_remove_below(int dir_fd);

/* One group, that is open as well.  -EBUSY: there are processes in it; -errno. */
__attribute__((warn_unused_result)) int apmp__cgroup_remove(int parent_fd, const char *name,
							    int dir_fd);

/* Makes, opens and locks the machine's group.  -EBUSY: a living box holds it; -errno of mkdir(),
 * open(), flock(). */
__attribute__((warn_unused_result)) int apmp__cgroup_make_locked(const char *path, int *ret_fd);

#endif
