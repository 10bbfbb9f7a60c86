/* Host CPUs of partitions by cgroups, version 1 and 2.
 *
 * WHAT     apmp-MACHINE/P-PARTITION/{instance,programs}; see cpuset.h.  In v1 every group has
 *          CPUs of its own, and a group's are within its parent's.  In v2 only P-PARTITION has,
 *          and what is below it goes by them.
 * STATES   of a partition's groups: made (create), changed (set), empty, removed.
 * ORDERING v1 refuses a group that is not within its parent at any moment.  So growing goes from
 *          the parent down, shrinking from the children up, and a change that does both goes
 *          through the union.  A failed step is undone in the other direction.
 * LOCKS    The folder apmp-MACHINE is flock()ed by the box.  The kernel lets go of that when the
 *          box ends: who can lock it may remove it.
 * SPEED    Descriptors stay open, a change is three writes (v1) or one (v2).  Where the group
 *          above does the load balancing, ours are taken out of it (v1): it changes nothing for
 *          the scheduler, but spares the kernel a look at all of its domains at each write.
 * BASE     Our own group; in v1, if that is not ours to change, one that was made for us
 *          (apmp_cgroup_delegated(); `doctor --fix` makes it); in v2 see cpuset_base.c.
 * LIMITS   Memory nodes (cpuset.mems) are all those of the base.
 */
#include "apmpd/cpuset_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static bool is_v1(const struct apmp_cpuset *set)
{
	return set->ops == &apmp__cpuset_cgroup_v1;
}

static int write_cpus(int fd, const cpu_set_t *cpus)
{
	char text[APMP_CPUSET_TEXT_SIZE];
	int error = apmp_cpuset_format(cpus, text, sizeof(text));

	if (error)
		return error;
	return pwrite(fd, text, strlen(text), 0) < 0 ? -errno : 0;
}

/* Gives a new v1 group what it can't have processes without. */
static int v1_init_group(const struct apmp_cpuset *set, int parent_fd, int fd,
			 const cpu_set_t *cpus)
{
	char text[APMP_CPUSET_TEXT_SIZE], balance[8];
	int error = apmp_cpuset_format(cpus, text, sizeof(text));

	if (!error)
		error = apmp__cgroup_write(fd, "cpuset.cpus", text);
	if (error)
		return error;
	/* The machine's parent has effective_mems only (it may be the root); ours have both. */
	error = apmp__cgroup_read(parent_fd, "cpuset.effective_mems", text, sizeof(text));
	if (error >= 0)
		error = apmp__cgroup_write(fd, "cpuset.mems", text);
	if (error)
		return error;
	/* Speed only: no error of ours if it can't be. */
	if (fd == set->dir_fd && (apmp__cgroup_read(parent_fd, "cpuset.sched_load_balance", balance,
						    sizeof(balance)) <= 0 ||
				  balance[0] != '1'))
		return 0;
	if (fd != set->dir_fd && (apmp__cgroup_read(set->dir_fd, "cpuset.sched_load_balance",
						    balance, sizeof(balance)) <= 0 ||
				  balance[0] != '0'))
		return 0;
	error = apmp__cgroup_write(fd, "cpuset.sched_load_balance", "0");
	(void)error;
	return 0;
}

/* Makes a group with these CPUs (v2: NULL for those of its parent) and opens it. */
static int make_group(const struct apmp_cpuset *set, int parent_fd, const char *name,
		      const cpu_set_t *cpus, int *ret_fd)
{
	int fd, error = 0;

	if (mkdirat(parent_fd, name, 0755) < 0)
		return -errno;
	fd = openat(parent_fd, name, DIR_FLAGS);
	if (fd < 0)
		error = -errno;
	else if (is_v1(set))
		error = v1_init_group(set, parent_fd, fd, cpus);
	else if (cpus) {
		char text[APMP_CPUSET_TEXT_SIZE];

		error = apmp_cpuset_format(cpus, text, sizeof(text));
		if (!error)
			error = apmp__cgroup_write(fd, "cpuset.cpus", text);
	}
	if (error) {
		if (fd >= 0)
			close(fd);
		unlinkat(parent_fd, name, AT_REMOVEDIR); /* the first error is told */
		return error;
	}
	*ret_fd = fd;
	return 0;
}

