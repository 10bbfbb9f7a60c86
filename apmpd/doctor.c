/* `apmpd doctor`: what this host offers and why.
 *
 * Each thing is one line: ok, limited (a machine runs, something is worse than it could be) or bad
 * (a machine can't run); what was found; what to change for better.
 */
#include "apmpd/doctor.h"

#include "apmpd/cpuset.h"
#include "apmpd/host.h"
#include "apmpd/host_limits.h"
#include "apmpd/host_memory.h"
#include "apmpd/leftover.h"
#include "apmpd/partition_uid.h"
#include "apmpd/rundir.h"
#include "apmpd/state_dir.h"
#include "shm/wire/beacon_futex.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHY_SIZE (PATH_MAX + 512)
/* A machine of the largest kind and one of the smallest that makes sense: see enough.c. */
#define LARGE_DESCRIPTORS 1500u
#define LARGE_PROCESSES	  700u
#define SMALL_DESCRIPTORS 250u
#define SMALL_PROCESSES	  30u
#define SMALL_MEMORY	  (24ull << 20)
#define SMALL_DISK	  (64ull << 10)

enum state {
	OK,
	LIMITED,
	BAD,
};

static const char *const state_names[] = {"ok", "limited", "bad"};

struct report {
	json_t *lines;
	enum state worst;
};

/* change: what would make it better, or NULL. */
static void __attribute__((format(printf, 5, 6)))
add(struct report *report, const char *what, enum state state, const char *change,
    const char *format, ...)
{
	char found[WHY_SIZE];
	va_list args;
	json_t *line;

	va_start(args, format);
	vsnprintf(found, sizeof(found), format, args);
	va_end(args);
	line =
	    json_pack("{s:s, s:s, s:s}", "what", what, "state", state_names[state], "found", found);
	if (line && state != OK && change)
		json_object_set_new(line, "change", json_string(change));
	json_array_append_new(report->lines, line);
	if (state > report->worst)
		report->worst = state;
}

const char *apmp_doctor_v2_change(bool root)
{
	return root ? "start in a group of its own: systemd-run --scope -p Delegate=yes apmp up "
		      "FILE; where there is no systemd, have cpuset and cpu handed down: echo "
		      "+cpuset +cpu > cgroup.subtree_control of the group above"
		    : "start in a group of its own: systemd-run --user --scope -p Delegate=yes "
		      "apmp up FILE; where that has no cpuset, as root: systemctl edit "
		      "user@.service with [Service] Delegate=cpu cpuset io memory pids, then log "
		      "in anew";
}

/* What would make this back end work; NULL: nothing. */
static const char *cpuset_change(enum apmp_cpuset_kind kind, int error)
{
	if (error == -ENOENT)
		return NULL; /* not mounted: this host has the other version */
	if (error == -EROFS)
		return "have the cgroup file system mounted writable (in a container: docker run "
		       "--privileged, or -v /sys/fs/cgroup:/sys/fs/cgroup:rw)";
	if (kind == APMP_CPUSET_CGROUP_V1)
		return "run as root; or have a group made for you, as root: apmp doctor --fix "
		       "--user "
		       "YOU (it is gone with the next start of the host)";
	return apmp_doctor_v2_change(geteuid() == 0);
}

/* The first back end that works is the one a machine gets.  Those before it limit a machine only
 * if that is affinity: the two versions of cgroups do the same. */
static enum apmp_cpuset_kind check_cpuset(struct report *report)
{
	char why[APMP_CPUSET_KIND_END][WHY_SIZE], what[64];
	int errors[APMP_CPUSET_KIND_END], used = APMP_CPUSET_AUTO + 1;

