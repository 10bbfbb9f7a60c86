/* What the Linux host offers. */
#include "apmpd/host.h"

#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define HOST_MAGIC 0x61486f73u

static int probe_futex_waitv(void)
{
	/* None to wait for is EINVAL where the call exists. */
	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

static int probe_pidfd(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int probe_memfd_seal(void)
{
	int fd = memfd_create("apmp-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING), error = 0;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int probe_close_range(void)
{
	return syscall(SYS_close_range, ~0u, ~0u, 0) < 0 ? -errno : 0;
}

static int probe_io_uring(void)
{
	struct io_uring_params params = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Tries the classes on a thread of its own, which takes them with it when it ends. */
static void *probe_classes(void *argument)
{
	struct sched_param param = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
	struct apmp_host *host = argument;

	/* nice first: it has no effect any more under SCHED_FIFO, but would be granted alike */
	for (int nice = -20; nice < 0; nice++)
		if (setpriority(PRIO_PROCESS, 0, nice) == 0) {
			host->nice_best = nice;
			break;
		}
	host->heartbeat_class = host->nice_best < 0 ? APMP_HOST_CLASS_NICE : APMP_HOST_CLASS_OTHER;
	/* The call sets the calling thread only. */
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) < 0)
		host->fifo_error = -errno;
	else
		host->heartbeat_class = APMP_HOST_CLASS_FIFO;
	return NULL;
}

static int probe_class(struct apmp_host *host)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, probe_classes, host);

	if (error)
		return -error;
	return -pthread_join(thread, NULL);
}

/* Lists the allowed CPUs: the first thread of each core, then the second of each, and so on, so
 * that emulated CPUs share a core only when there are no more. */
static void list_cpus(struct apmp_host *host, hwloc_topology_t topology)
{
	cpu_set_t left = host->allowed;
	hwloc_obj_t core = NULL;

	while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)))
		for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0;
		     cpu = hwloc_bitmap_next(core->cpuset, cpu))
			if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &left)) {
				host->core_count++;
				break;
			}
	while (CPU_COUNT(&left) > 0) {
		uint32_t before = host->cpu_count;

		core = NULL;
		while ((core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)))
			for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0;
			     cpu = hwloc_bitmap_next(core->cpuset, cpu))
				if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &left)) {
					CPU_CLR(cpu, &left);
					host->cpus[host->cpu_count++] = (uint16_t)cpu;
					break;
				}
		/* What hwloc puts under no core comes last. */
		for (int cpu = 0; before == host->cpu_count && cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &left)) {
				CPU_CLR(cpu, &left);
				host->cpus[host->cpu_count++] = (uint16_t)cpu;
				before--;
			}
	}
	if (!host->core_count)
		host->core_count = host->cpu_count;
}

static void describe(struct apmp_host *host, hwloc_topology_t topology)
{
	hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0), node = NULL;
	const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;

	snprintf(host->cpu_model, sizeof(host->cpu_model), "%s", model ? model : "unknown");
	host->memory_size = hwloc_get_root_obj(topology)->total_memory;
	while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node))) {
		cpu_set_t cpus;

		if (hwloc_cpuset_to_glibc_sched_affinity(topology, node->cpuset, &cpus,
							 sizeof(cpus)) < 0)
			continue;
		CPU_AND(&cpus, &cpus, &host->allowed);
		host->numa_count += CPU_COUNT(&cpus) > 0;
	}
}

static int probe_topology(struct apmp_host *host)
{
	hwloc_topology_t topology;
	cpu_set_t ours, seen;
	int error = 0;

	if (sched_getaffinity(0, sizeof(ours), &ours) < 0)
		return -errno;
	if (hwloc_topology_init(&topology) < 0)
		return -ENOMEM;
	if (hwloc_topology_load(topology) < 0 ||
	    hwloc_cpuset_to_glibc_sched_affinity(
		topology, hwloc_topology_get_allowed_cpuset(topology), &seen, sizeof(seen)) < 0)
		error = -ENOTSUP;
	if (!error) {
		CPU_AND(&host->allowed, &ours, &seen);
		error = CPU_COUNT(&host->allowed) ? 0 : -ENOTSUP;
	}
	if (!error) {
		list_cpus(host, topology);
		describe(host, topology);
	}
	hwloc_topology_destroy(topology);
	return error;
}

int apmp_host_probe(struct apmp_host **ret)
{
	struct apmp_host *host = calloc(1, sizeof(*host));
	struct utsname names;
	int error;

	if (!host)
		return -ENOMEM;
	host->magic = HOST_MAGIC;
	error = probe_topology(host);
	if (!error)
		error = probe_class(host);
	if (error) {
		free(host);
		return error;
	}
	if (uname(&names) == 0)
		snprintf(host->kernel, sizeof(host->kernel), "%s", names.release);
#define X(name, text) host->name = probe_##name();
	APMP_HOST_FEATURES(X)
#undef X
	*ret = host;
	return 0;
}

void apmp_host_destroy(struct apmp_host *host)
{
	free(host);
}

uint32_t apmp_host_cpu_for(const struct apmp_host *host, uint32_t emulated_cpu_idx)
{
	return host->cpus[emulated_cpu_idx % host->cpu_count];
}

const char *apmp_host_class_name(enum apmp_host_class class)
{
	switch (class) {
#define X(name, text)                                                                              \
	case APMP_HOST_CLASS_##name:                                                               \
		return text;
		APMP_HOST_CLASSES(X)
#undef X
	default:
		return "invalid";
	}
}

json_t *apmp_host_json(const struct apmp_host *host)
{
	json_t *cpus = json_array(), *features = json_object(), *object;
	int failed = 0;

	for (uint32_t i = 0; i < host->cpu_count; i++)
		failed |= json_array_append_new(cpus, json_integer(host->cpus[i]));
#define X(name, text)                                                                              \
	failed |= json_object_set_new(                                                             \
	    features, #name, host->name ? json_string(strerror(-host->name)) : json_true());
	APMP_HOST_FEATURES(X)
#undef X
	object = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:s, s:i, s:o}", "kernel", host->kernel,
			   "cpu_model", host->cpu_model, "cpus", cpus, "cores",
			   (json_int_t)host->core_count, "numa_nodes", (json_int_t)host->numa_count,
			   "memory", (json_int_t)host->memory_size, "heartbeat_class",
			   apmp_host_class_name(host->heartbeat_class), "nice_best",
			   host->nice_best, "features", features);
	if (failed && object) {
		json_decref(object);
		return NULL;
	}
	return object;
}

void apmp_host_print(const struct apmp_host *host, FILE *out)
{
	fprintf(out, "Linux %s, %s\n", host->kernel, host->cpu_model);
	fprintf(out, "%u host CPUs on %u cores, %u NUMA nodes:", host->cpu_count, host->core_count,
		host->numa_count);
	for (uint32_t i = 0; i < host->cpu_count; i++)
		fprintf(out, " %u", host->cpus[i]);
	fprintf(out, "\nheartbeats: %s", apmp_host_class_name(host->heartbeat_class));
	if (host->fifo_error)
		fprintf(out, " (SCHED_FIFO: %s)", strerror(-host->fifo_error));
	fputc('\n', out);
#define X(name, text)                                                                              \
	fprintf(out, "%-12s %s: %s\n", #name, host->name ? strerror(-host->name) : "yes", text);
	APMP_HOST_FEATURES(X)
#undef X
}
