/* What a dead machine left behind.
 *
 * WHAT     Three kinds of things, in this order: processes (they could still make or change the
 *          others), groups, the run directory.  Processes are found by their mark, by their
 *          descent from a marked one, by a uid of the machine's partitions, and by the group they
 *          are in; guards by their name and the run directory that they hold open.
 * STATES   of a machine: alive (the lock of its run directory is held by its box), dead, absent.
 *          Cleaning is done under that very lock, so a new box of the name waits for its end.
 * CRASHES  Each removal is complete by itself and the order is from the most to the least
 *          dangerous; whoever comes next goes on.  A guard that somebody stopped in the middle of
 *          it holds the lock: it is killed while the lock is waited for.
 * LOCKS    run directory (rundir.h), then its uids (partition_uid.h), then the machine's group
 *          (cpuset.h).
 * LIMITS   Marks of processes in another pid namespace are not judged, their numbers mean
 *          something else.  A program with the user of the box that cleared its environment and
 *          left its parents is found by its group only, so not with the affinity back end.
 */
#include "apmpd/leftover.h"

#include "apmpd/cpuset.h"
#include "apmpd/guard.h"
#include "apmpd/partition_uid.h"
#include "apmpd/process_list.h"
#include "apmpd/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long one round waits for what it has killed, and how many rounds clean() makes of it. */
#define ROUND_MS 500
#define ROUNDS	 10
/* How long a cleaner is waited for until it is looked at. */
#define SEIZE_MS 100

static void __attribute__((format(printf, 2, 3))) say(json_t *said, const char *format, ...)
{
	char *sentence;
	va_list args;
	int n;

	if (!said)
		return;
	va_start(args, format);
	n = vasprintf(&sentence, format, args);
	va_end(args);
	if (n < 0)
		return;
	/* Paths may be anything; what is no UTF-8 is left out rather than failing the cleaning. */
	json_array_append_new(said, json_string(sentence));
	free(sentence);
}

int apmp_mark_make(const char *rundir, char *ret_mark, size_t mark_size)
{
	struct apmp_process self;
	int error = apmp_process_get(getpid(), &self);

	if (error)
		return error;
	if ((size_t)snprintf(ret_mark, mark_size, "%s:%d:%" PRIu64, rundir, self.pid,
			     self.starttime) >= mark_size)
		return -ENAMETOOLONG;
	return 0;
}

struct mark {
	char rundir[PATH_MAX];
	pid_t box;
	uint64_t starttime;
};

/* "RUNDIR:PID:STARTTIME"; the run directory may have colons in it. */
static bool parse_mark(const char *text, struct mark *ret)
{
	const char *second = strrchr(text, ':'), *first = second;
	size_t length;

	if (!second)
		return false;
	while (first > text && *--first != ':')
		;
	length = (size_t)(first - text);
	if (*first != ':' || length == 0 || length >= sizeof(ret->rundir))
		return false;
	memcpy(ret->rundir, text, length);
	ret->rundir[length] = '\0';
	return sscanf(first, ":%d:%" SCNu64, &ret->box, &ret->starttime) == 2;
}

/* Whether numbers of processes mean the same to it as to us. */
static bool same_namespace(pid_t pid)
{
	char path[32];
	struct stat ours, its;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat("/proc/self/ns/pid", &ours) == 0 && stat(path, &its) == 0 &&
	       ours.st_ino == its.st_ino;
}

/* A process of a living box's partition is none of a dead box, whatever its environment says.  That
 * is not even read: behind it may stand a file system of its own, which never answers. */
static bool read_mark(pid_t pid, struct mark *ret)
{
	char text[APMP_MARK_SIZE];
	uid_t uid;

	if (apmp_process_uid(pid, &uid) == 0 && apmp_partition_uid_claimed(uid))
		return false;
	return apmp_process_variable(pid, APMP_MARK_VARIABLE, text, sizeof(text)) == 0 &&
	       parse_mark(text, ret) && same_namespace(pid);
}

/* Chooses the processes marked with this run directory, and their descendants.  box: only those of
 * this very one; NULL: of any, and -EBUSY if one of these is alive. */
static int choose_marked(struct apmp_process_list *list, const char *rundir, const struct mark *box)
{
	for (size_t i = 0; i < list->count; i++) {
		struct apmp_process *p = &list->processes[i];
		struct mark mark;

		if (apmp_process_ended(p) || !read_mark(p->pid, &mark) ||
		    strcmp(mark.rundir, rundir) != 0)
			continue;
		if (box && (mark.box != box->box || mark.starttime != box->starttime))
			continue;
		if (!box && apmp_process_alive(mark.box, mark.starttime))
			return -EBUSY;
		p->chosen = true;
	}
	apmp_process_list_close_over(list);
	return 0;
}

