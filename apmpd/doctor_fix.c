/* What `doctor --fix` can mend.
 *
 * WHAT     Each fix is one sentence that says what would be done, and a function that does it.
 *          They are found first and all together, so that what is listed is what would be done.
 *          Limits of processes (ulimit, cgroups above us), kernels and the configuration of systemd
 *          are not mended from here: `doctor` says what would have to change.
 * LIMITS   Groups for a user are gone with the next start of the host.  There is no such fix for
 *          cgroup v2, where the groups above are systemd's: what to ask of it is said.
 */
#include "apmpd/doctor_fix.h"

#include "apmpd/cpuset_ops.h"
#include "apmpd/doctor.h"
#include "apmpd/leftover.h"
#include "apmpd/rundir.h"
#include "apmpd/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXES_MAX 8

struct fix {
	char what[PATH_MAX + 512];
	int (*apply)(const struct fix *fix);
	char path[PATH_MAX];
	uid_t uid;
	bool cpuset;
};

struct fixes {
	struct fix list[FIXES_MAX];
	size_t count;
};

static struct fix *add(struct fixes *fixes, int (*apply)(const struct fix *fix), const char *format,
		       ...) __attribute__((format(printf, 3, 4)));

static struct fix *add(struct fixes *fixes, int (*apply)(const struct fix *fix), const char *format,
		       ...)
{
	struct fix *fix = &fixes->list[fixes->count++];
	va_list args;

	*fix = (struct fix){.apply = apply};
	va_start(args, format);
	vsnprintf(fix->what, sizeof(fix->what), format, args);
	va_end(args);
	return fix;
}

/* ---- leftovers ---- */

static int clean(const struct fix *fix)
{
	json_t *said = json_array(), *sentence;
	int removed = apmp_clean_all(said);
	size_t i;

	(void)fix;
	json_array_foreach(said, i, sentence)
	    fprintf(stderr, "  %s\n", json_string_value(sentence));
	json_decref(said);
	return removed < 0 ? removed : 0;
}

static void find_leftovers(struct fixes *fixes)
{
	json_t *said = json_array();
	int machines = apmp_leftover_look(said);

	if (machines > 0)
		add(fixes, clean,
		    "remove what %d dead machine%s left (%zu things; `apmp doctor` "
		    "lists them)",
		    machines, machines == 1 ? "" : "s", json_array_size(said));
	json_decref(said);
}

/* ---- folders ---- */

static int close_folder(const struct fix *fix)
{
	int fd = open(fix->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0700) < 0)
		error = -errno;
	close(fd);
	return error;
}

/* A folder that others may look into, or write: machines refuse to use it. */
static void find_open_folder(struct fixes *fixes, const char *path)
{
	struct fix *fix;
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    !(st.st_mode & 077))
		return;
	fix = add(fixes, close_folder, "close %s to others (its mode is %03o, and should be 700)",
		  path, (unsigned)st.st_mode & 0777);
	snprintf(fix->path, sizeof(fix->path), "%s", path);
}

/* ---- groups for a user ---- */

static int copy_file(int from_dir_fd, const char *from, int dir_fd, const char *name)
{
	char text[APMP_CPUSET_TEXT_SIZE];
	int n = apmp__cgroup_read(from_dir_fd, from, text, sizeof(text));

	return n < 0 ? n : apmp__cgroup_write(dir_fd, name, text);
}

/* The folder, so that he can make groups; the lists of processes, so that he can move his. */
static int hand_over(int dir_fd, uid_t uid)
{
	static const char *const files[] = {"cgroup.procs", "tasks"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (fchownat(dir_fd, files[i], uid, (gid_t)-1, 0) < 0)
			return -errno;
	return fchown(dir_fd, uid, (gid_t)-1) < 0 ? -errno : 0;
}

static int make_group(const struct fix *fix)
{
	char parent[PATH_MAX];
	int parent_fd, fd, error;

	snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(fix->path, '/') - fix->path),
		 fix->path);
	if (mkdir(fix->path, 0755) < 0 && errno != EEXIST)
		return -errno;
	parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = open(fix->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	error = parent_fd < 0 || fd < 0 ? -errno : 0;
	if (!error && fix->cpuset)
		error = copy_file(parent_fd, "cpuset.effective_cpus", fd, "cpuset.cpus");
	if (!error && fix->cpuset)
		error = copy_file(parent_fd, "cpuset.effective_mems", fd, "cpuset.mems");
	if (!error)
		error = hand_over(fd, fix->uid);
	if (fd >= 0)
		close(fd);
	if (parent_fd >= 0)
		close(parent_fd);
	if (error)
		rmdir(fix->path); /* the first error is told */
	return error;
}