	for (; used < APMP_CPUSET_KIND_END; used++) {
		errors[used] = apmp_cpuset_probe(used, why[used], sizeof(why[used]));
		if (!errors[used])
			break;
	}
	for (int kind = APMP_CPUSET_AUTO + 1; kind < used; kind++) {
		const char *change = cpuset_change(kind, errors[kind]);

		snprintf(what, sizeof(what), "cpuset %s", apmp_cpuset_kind_name(kind));
		add(report, what, used < APMP_CPUSET_AFFINITY || !change ? OK : LIMITED, change,
		    "not used: %s", why[kind]);
	}
	if (used == APMP_CPUSET_KIND_END) {
		add(report, "cpuset", BAD, NULL, "no back end works");
		return APMP_CPUSET_AUTO;
	}
	snprintf(what, sizeof(what), "cpuset %s", apmp_cpuset_kind_name(used));
	add(report, what, used == APMP_CPUSET_AFFINITY ? LIMITED : OK,
	    "a program can change its own affinity; in a group it could not", "used: %s",
	    why[used]);
	return (enum apmp_cpuset_kind)used;
}

static void check_quota(struct report *report)
{
	char why[WHY_SIZE];
	int error = apmp_cpuset_quota_probe(why, sizeof(why));

	if (error)
		add(report, "share of CPUs", LIMITED,
		    "cgroup v1: as root, or with the groups of apmp doctor --fix --user YOU, where "
		    "cpu and cpuset are mounted apart; cgroup v2: have cpu handed down with "
		    "cpuset; "
		    "else give a machine no more CPUs than the host has",
		    "programs whose host CPUs are shared get what the host gives them: %s", why);
	else
		add(report, "share of CPUs", OK, NULL,
		    "programs get that of their partition, by %s", why);
}

static void check_cpus(struct report *report, const struct apmp_host *host)
{
	char text[APMP_CPUSET_TEXT_SIZE];

	if (apmp_cpuset_format(&host->allowed, text, sizeof(text)) < 0)
		return;
	add(report, "host CPUs", host->cpu_count > 1 ? OK : LIMITED,
	    "more host CPUs: emulated CPUs take turns on one",
	    "%u (%s) on %u cores, %u NUMA nodes; %s", host->cpu_count, text, host->core_count,
	    host->numa_count, host->cpu_model);
}

static void check_class(struct report *report, const struct apmp_host *host)
{
	static const char change[] =
	    "let it: ulimit -r 1 (LimitRTPRIO=1; limits.conf: USER - rtprio 1), or setcap "
	    "cap_sys_nice+ep on the programs; until then a busy host may look like a dead one";

	if (host->heartbeat_class == APMP_HOST_CLASS_FIFO)
		add(report, "scheduling", OK, NULL,
		    "heartbeats, and the box's watch over deaths, get SCHED_FIFO");
	else
		add(report, "scheduling", LIMITED, change, "%s at nice %d; SCHED_FIFO: %s",
		    apmp_host_class_name(host->heartbeat_class), host->nice_best,
		    strerror(-host->fifo_error));
}

static void *light_beacon(void *arg)
{
	return apmp_beacon_futex_light(arg, 0) ? arg : NULL;
}