/* The run directory that a guard holds open, also one that was removed meanwhile; false: it is no
 * guard, or not ours to look at. */
static bool guarded(const struct apmp_process *p, char *ret_path, size_t size)
{
	char path[64], *deleted;
	ssize_t n = -1;

	if (strcmp(p->name, APMP_GUARD_NAME) != 0 || apmp_process_ended(p))
		return false;
	for (int fd = 3; fd < 6 && n <= 0; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", p->pid, fd);
		n = readlink(path, ret_path, size - 1);
		n = n > 0 && ret_path[0] == '/' ? n : -1;
	}
	ret_path[n > 0 ? n : 0] = '\0';
	deleted = strstr(ret_path, " (deleted)"); /* so says /proc */
	if (deleted)
		*deleted = '\0';
	return n > 0;
}

/* Chooses the guards of this run directory, whose box is dead. */
static void choose_guards(struct apmp_process_list *list, const char *rundir, bool stopped_only)
{
	char real[PATH_MAX], path[PATH_MAX + 16];

	if (!realpath(rundir, real)) /* removed already */
		snprintf(real, sizeof(real), "%s", rundir);
	for (size_t i = 0; i < list->count; i++) {
		struct apmp_process *p = &list->processes[i];

		if ((!stopped_only || p->state == 'T') && guarded(p, path, sizeof(path)))
			p->chosen |= strcmp(path, real) == 0;
	}
}

static void say_killed(json_t *said, const char *machine, const struct apmp_process_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->processes[i].chosen && !apmp_process_ended(&list->processes[i]))
			say(said, "machine \"%s\": killed process %d (%s)", machine,
			    list->processes[i].pid, list->processes[i].name);
}

/* The uids of a dead machine's partitions, if nobody has them by now. */
static void inherit_uids(const struct apmp_folder *rundir, struct apmp_partition_uids *uids)
{
	char text[16], *end;
	unsigned long first;

	if (uids->first || !rundir || apmp_rundir_read(rundir, "uids", text, sizeof(text)) < 0)
		return;
	first = strtoul(text, &end, 10);
	if (end == text || *end || first > UINT32_MAX)
		return; /* no note of a box */
	/* Refused: somebody alive has them, and then they are not the dead machine's any more. */
	(void)!apmp_partition_uids_inherit((uid_t)first, uids);
}

/* Kills what is marked, or has a uid of the machine, until nothing is.  rundir: locked, or NULL.
 * Returns how many; -ETIMEDOUT: some do not die. */
static int kill_marked(const char *machine, const char *path, const struct apmp_folder *rundir,
		       const struct mark *box, json_t *said)
{
	struct apmp_partition_uids uids = {.claim_fd = -1};
	int killed = 0, empty = 0;

	for (int round = 0; round < ROUNDS && empty < 2; round++) {
		struct apmp_process_list list;
		size_t count = 0;
		int error = apmp_process_list_init(&list);

		/* In each round: a process of the dead box that was not one yet may still hold its
		 * claim, and ends by itself.  From then on these uids are known to be of nobody
		 * alive, and are not looked at for their marks. */
		inherit_uids(rundir, &uids);
		if (!error)
			error = choose_marked(&list, path, box);
		if (!error && !box)
			choose_guards(&list, path, false);
		if (!error) {
			if (uids.first)
				apmp_process_list_choose_uids(&list, uids.first,
							      APMP_MAX_PARTITIONS);
			count = apmp_process_list_chosen(&list);
			if (killed == 0)
				say_killed(said, machine, &list);
			apmp_process_list_kill(&list, ROUND_MS);
		}
		apmp_process_list_fini(&list);
		if (error) {
			apmp_partition_uids_release(&uids);
			return error;
		}
		/* Who forks and ends quickly may be missed once by chance: look twice. */
		empty = count ? 0 : empty + 1;
		killed = (int)count > killed ? (int)count : killed;
	}
	apmp_partition_uids_release(&uids);
	if (empty == 2)
		return killed;
	say(said,
	    "machine \"%s\": some processes do not end (state D?); its run directory and "
	    "groups stay until they do",
	    machine);
	return -ETIMEDOUT;
}

/* A guard that stands still ends nothing, and may hold the lock for ever. */
static void kill_stopped_guard(const char *rundir)
{
	struct apmp_process_list list;

	if (apmp_process_list_init(&list) < 0)
		return; /* told by who wants the list next */
	choose_guards(&list, rundir, true);
	apmp_process_list_kill(&list, ROUND_MS);
	apmp_process_list_fini(&list);
}

