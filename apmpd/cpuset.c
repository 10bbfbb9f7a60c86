/* Host CPUs of partitions: choosing the back end, finding the partition, checking arguments. */
#include "apmpd/cpuset_ops.h"

#include "apmpd/process_list.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Best first. */
static const struct apmp__cpuset_ops *const back_ends[] = {
    &apmp__cpuset_cgroup_v2,
    &apmp__cpuset_cgroup_v1,
    &apmp__cpuset_affinity,
};

int apmp__cpuset_fail(struct apmp_cpuset *set, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(set->error, sizeof(set->error), format, args);
	va_end(args);
	return error;
}

int apmp_cpuset_format(const cpu_set_t *cpus, char *ret_text, size_t text_size)
{
	size_t length = 0;

	if (text_size == 0)
		return -ENOSPC;
	ret_text[0] = '\0';
	for (int first = 0, last; first < CPU_SETSIZE; first = last + 1) {
		int n;

		last = first;
		if (!CPU_ISSET(first, cpus))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, cpus))
			last++;
		n = snprintf(ret_text + length, text_size - length,
			     first == last ? "%s%d" : "%s%d-%d", length ? "," : "", first, last);
		length += (size_t)n;
		if (length >= text_size)
			return -ENOSPC;
	}
	return 0;
}

int apmp_cpuset_parse(const char *text, cpu_set_t *ret_cpus)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	while (*text && *text != '\n') {
		unsigned long first, last;
		char *end;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		first = last = strtoul(text, &end, 10);
		if (*end == '-') {
			text = end + 1;
			if (*text < '0' || *text > '9')
				return -EINVAL;
			last = strtoul(text, &end, 10);
		}
		if (last < first || (*end && !strchr(",\n", *end)))
			return -EINVAL;
		if (last >= CPU_SETSIZE)
			return -ERANGE;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, &cpus);
		text = end + (*end == ',');
	}
	*ret_cpus = cpus;
	return 0;
}

const char *apmp_cpuset_kind_name(enum apmp_cpuset_kind kind)
{
	switch (kind) {
#define X(name, text)                                                                              \
	case APMP_CPUSET_##name:                                                                   \
		return text;
		APMP_CPUSET_KINDS(X)
#undef X
	default:
		return "auto";
	}
}

static struct apmp_cpuset *set_new(const char *machine)
{
	struct apmp_cpuset *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->magic = APMP__CPUSET_MAGIC;
	set->dir_fd = set->quota_fd = -1;
	snprintf(set->machine, sizeof(set->machine), "%s", machine);
	return set;
}

/* A name that no other probe has, and that cleaning finds if we are killed right here. */
static void probe_name(char ret_name[APMP_NAME_SIZE])
{
	snprintf(ret_name, APMP_NAME_SIZE, "probe.%d", getpid());
}

/* Tries one back end. */
static int set_open(struct apmp_cpuset *set, const struct apmp__cpuset_ops *ops)
{
	int error;

	set->error[0] = '\0';
	error = ops->open(set);
	if (!error) {
		set->ops = ops;
		return 0;
	}
	if (!set->error[0])
		apmp__cpuset_fail(set, error, "%s", strerror(-error));
	snprintf(set->why_not[ops->kind], sizeof(set->why_not[ops->kind]), "%s", set->error);
	return error;
}

int apmp_cpuset_open(const char *machine, enum apmp_cpuset_kind wanted, struct apmp_cpuset **ret)
{
	struct apmp_cpuset *set;
	int error = -EINVAL;

	if (!apmp_name_valid(machine) || wanted >= APMP_CPUSET_KIND_END)
		return -EINVAL;
	set = set_new(machine);
	if (!set)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(back_ends) / sizeof(back_ends[0]) && !set->ops; i++) {
		if (wanted != APMP_CPUSET_AUTO && wanted != back_ends[i]->kind)
			continue;
		error = set_open(set, back_ends[i]);
		/* A worse back end would work, but two machines of one name would not. */
		if (error == -EBUSY || error == -ENOMEM)
			break;
	}
	if (!set->ops) {
		free(set);
		return error;
	}
	apmp__quota_open(set);
	*ret = set;
	return 0;
}