/* Tried with a thread that lights one and ends. */
static void check_beacons(struct report *report, const struct apmp_host *host)
{
	static const char late[] = "the end of an instance is seen when it is reaped, which for a "
				   "large memory is tens of milliseconds later";
	struct apmp_recorder *rec = mmap(NULL, APMP_RECORDER_SIZE, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int error = rec == MAP_FAILED ? errno : -host->futex_waitv;
	void *refused = NULL;
	pthread_t thread;

	if (!error)
		error = pthread_create(&thread, NULL, light_beacon, rec);
	if (!error)
		error = pthread_join(thread, &refused);
	if (error || refused || apmp_beacon_read(rec, 0).state != APMP_BEACON_OUT)
		add(report, "death beacons", LIMITED, "Linux 5.16 or newer", "%s: %s",
		    error ? strerror(error) : "the kernel does not put them out", late);
	else
		add(report, "death beacons", OK, NULL,
		    "the end of an instance is seen before its memory is torn down");
	if (rec != MAP_FAILED)
		munmap(rec, APMP_RECORDER_SIZE);
}

static void check_memory(struct report *report)
{
	struct apmp_host_memory_limit limits[APMP_HOST_MEMORY_LIMIT_MAX];
	char which[sizeof(limits[0].name)];
	uint64_t had;
	int error = apmp_host_memory_check(SMALL_MEMORY, &had, which, sizeof(which));
	int count = apmp_host_memory_limits(limits, APMP_HOST_MEMORY_LIMIT_MAX);

	if ((error && error != -ENOMEM) || count < 0) {
		add(report, "memory", BAD, "mount /proc", "cannot be told: %s",
		    strerror(error ? -error : -count));
		return;
	}
	for (int i = 0; i < count; i++)
		add(report, "memory limit", OK, NULL, "%" PRIu64 " MiB free: %s",
		    limits[i].free >> 20, limits[i].name);
	add(report, "memory", error ? BAD : OK, "free memory, or raise that limit",
	    "%" PRIu64 " MiB for machines, by %s", had >> 20, which);
}

static void check_features(struct report *report, const struct apmp_host *host)
{
	add(report, "kernel", OK, NULL, "Linux %s", host->kernel);
#define X(name, text)                                                                              \
	add(report, #name, !host->name ? OK : BAD,                                                 \
	    "a newer kernel, or a seccomp profile "                                                \
	    "that lets it through",                                                                \
	    "%s: %s", host->name ? strerror(-host->name) : "available", text);
	APMP_HOST_FEATURES(X)
#undef X
}

/* A supply beside what the smallest and the largest machine want of it. */
static void check_supply(struct report *report, const char *what, const struct apmp_supply *supply,
			 uint64_t small, uint64_t large, const char *change)
{
	enum state state = supply->had < small ? BAD : supply->had < large ? LIMITED : OK;

	if (supply->had == UINT64_MAX)
		add(report, what, OK, NULL, "not limited");
	else
		add(report, what, state, change,
		    "%" PRIu64 " can be had, by %s; the largest machine wants %" PRIu64
		    ", a small one %" PRIu64,
		    supply->had, supply->limit, large, small);
}

static void check_limits(struct report *report)
{
	struct apmp_supply supply = apmp_supply_descriptors();

	check_supply(report, "descriptors", &supply, SMALL_DESCRIPTORS, LARGE_DESCRIPTORS,
		     "raise it (ulimit -Hn, LimitNOFILE=); the soft limit may stay as it is");
	supply = apmp_supply_processes();
	check_supply(report, "processes", &supply, SMALL_PROCESSES, LARGE_PROCESSES,
		     "raise that limit, or end processes that it counts");
	supply = apmp_supply_address_space();
	if (supply.had != UINT64_MAX)
		check_supply(report, "address space", &supply, 2 * SMALL_MEMORY, UINT64_C(1) << 32,
			     "ulimit -v unlimited");
	supply = apmp_supply_file_size();
	if (supply.had != UINT64_MAX)
		check_supply(report, "file size", &supply, SMALL_MEMORY, UINT64_C(1) << 32,
			     "ulimit -f unlimited");
}

/* A folder of all machines of this user, or where it would be made. */
static void check_base(struct report *report, const char *what, const char *variable, int error,
		       char *base)
{
	struct apmp_supply room;
	char *slash;
	struct stat st;

	if (error) {
		add(report, what, BAD, "set it to an absolute path", "%s: %s", variable,
		    strerror(-error));
		return;
	}
	room = apmp_supply_disk(base);
	if (lstat(base, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077)) {
		add(report, what, BAD, "apmp doctor --fix", "%s lets others in (mode %03o)", base,
		    (unsigned)st.st_mode & 0777);
		return;
	}
	/* The nearest folder that exists is where it would be made. */
	while (access(base, F_OK) < 0 && (slash = strrchr(base, '/')) && slash != base)
		*slash = '\0';
	if (access(base, W_OK) < 0)
		add(report, what, BAD, "set the variable to a folder of your own", "%s: %s: %s",
		    variable, base, strerror(errno));
	else
		add(report, what, room.had < SMALL_DISK ? BAD : OK, "free some",
		    "%s, %" PRIu64 " MiB free", base, room.had >> 20);
}

static void check_folders(struct report *report)
{
	char base[PATH_MAX];
	int error = apmp_rundir_base(base, sizeof(base));

	check_base(report, "run directory", "XDG_RUNTIME_DIR", error, base);
	error = apmp_state_base(base, sizeof(base));
	check_base(report, "state directory", "XDG_STATE_HOME", error, base);
}

static void check_isolation(struct report *report, enum apmp_cpuset_kind kind)
{
	static const char change[] =
	    "run it as root, with every capability: each partition then has a uid of its own, and "
	    "can't reach another one's memory even if it tries to";
	struct apmp_partition_uids uids = {.claim_fd = -1};
	char why[WHY_SIZE];
	int error = apmp_partition_uids_claim("/doctor", kind == APMP_CPUSET_AFFINITY, &uids, why,
					      sizeof(why));

	if (error)
		add(report, "isolation", BAD, NULL, "no uids for partitions: %s", strerror(-error));
	else if (uids.first)
		add(report, "isolation", OK, NULL, "a partition has a uid of its own, such as %u",
		    uids.first);
	else
		add(report, "isolation", LIMITED, change, "partitions have the user of the box: %s",
		    why);
	apmp_partition_uids_release(&uids);
}

static void check_leftovers(struct report *report)
{
	json_t *said = json_array(), *sentence;
	size_t i;
	int found = apmp_leftover_look(said);

	if (found == 0)
		add(report, "leftovers", OK, NULL, "none");
	else if (found < 0)
		add(report, "leftovers", LIMITED, NULL, "cannot be told: %s", strerror(-found));
	json_array_foreach(said, i, sentence)
	    add(report, "leftovers", LIMITED, "apmp clean, or apmp doctor --fix", "%s",
		json_string_value(sentence));
	json_decref(said);
}

static void print_text(const struct report *report, FILE *out)
{
	json_t *line;
	size_t i;

	json_array_foreach(report->lines, i, line)
	{
		const char *change = json_string_value(json_object_get(line, "change"));

		fprintf(out, "%-8s%-18s %s\n", json_string_value(json_object_get(line, "state")),
			json_string_value(json_object_get(line, "what")),
			json_string_value(json_object_get(line, "found")));
		if (change)
			fprintf(out, "%-8s%-18s -> %s\n", "", "", change);
	}
	fprintf(out, "%s\n",
		report->worst == BAD ? "A machine cannot run here." : "A machine can run here.");
}

int apmp_doctor(FILE *out, bool json, json_t *fixes)
{
	struct report report = {.lines = json_array()};
	struct apmp_host *host;
	json_t *document;
	int error = apmp_host_probe(&host);

	if (error) {
		add(&report, "host", BAD, NULL, "cannot be looked at: %s", strerror(-error));
	} else {
		check_features(&report, host);
		check_cpus(&report, host);
		check_quota(&report);
		check_class(&report, host);
		check_beacons(&report, host);
		apmp_host_destroy(host);
	}
	check_isolation(&report, check_cpuset(&report));
	check_memory(&report);
	check_limits(&report);
	check_folders(&report);
	check_leftovers(&report);
	if (json) {
		document = json_pack("{s:b, s:O, s:O*}", "ok", report.worst != BAD, "checks",
				     report.lines, "fixes", fixes);
		json_dumpf(document, out, JSON_INDENT(2));
		fputc('\n', out);
		json_decref(document);
	} else {
		print_text(&report, out);
	}
	json_decref(report.lines);
	return report.worst == BAD;
}