/* The lock, from whoever cleans up already: he is waited for, unless he stands still. */
static int seize(const char *machine, const char *path, struct apmp_folder *ret, char *ret_why,
		 size_t size)
{
	pid_t box;
	int error;

	for (int waited_ms = 0;; waited_ms += SEIZE_MS) {
		error = apmp_rundir_seize(path, SEIZE_MS, ret, ret_why, size);
		if (error != -EBUSY || apmp_rundir_alive(machine, &box) > 0)
			return error;
		if (waited_ms >= APMP_FOLDER_WAIT_MS)
			break;
		kill_stopped_guard(path);
	}
	snprintf(ret_why, size,
		 "what the last machine \"%s\" left is still being removed, for more than %d ms "
		 "now: see who holds %s/pid",
		 machine, APMP_FOLDER_WAIT_MS, path);
	return -EBUSY;
}

/* One group of the machine. */
static int clean_group(const char *machine, const char *path, json_t *said)
{
	int killed = apmp_cpuset_path_clean(path, ROUND_MS * ROUNDS);

	switch (killed) {
	case -ENOENT:
	case -EBUSY: /* of a living machine with the same name and another run directory */
		return 0;
	case -ETIMEDOUT:
		say(said, "machine \"%s\": processes in %s do not end (state D?)", machine, path);
		return killed;
	default:
		break;
	}
	if (killed < 0) {
		say(said, "machine \"%s\": cannot remove the group %s: %s", machine, path,
		    strerror(-killed));
		return killed;
	}
	if (killed > 0)
		say(said, "machine \"%s\": killed %d processes in %s", machine, killed, path);
	say(said, "machine \"%s\": removed the group %s", machine, path);
	return killed + 1;
}

/* A group that the box noted in its run directory. */
static int clean_noted(const char *machine, const struct apmp_folder *rundir, const char *note,
		       json_t *said)
{
	char path[PATH_MAX];
	const char *slash;

	if (!rundir || apmp_rundir_read(rundir, note, path, sizeof(path)) < 0)
		return 0;
	slash = strrchr(path, '/');
	/* The name is compared, so a wrong file can't lead to another machine. */
	if (!slash || strncmp(slash, "/apmp-", 6) != 0 || strcmp(slash + 6, machine) != 0)
		return 0;
	return clean_group(machine, path, said);
}

/* Those, and what is found where ours would be made. */
static int clean_groups(const char *machine, const struct apmp_folder *rundir, json_t *said)
{
	static const char *const notes[] = {"cgroup", "cgroup.cpu"};
	int n, count, removed = 0, error = 0;
	char **paths;

	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		n = clean_noted(machine, rundir, notes[i], said);
		if (n < 0)
			error = n;
		else
			removed += n;
	}
	count = apmp_cpuset_path_list(machine, &paths);
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		n = clean_group(machine, paths[i], said);
		if (n < 0)
			error = n;
		else
			removed += n;
		free(paths[i]);
	}
	free(paths);
	return error ? error : removed;
}

/* Processes, groups, run directory.  rundir: locked, or NULL where there is none. */
static int clean_locked(const char *machine, const char *path, struct apmp_folder *rundir,
			json_t *said)
{
	int removed = 0, n = kill_marked(machine, path, rundir, NULL, said);

	if (n == -EBUSY)
		say(said, "machine \"%s\" is alive, though nobody holds %s/pid", machine, path);
	if (n < 0)
		return n;
	removed += n;
	n = clean_groups(machine, rundir, said);
	if (n < 0)
		return n;
	removed += n;
	if (!rundir)
		return removed;
	n = apmp_rundir_remove(rundir);
	if (n < 0) {
		say(said, "machine \"%s\": cannot remove %s: %s", machine, path, strerror(-n));
		return n;
	}
	say(said, "machine \"%s\": removed %s", machine, path);
	return removed + 1;
}

static int machine_path(const char *machine, char *ret_path, size_t size)
{
	int error = apmp_rundir_base(ret_path, size);
	size_t length;

	if (error)
		return error;
	length = strlen(ret_path);
	if ((size_t)snprintf(ret_path + length, size - length, "/%s", machine) >= size - length)
		return -ENAMETOOLONG;
	return 0;
}

int apmp_leftover_clean(const char *machine, json_t *said)
{
	char path[PATH_MAX], why[PATH_MAX + 256];
	struct apmp_folder rundir;
	int result;

	if (!apmp_name_valid(machine))
		return -EINVAL;
	result = machine_path(machine, path, sizeof(path));
	if (result)
		return result;
	result = seize(machine, path, &rundir, why, sizeof(why));
	if (result == -ENOENT)
		return clean_locked(machine, path, NULL, said);
	if (result) {
		say(said, "%s", why[0] ? why : strerror(-result));
		return result;
	}
	result = clean_locked(machine, path, &rundir, said);
	apmp_rundir_close(&rundir);
	return result;
}