int apmp_cpuset_quota_probe(char *ret_why, size_t why_size)
{
	char machine[APMP_NAME_SIZE];
	struct apmp_cpuset *set;
	int error;

	probe_name(machine);
	error = apmp_cpuset_open(machine, APMP_CPUSET_AUTO, &set);
	if (error) {
		snprintf(ret_why, why_size, "%s", strerror(-error));
		return error;
	}
	error = set->no_quota[0] ? -EOPNOTSUPP : 0;
	if (error) {
		snprintf(ret_why, why_size, "%s", set->no_quota);
	} else {
		const char *path = set->quota_fd >= 0 ? set->quota_path : set->path;

		snprintf(ret_why, why_size, "groups below %.*s", (int)(strrchr(path, '/') - path),
			 path);
	}
	if (apmp_cpuset_machine_remove(set) < 0)
		snprintf(ret_why, why_size, "%s", set->error);
	apmp_cpuset_close(set);
	return error;
}

int apmp_cpuset_probe(enum apmp_cpuset_kind kind, char *ret_why, size_t why_size)
{
	struct apmp_cpuset *set;
	char machine[APMP_NAME_SIZE];
	int error = -EINVAL;

	probe_name(machine);
	set = set_new(machine);
	if (!set) {
		snprintf(ret_why, why_size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (size_t i = 0; i < sizeof(back_ends) / sizeof(back_ends[0]); i++)
		if (back_ends[i]->kind == kind)
			error = set_open(set, back_ends[i]);
	if (set->ops) {
		const char *slash = strrchr(set->path, '/');

		if (slash)
			snprintf(ret_why, why_size, "groups below %.*s", (int)(slash - set->path),
				 set->path);
		else
			snprintf(ret_why, why_size, "sched_setaffinity() on every thread");
		if (apmp_cpuset_machine_remove(set) < 0)
			snprintf(ret_why, why_size, "%s", set->error);
		apmp_cpuset_close(set);
		return 0;
	}
	snprintf(ret_why, why_size, "%s", set->error);
	free(set);
	return error;
}

static void forget(struct apmp_cpuset *set, struct apmp__cpuset_partition *p)
{
	apmp__quota_forget(p);
	set->ops->forget(p);
	free(p);
}

void apmp_cpuset_close(struct apmp_cpuset *set)
{
	struct apmp__cpuset_partition *p, *next;

	if (!set)
		return;
	for (p = set->partitions; p; p = next) {
		next = p->next;
		forget(set, p);
	}
	if (set->quota_fd >= 0)
		close(set->quota_fd);
	set->ops->close(set);
	set->magic = 0;
	free(set);
}

enum apmp_cpuset_kind apmp_cpuset_kind(const struct apmp_cpuset *set)
{
	return set->ops->kind;
}

const char *apmp_cpuset_why_not(const struct apmp_cpuset *set, enum apmp_cpuset_kind kind)
{
	return kind < APMP_CPUSET_KIND_END ? set->why_not[kind] : "";
}

const char *apmp_cpuset_path(const struct apmp_cpuset *set)
{
	return set->path[0] ? set->path : NULL;
}

const char *apmp_cpuset_quota_path(const struct apmp_cpuset *set)
{
	return set->quota_fd >= 0 ? set->quota_path : NULL;
}

const char *apmp_cpuset_no_quota(const struct apmp_cpuset *set)
{
	return set->no_quota;
}

const char *apmp_cpuset_error(const struct apmp_cpuset *set)
{
	return set->error;
}

/* The link that points to the partition, or to the end of the list. */
static struct apmp__cpuset_partition **find(struct apmp_cpuset *set, const char *name)
{
	struct apmp__cpuset_partition **link = &set->partitions;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

static int find_or_fail(struct apmp_cpuset *set, const char *name,
			struct apmp__cpuset_partition **ret)
{
	*ret = *find(set, name);
	if (!*ret)
		return apmp__cpuset_fail(set, -ENOENT, "there is no partition \"%s\"", name);
	return 0;
}

static int check_cpus(struct apmp_cpuset *set, const char *name, const cpu_set_t *host_cpus)
{
	char wanted[APMP_CPUSET_TEXT_SIZE], base[APMP_CPUSET_TEXT_SIZE];
	cpu_set_t common;

	if (CPU_COUNT(host_cpus) == 0)
		return apmp__cpuset_fail(
		    set, -EINVAL, "partition \"%s\" cannot be left without a host CPU", name);
	CPU_AND(&common, host_cpus, &set->base_cpus);
	if (CPU_EQUAL(&common, host_cpus))
		return 0;
	if (apmp_cpuset_format(host_cpus, wanted, sizeof(wanted)) < 0 ||
	    apmp_cpuset_format(&set->base_cpus, base, sizeof(base)) < 0)
		return -EINVAL;
	return apmp__cpuset_fail(set, -EINVAL,
				 "partition \"%s\" cannot have host CPUs %.200s: only %.200s are "
				 "ours",
				 name, wanted, base);
}

int apmp_cpuset_partition_create(struct apmp_cpuset *set, const char *name,
				 const cpu_set_t *host_cpus)
{
	struct apmp__cpuset_partition *p;
	int error;

	if (!apmp_name_valid(name))
		return apmp__cpuset_fail(set, -EINVAL, "\"%s\" is no name for a partition", name);
	if (*find(set, name))
		return apmp__cpuset_fail(set, -EEXIST, "partition \"%s\" exists already", name);
	error = check_cpus(set, name, host_cpus);
	if (error)
		return error;
	p = calloc(1, sizeof(*p));
	if (!p)
		return apmp__cpuset_fail(set, -ENOMEM, "%s", strerror(ENOMEM));
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->host_cpus = *host_cpus;
	p->quota_fd = -1;
	error = set->ops->create(set, p);
	if (error) {
		free(p);
		return error;
	}
	p->next = set->partitions;
	set->partitions = p;
	return 0;
}

/* May end half-way: what was done is in *p. */
static int change(struct apmp_cpuset *set, struct apmp__cpuset_partition *p,
		  const cpu_set_t *host_cpus, unsigned capacity)
{
	int error = CPU_EQUAL(host_cpus, &p->host_cpus) ? 0 : set->ops->set(set, p, host_cpus);

	if (error)
		return error;
	p->host_cpus = *host_cpus;
	p->capacity = capacity;
	return apmp__quota_write(set, p);
}

int apmp_cpuset_partition_set(struct apmp_cpuset *set, const char *name, const cpu_set_t *host_cpus,
			      unsigned capacity)
{
	char why[sizeof(set->error)];
	struct apmp__cpuset_partition *p;
	cpu_set_t before;
	unsigned capacity_before;
	int error = find_or_fail(set, name, &p);

	if (!error)
		error = check_cpus(set, name, host_cpus);
	if (error)
		return error;
	before = p->host_cpus;
	capacity_before = p->capacity;
	error = change(set, p, host_cpus, capacity);
	if (!error)
		return 0;
	memcpy(why, set->error, sizeof(why));
	if (change(set, p, &before, capacity_before) == 0)
		memcpy(set->error, why, sizeof(why));
	else
		apmp__cpuset_fail(set, error, "%s (and cannot undo it)", why);
	return error;
}

int apmp_cpuset_load(struct apmp_cpuset *set, const char *name, struct apmp_cpuset_load *ret_load)
{
	struct apmp__cpuset_partition *p;
	int error = find_or_fail(set, name, &p);

	if (!error && set->ops->kind != APMP_CPUSET_CGROUP_V1)
		error = -EOPNOTSUPP;
	return error ? error : apmp__load_read(p, ret_load);
}

int apmp_cpuset_partition_get(struct apmp_cpuset *set, const char *name, cpu_set_t *ret_cpus)
{
	struct apmp__cpuset_partition *p;
	int error = find_or_fail(set, name, &p);

	return error ? error : set->ops->get(set, p, ret_cpus);
}

int apmp_cpuset_enter(struct apmp_cpuset *set, const char *name, enum apmp_cpuset_group group,
		      pid_t pid)
{
	struct apmp__cpuset_partition *p;
	int error = find_or_fail(set, name, &p);

	if (error)
		return error;
	if (pid <= 0 || (group != APMP_CPUSET_INSTANCE && group != APMP_CPUSET_PROGRAMS))
		return apmp__cpuset_fail(set, -EINVAL, "no process %d, or no group %d", (int)pid,
					 (int)group);
	error = group == APMP_CPUSET_PROGRAMS ? apmp__quota_begin(set, p) : 0;
	if (error)
		return error;
	error = set->ops->enter(set, p, group, pid);
	if (error)
		apmp__cpuset_fail(set, error, "cannot put process %d into partition \"%s\": %s",
				  (int)pid, name, strerror(-error));
	return error;
}

int apmp_cpuset_doors(struct apmp_cpuset *set, const char *name, enum apmp_cpuset_group group,
		      int ret_fds[APMP_CPUSET_DOORS])
{
	struct apmp__cpuset_partition *p;
	int fds[APMP_CPUSET_DOORS] = {-1, -1}, error = find_or_fail(set, name, &p);

	if (error)
		return error;
	if (!set->ops->door)
		return -ENOTSUP;
	error = group == APMP_CPUSET_PROGRAMS ? apmp__quota_begin(set, p) : 0;
	if (error)
		return error;
	fds[0] = set->ops->door(p, group);
	if (fds[0] < 0)
		return apmp__cpuset_fail(set, fds[0], "cannot open a group of partition \"%s\": %s",
					 name, strerror(-fds[0]));
	if (group == APMP_CPUSET_PROGRAMS && p->quota_fd >= 0) {
		fds[1] = apmp__quota_door(set, p);
		if (fds[1] < 0) {
			close(fds[0]);
			return fds[1];
		}
	}
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

int apmp_cpuset_partition_kill(struct apmp_cpuset *set, const char *name, int timeout_ms)
{
	int64_t now_ms = apmp_process_now_ms(), deadline_ms = now_ms + timeout_ms;
	struct apmp__cpuset_partition *p;
	int count, error = find_or_fail(set, name, &p);

	if (error)
		return error;
	/* What is listed may fork before it is killed: list and kill until nothing is listed.
	 * The rounds are bounded by the deadline; without one there is a single round. */
	for (;;) {
		pid_t *pids = NULL;
		size_t left = 0;

		if (set->ops->kill)
			set->ops->kill(p);
		count = set->ops->pids(set, p, &pids);
		if (count > 0)
			left = apmp_process_kill(pids, (size_t)count, (int)(deadline_ms - now_ms));
		free(pids);
		now_ms = apmp_process_now_ms();
		/* None ended: they can't (state D), or we may not (EPERM). */
		if (count <= 0 || left == (size_t)count || now_ms >= deadline_ms)
			break;
	}
	if (count < 0)
		return apmp__cpuset_fail(set, count, "cannot list the processes of \"%s\": %s",
					 name, strerror(-count));
	return count > 0 ? apmp_cpuset_partition_pids(set, name, NULL, 0) : 0;
}

int apmp_cpuset_partition_pids(struct apmp_cpuset *set, const char *name, pid_t *ret_pids,
			       size_t max)
{
	struct apmp__cpuset_partition *p;
	pid_t *pids = NULL;
	int count, error = find_or_fail(set, name, &p);

	if (error)
		return error;
	count = set->ops->pids(set, p, &pids);
	for (int i = 0; i < count && (size_t)i < max; i++)
		ret_pids[i] = pids[i];
	free(pids);
	if (count < 0)
		apmp__cpuset_fail(set, count, "cannot list the processes of \"%s\": %s", name,
				  strerror(-count));
	return count;
}

int apmp_cpuset_partition_remove(struct apmp_cpuset *set, const char *name)
{
	struct apmp__cpuset_partition **link = find(set, name), *p = *link;
	int error;

	if (!p)
		return apmp__cpuset_fail(set, -ENOENT, "there is no partition \"%s\"", name);
	error = set->ops->remove(set, p);
	if (!error)
		error = apmp__quota_remove(set, p);
	if (error)
		return error;
	*link = p->next;
	forget(set, p);
	return 0;
}

int apmp_cpuset_machine_remove(struct apmp_cpuset *set)
{
	struct apmp__cpuset_partition *p, *next;
	int error = 0;

	for (p = set->partitions; p; p = next) {
		int one;

		next = p->next;
		one = apmp_cpuset_partition_remove(set, p->name);
		if (one)
			error = one;
	}
	if (!error)
		error = set->ops->machine_remove(set);
	return error ? error : apmp__quota_machine_remove(set);
}