/* Moves a child of ours into a scratch group: whether the kernel lets us is known only then. */
static int try_process(struct apmp_cpuset *set)
{
	int wires[2], fd, error = make_group(set, set->dir_fd, "try", &set->base_cpus, &fd);
	char text[16], c;
	pid_t pid;

	if (error)
		return apmp__cpuset_fail(set, error, "cannot make a group with host CPUs in %s: %s",
					 set->path, strerror(-error));
	if (pipe2(wires, O_CLOEXEC) < 0) {
		error = -errno;
		wires[0] = wires[1] = -1;
	}
	pid = error ? -1 : fork();
	if (pid == 0) {
		close(wires[1]);
		/* Until the parent closes its end, or ends itself. */
		_exit(read(wires[0], &c, 1) != 0);
	}
	if (pid < 0) {
		error = error ? error : -errno;
	} else {
		snprintf(text, sizeof(text), "%d", pid);
		error = apmp__cgroup_write(fd, "cgroup.procs", text);
	}
	close(wires[0]);
	close(wires[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(fd);
	if (error)
		apmp__cpuset_fail(set, error, "cannot move a process into %s: %s", set->path,
				  strerror(-error));
	if (apmp__cgroup_remove_below(set->dir_fd) < 0 && !error)
		error = -EBUSY;
	return error;
}

/* Gives the locked group its CPUs and sees whether it can be used. */
static int init_machine(struct apmp_cpuset *set, int base_fd)
{
	int error = apmp__cgroup_remove_below(set->dir_fd);

	if (error)
		return apmp__cpuset_fail(set, error,
					 "processes of a dead machine \"%s\" are left "
					 "in %s: apmp --name %s clean",
					 set->machine, set->path, set->machine);
	if (is_v1(set))
		error = v1_init_group(set, base_fd, set->dir_fd, &set->base_cpus);
	else
		error = apmp__cgroup_write(set->dir_fd, "cgroup.subtree_control", "+cpuset");
	if (error)
		return apmp__cpuset_fail(set, error,
					 "cannot give %s the host CPUs of the group "
					 "above it: %s",
					 set->path, strerror(-error));
	return try_process(set);
}

/* base: the group to make the machine's in. */
static int open_below(struct apmp_cpuset *set, const char *base, const char *effective)
{
	char text[APMP_CPUSET_TEXT_SIZE];
	int base_fd, error;

	if ((size_t)snprintf(set->path, sizeof(set->path), "%s/apmp-%s", base, set->machine) >=
	    sizeof(set->path))
		return -ENAMETOOLONG;
	base_fd = open(base, DIR_FLAGS);
	if (base_fd < 0)
		return apmp__cpuset_fail(set, -errno, "%s: %s", base, strerror(errno));
	error = apmp__cgroup_read(base_fd, effective, text, sizeof(text));
	if (error >= 0)
		error = apmp_cpuset_parse(text, &set->base_cpus);
	if (error)
		apmp__cpuset_fail(set, error, "%s/%s: %s", base, effective, strerror(-error));
	if (!error) {
		error = apmp__cgroup_make_locked(set->path, &set->dir_fd);
		if (error)
			apmp__cpuset_fail(set, error, "cannot make the group %s: %s", set->path,
					  error == -EBUSY ? "a living box of the same name (with "
							    "another run directory?) holds it"
							  : strerror(-error));
	}
	if (!error) {
		error = init_machine(set, base_fd);
		if (error) {
			rmdir(set->path); /* the first error is told */
			close(set->dir_fd);
			set->dir_fd = -1;
		}
	}
	close(base_fd);
	return error;
}

/* Our own group is not ours to change; one that was made for us may be.  error, of which the
 * sentence stands: if there is none. */
static int v1_open_delegated(struct apmp_cpuset *set, int error)
{
	char base[PATH_MAX];

	if (apmp_cgroup_delegated("cpuset", geteuid(), base, sizeof(base)) < 0 ||
	    access(base, F_OK) < 0)
		return error;
	return open_below(set, base, "cpuset.effective_cpus");
}

static int v1_open(struct apmp_cpuset *set)
{
	char mount[PATH_MAX], base[PATH_MAX];
	int error = apmp_cgroup_own("cpuset", mount, base, sizeof(base));

	if (error)
		return apmp__cpuset_fail(set, error, "cgroup v1 cpuset: %s",
					 error == -ENOENT ? "not mounted" : strerror(-error));
	set->ops = &apmp__cpuset_cgroup_v1;
	error = open_below(set, base, "cpuset.effective_cpus");
	if (error == -EACCES || error == -EPERM)
		error = v1_open_delegated(set, error);
	if (error) {
		set->ops = NULL;
		set->path[0] = '\0';
	}
	return error;
}

static int v2_open(struct apmp_cpuset *set)
{
	char base[PATH_MAX];
	int error = apmp__cpuset_v2_base(base, sizeof(base), set->error, sizeof(set->error));

	if (error)
		return error;
	set->ops = &apmp__cpuset_cgroup_v2;
	error = open_below(set, base, "cpuset.cpus.effective");
	if (error) {
		set->ops = NULL;
		set->path[0] = '\0';
	}
	return error;
}

static void cgroup_close(struct apmp_cpuset *set)
{
	if (set->dir_fd >= 0)
		close(set->dir_fd);
}

static void cgroup_forget(struct apmp__cpuset_partition *p)
{
	int *const fds[] = {&p->dir_fd,	     &p->cpus_fd[0],  &p->cpus_fd[1],  &p->cpus_fd[2],
			    &p->procs_fd[0], &p->procs_fd[1], &p->effective_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static void group_name(const struct apmp__cpuset_partition *p, char *ret_name, size_t size)
{
	snprintf(ret_name, size, "P-%s", p->name);
}

static int open_file(int dir_fd, const char *name, int flags, int *ret_fd)
{
	*ret_fd = openat(dir_fd, name, flags | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int cgroup_remove(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	int error = p->dir_fd < 0 ? 0 : apmp__cgroup_remove_below(p->dir_fd);
	char name[APMP_NAME_SIZE + 2];

	group_name(p, name, sizeof(name));
	if (!error && unlinkat(set->dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		error = -errno;
	if (error)
		apmp__cpuset_fail(set, error, "cannot remove the group %s/%s: %s", set->path, name,
				  error == -EBUSY ? "there are processes in it" : strerror(-error));
	return error;
}

static const char *const leaf_names[] = {"instance", "programs"};

/* One of the two groups that hold processes. */
static int create_leaf(const struct apmp_cpuset *set, struct apmp__cpuset_partition *p, int idx,
		       const char *name)
{
	int fd, error = make_group(set, p->dir_fd, name, is_v1(set) ? &p->host_cpus : NULL, &fd);

	if (error)
		return error;
	error = open_file(fd, "cgroup.procs", O_WRONLY, &p->procs_fd[idx]);
	if (!error && is_v1(set))
		error = open_file(fd, "cpuset.cpus", O_WRONLY, &p->cpus_fd[1 + idx]);
	close(fd);
	return error;
}

static int cgroup_create(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	const char *effective = is_v1(set) ? "cpuset.effective_cpus" : "cpuset.cpus.effective";
	char name[APMP_NAME_SIZE + 2];
	int error;

	p->dir_fd = p->effective_fd = -1;
	p->cpus_fd[0] = p->cpus_fd[1] = p->cpus_fd[2] = p->procs_fd[0] = p->procs_fd[1] = -1;
	group_name(p, name, sizeof(name));
	error = make_group(set, set->dir_fd, name, &p->host_cpus, &p->dir_fd);
	if (error)
		return apmp__cpuset_fail(set, error, "cannot make the group %s/%s: %s", set->path,
					 name, strerror(-error));
	error = open_file(p->dir_fd, "cpuset.cpus", O_WRONLY, &p->cpus_fd[0]);
	if (!error)
		error = open_file(p->dir_fd, effective, O_RDONLY, &p->effective_fd);
	if (!error)
		error = create_leaf(set, p, 0, leaf_names[0]);
	if (!error)
		error = create_leaf(set, p, 1, leaf_names[1]);
	if (error) {
		int undo = cgroup_remove(set, p);

		cgroup_forget(p);
		apmp__cpuset_fail(set, error, "cannot make the groups in %s/%s: %s%s", set->path,
				  name, strerror(-error), undo ? " (and cannot undo it)" : "");
	}
	return error;
}

/* A change in one direction: growing from the parent down, shrinking from the children up. */
static int set_one_way(struct apmp__cpuset_partition *p, const cpu_set_t *cpus, bool grow)
{
	int order[3] = {0, 1, 2}, error = 0, i;

	if (!grow)
		order[0] = 2, order[2] = 0;
	for (i = 0; !error && i < 3; i++)
		if (p->cpus_fd[order[i]] >= 0)
			error = write_cpus(p->cpus_fd[order[i]], cpus);
	if (!error) {
		p->host_cpus = *cpus;
		return 0;
	}
	/* The last one written is the one that refused. */
	for (i -= 2; i >= 0; i--)
		if (p->cpus_fd[order[i]] >= 0 &&
		    write_cpus(p->cpus_fd[order[i]], &p->host_cpus) < 0)
			break; /* it was allowed before; the first error is told */
	return error;
}

static int cgroup_set(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
		      const cpu_set_t *host_cpus)
{
	cpu_set_t both;
	int error = 0;

	CPU_OR(&both, host_cpus, &p->host_cpus);
	if (is_v1(set) && !CPU_EQUAL(&both, &p->host_cpus))
		error = set_one_way(p, &both, true);
	if (!error && !CPU_EQUAL(host_cpus, &p->host_cpus))
		error = set_one_way(p, host_cpus, false);
	if (error)
		apmp__cpuset_fail(set, error, "cannot change the host CPUs of %s/P-%s: %s",
				  set->path, p->name, strerror(-error));
	return error;
}

static int cgroup_get(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
		      cpu_set_t *ret_cpus)
{
	char text[APMP_CPUSET_TEXT_SIZE];
	ssize_t n = pread(p->effective_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return apmp__cpuset_fail(set, -errno, "cannot read the host CPUs of %s/P-%s: %s",
					 set->path, p->name, strerror(errno));
	text[n] = '\0';
	return apmp_cpuset_parse(text, ret_cpus);
}

static int cgroup_enter(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
			enum apmp_cpuset_group group, pid_t pid)
{
	char text[16];

	(void)set;
	snprintf(text, sizeof(text), "%d", pid);
	if (pwrite(p->procs_fd[group - APMP_CPUSET_INSTANCE], text, strlen(text), 0) < 0)
		return -errno;
	return 0;
}

static int v1_door(const struct apmp__cpuset_partition *p, enum apmp_cpuset_group group)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%s/tasks", leaf_names[group - APMP_CPUSET_INSTANCE]);
	fd = openat(p->dir_fd, path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int cgroup_pids(struct apmp_cpuset *set, struct apmp__cpuset_partition *p, pid_t **ret_pids)
{
	pid_t *pids = NULL;
	size_t count = 0;
	int error = apmp__cgroup_pids(p->dir_fd, true, &pids, &count);

	(void)set;
	if (error) {
		free(pids);
		return error;
	}
	*ret_pids = pids;
	return (int)count;
}

static void v2_kill(struct apmp__cpuset_partition *p)
{
	int error = apmp__cgroup_write(p->dir_fd, "cgroup.kill", "1");

	(void)error; /* before Linux 5.14 there is none; then one by one, as in v1 */
}

static int cgroup_machine_remove(struct apmp_cpuset *set)
{
	int error = apmp__cgroup_remove_below(set->dir_fd);

	if (!error && rmdir(set->path) < 0 && errno != ENOENT)
		error = -errno;
	if (error)
		apmp__cpuset_fail(set, error, "cannot remove the group %s: %s", set->path,
				  error == -EBUSY ? "there are processes in it" : strerror(-error));
	return error;
}

const struct apmp__cpuset_ops apmp__cpuset_cgroup_v1 = {
    .kind = APMP_CPUSET_CGROUP_V1,
    .open = v1_open,
    .close = cgroup_close,
    .create = cgroup_create,
    .set = cgroup_set,
    .get = cgroup_get,
    .enter = cgroup_enter,
    .door = v1_door,
    .pids = cgroup_pids,
    .remove = cgroup_remove,
    .forget = cgroup_forget,
    .machine_remove = cgroup_machine_remove,
};

const struct apmp__cpuset_ops apmp__cpuset_cgroup_v2 = {
    .kind = APMP_CPUSET_CGROUP_V2,
    .open = v2_open,
    .close = cgroup_close,
    .create = cgroup_create,
    .set = cgroup_set,
    .get = cgroup_get,
    .enter = cgroup_enter,
    .pids = cgroup_pids,
    .kill = v2_kill,
    .remove = cgroup_remove,
    .forget = cgroup_forget,
    .machine_remove = cgroup_machine_remove,
};