/* Adds a name to a JSON object used as a set. */
static void add_name(json_t *names, const char *name)
{
	if (apmp_name_valid(name))
		json_object_set_new(names, name, json_true());
}

/* Names of all machines of this run directory's base that left or have something. */
static int machine_names(const char *base, json_t *names)
{
	struct apmp_process_list list;
	struct dirent *entry;
	char **paths;
	int count, error;
	DIR *dir = opendir(base);

	while (dir && (entry = readdir(dir)))
		add_name(names, entry->d_name);
	if (dir)
		closedir(dir);
	count = apmp_cpuset_path_list(NULL, &paths);
	for (int i = 0; i < count; i++) {
		/* Living machines with other run directories are nobody's business here. */
		if (apmp_cpuset_path_held(paths[i]) != 1)
			add_name(names, strrchr(paths[i], '/') + strlen("/apmp-"));
		free(paths[i]);
	}
	if (count >= 0)
		free(paths);
	error = apmp_process_list_init(&list);
	if (error)
		return error;
	for (size_t i = 0; i < list.count; i++) {
		struct mark mark;
		size_t length = strlen(base);

		if (!guarded(&list.processes[i], mark.rundir, sizeof(mark.rundir)) &&
		    !read_mark(list.processes[i].pid, &mark))
			continue;
		if (strncmp(mark.rundir, base, length) == 0 && mark.rundir[length] == '/')
			add_name(names, mark.rundir + length + 1);
	}
	apmp_process_list_fini(&list);
	return count < 0 ? count : 0;
}

/* For each machine that may have left something behind: the sum of what visit says, or the last
 * -errno, but of -EBUSY. */
static int visit_dead(int (*visit)(const char *base, const char *machine, json_t *said),
		      json_t *said)
{
	char base[PATH_MAX];
	json_t *names = json_object(), *value;
	int sum = 0, error = apmp_rundir_base(base, sizeof(base));
	const char *name;

	if (!names)
		return -ENOMEM;
	if (!error)
		error = machine_names(base, names);
	json_object_foreach(names, name, value)
	{
		pid_t pid;
		int n = apmp_rundir_alive(name, &pid) > 0 ? 0 : visit(base, name, said);

		if (n >= 0)
			sum += n;
		else if (n != -EBUSY)
			error = n;
	}
	json_decref(names);
	return error ? error : sum;
}

static int clean(const char *base, const char *machine, json_t *said)
{
	(void)base;
	return apmp_leftover_clean(machine, said);
}

int apmp_clean_all(json_t *said)
{
	return visit_dead(clean, said);
}

/* What there is of one machine; nothing is touched. */
static int look_at(const char *base, const char *machine, json_t *said)
{
	char path[PATH_MAX], **paths;
	struct apmp_process_list list;
	int count, found = 0;
	struct stat st;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", base, machine) >= sizeof(path))
		return 0;
	if (apmp_process_list_init(&list) < 0)
		return 0;
	if (choose_marked(&list, path, NULL) == 0) {
		choose_guards(&list, path, false);
		found += (int)apmp_process_list_chosen(&list);
	}
	apmp_process_list_fini(&list);
	if (found)
		say(said, "machine \"%s\": %d processes", machine, found);
	if (lstat(path, &st) == 0) {
		say(said, "machine \"%s\": %s", machine, path);
		found++;
	}
	count = apmp_cpuset_path_list(machine, &paths);
	for (int i = 0; i < count; i++) {
		if (apmp_cpuset_path_held(paths[i]) == 0) {
			say(said, "machine \"%s\": the group %s", machine, paths[i]);
			found++;
		}
		free(paths[i]);
	}
	if (count >= 0)
		free(paths);
	return found > 0;
}

int apmp_leftover_look(json_t *said)
{
	return visit_dead(look_at, said);
}

void apmp_leftover_guard(const char *machine, const char *rundir_path, const char *mark_text)
{
	char why[PATH_MAX + 256];
	struct apmp_folder rundir;
	struct mark mark;
	int error;

	if (!parse_mark(mark_text, &mark))
		return;
	/* Whoever holds the lock already is a new box or another cleaner; what carries this very
	 * mark is nobody else's all the same. */
	error = apmp_rundir_seize(rundir_path, APMP_FOLDER_WAIT_MS, &rundir, why, sizeof(why));
	while (kill_marked(machine, rundir_path, error ? NULL : &rundir, &mark, NULL) == -ETIMEDOUT)
		;
	if (error && error != -ENOENT)
		return;
	while (clean_groups(machine, error ? NULL : &rundir, NULL) == -ETIMEDOUT)
		;
	if (error)
		return;
	if (apmp_rundir_remove(&rundir) < 0)
		_exit(1); /* the next `up` or `clean` will say why */
	apmp_rundir_close(&rundir);
}