/* -EINVAL: there is no such user; -ENOENT: none was named. */
static int find_user(const char *name, uid_t *ret)
{
	struct passwd *user;
	char *end;

	if (!name)
		name = getenv("SUDO_UID");
	if (!name || !*name)
		return -ENOENT;
	*ret = (uid_t)strtoul(name, &end, 10);
	if (!*end)
		return 0;
	user = getpwnam(name);
	if (user)
		*ret = user->pw_uid;
	return user ? 0 : -EINVAL;
}

static void find_group(struct fixes *fixes, const char *controller, uid_t uid)
{
	char path[PATH_MAX];
	struct fix *fix;
	struct stat st;

	if (apmp_cgroup_delegated(controller, uid, path, sizeof(path)) < 0)
		return; /* there is no v1 here */
	if (stat(path, &st) == 0 && st.st_uid == uid)
		return;
	fix = add(fixes, make_group, "make the %s group %s and give it to user %u", controller,
		  path, (unsigned)uid);
	snprintf(fix->path, sizeof(fix->path), "%s", path);
	fix->uid = uid;
	fix->cpuset = strcmp(controller, "cpuset") == 0;
}

static int find_groups(struct fixes *fixes, const char *user)
{
	char mount[PATH_MAX], base[PATH_MAX];
	uid_t uid = 0;
	int error = geteuid() == 0 ? find_user(user, &uid) : -ENOENT;

	if (error == -EINVAL) {
		fprintf(stderr, "apmp: there is no user \"%s\"\n",
			user ? user : getenv("SUDO_UID"));
		return error;
	}
	if (error || uid == 0)
		return 0; /* nobody was named, root needs none */
	if (apmp_cgroup_own("cpuset", mount, base, sizeof(base)) == -ENOENT) {
		fprintf(
		    stderr,
		    "apmp: cgroup v1 has no cpuset here, and groups of v2 are systemd's to give; "
		    "user %u would %s\n",
		    (unsigned)uid, apmp_doctor_v2_change(false));
		return 0;
	}
	find_group(fixes, "cpuset", uid);
	find_group(fixes, "cpu", uid);
	return 0;
}

/* ---- all of them ---- */

static int find_all(struct fixes *fixes, const char *user)
{
	char path[PATH_MAX];

	find_leftovers(fixes);
	if (apmp_rundir_base(path, sizeof(path)) == 0)
		find_open_folder(fixes, path);
	if (apmp_state_base(path, sizeof(path)) == 0)
		find_open_folder(fixes, path);
	return find_groups(fixes, user);
}

static bool agreed(const struct fix *fix)
{
	char answer[16];

	fprintf(stderr, "apmp: shall I %s? [y/N] ", fix->what);
	fflush(stderr);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* What became of it; 0 or -errno of the fix. */
static int carry_out(const struct fix *fix, bool yes, json_t *fixes)
{
	bool asks = !yes && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
	const char *state = yes ? "done" : "offered";
	int error = 0;

	if (asks)
		state = agreed(fix) ? "done" : "declined";
	if (strcmp(state, "done") == 0)
		error = fix->apply(fix);
	if (error)
		state = "failed";
	fprintf(stderr, "apmp: %s: %s%s%s\n", state, fix->what, error ? ": " : "",
		error ? strerror(-error) : "");
	json_array_append_new(fixes, json_pack("{s:s, s:s, s:s*}", "what", fix->what, "state",
					       state, "reason", error ? strerror(-error) : NULL));
	return error;
}

int apmp_doctor_fix(bool yes, const char *user, json_t **ret_fixes)
{
	static struct fixes fixes; /* too large for a stack */
	int error = find_all(&fixes, user);

	*ret_fixes = json_array();
	if (!error && fixes.count == 0)
		fprintf(stderr, "apmp: there is nothing that could be mended from here\n");
	for (size_t i = 0; i < fixes.count; i++) {
		int one = carry_out(&fixes.list[i], yes, *ret_fixes);

		error = one ? one : error;
	}
	return error;
}
