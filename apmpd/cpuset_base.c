/* Where our groups can be made: mounts and groups as /proc/self shows them.
 *
 * WHAT     A hierarchy is found in mountinfo, our own group of it in /proc/self/cgroup.  A mount
 *          may show only a part of the hierarchy (containers); its root is cut off the path then.
 * v2       A group of v2 may either hold processes or hand controllers on to groups below it.
 *          (cpuset and cpu can be switched on below one that holds processes, but then the groups
 *          below are for threads of these, and no process can enter.)  So in our own group they are
 *          switched on only if nobody is in it but ourselves, our children (the guard), those who
 *          have started us (`apmp up` waits for the box, a shell for `apmp up`) and who stands
 *          beside them in a pipe: these move before that to a group "apmp.box" beside the
 *          machine's.
 *          That is the case with `systemd-run --user --scope -p Delegate=yes`.  Otherwise the
 *          nearest group above us that hands cpuset on already and lets us write is taken.
 *          Nothing is switched on in a group above: that would be a setting of the host.
 *          Who starts in an apmp.box counts as one of the group above it.
 * CRASHES  After moving into apmp.box: the next box starts in there or beside it, and switches
 *          cpuset on.
 * LIMITS   apmp.box can't be removed by those who live in it; systemd removes it with the scope.
 *          Blanks in the path of a mount are not understood.
 */
#include "apmpd/cpuset_ops.h"

#include "apmpd/process_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where those of a delegated group stay whose own group hands cpuset on. */
#define BOX_GROUP "apmp.box"

/* Whether a list with these separators has the word. */
static bool has_word(const char *list, const char *separators, const char *word)
{
	size_t length = strlen(word);

	while (*list) {
		size_t n = strcspn(list, separators);

		if (n == length && strncmp(list, word, n) == 0)
			return true;
		list += n + (list[n] != '\0');
	}
	return false;
}

/* "36 35 98:0 ROOT MOUNT OPTIONS ... - TYPE SOURCE SUPEROPTIONS" */
static bool parse_mount(char *line, const char *controller, char **ret_root, char **ret_mount)
{
	char *end = strstr(line, " - "), *type, *options, *save = NULL, *field = NULL;

	if (!end)
		return false;
	*end = '\0';
	type = strtok_r(end + 3, " \n", &save);
	strtok_r(NULL, " \n", &save);
	options = strtok_r(NULL, " \n", &save);
	if (!type || !options || strcmp(type, controller ? "cgroup" : "cgroup2") != 0)
		return false;
	if (controller && !has_word(options, ",", controller))
		return false;
	field = strtok_r(line, " ", &save);
	for (int i = 0; field && i < 3; i++)
		field = strtok_r(NULL, " ", &save);
	*ret_root = field;
	*ret_mount = strtok_r(NULL, " ", &save);
	return *ret_root && *ret_mount;
}

static int find_mount(const char *controller, char *ret_root, char *ret_mount, size_t size)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *root, *mount;
	int error = -ENOENT;
	size_t room = 0;

	if (!in)
		return -errno;
	while (error == -ENOENT && getline(&line, &room, in) > 0) {
		if (!parse_mount(line, controller, &root, &mount))
			continue;
		error = 0;
		if ((size_t)snprintf(ret_root, size, "%s", root) >= size ||
		    (size_t)snprintf(ret_mount, size, "%s", mount) >= size)
			error = -ENAMETOOLONG;
	}
	free(line);
	fclose(in);
	return error;
}

/* "3:cpuset:/path"; "0::/path" for v2. */
static int find_own(const char *controller, char *ret_path, size_t size)
{
	FILE *in = fopen("/proc/self/cgroup", "re");
	char *line = NULL;
	int error = -ENOENT;
	size_t room = 0;

	if (!in)
		return -errno;
	while (error == -ENOENT && getline(&line, &room, in) > 0) {
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (controller ? !has_word(list + 1, ",", controller) : list[1] != '\0')
			continue;
		error = (size_t)snprintf(ret_path, size, "%s", path) >= size ? -ENAMETOOLONG : 0;
	}
	free(line);
	fclose(in);
	return error;
}

int apmp_cgroup_own(const char *controller, char *ret_mount, char *ret_base, size_t path_size)
{
	char root[PATH_MAX], own[PATH_MAX];
	int error = find_mount(controller, root, ret_mount,
			       path_size < sizeof(root) ? path_size : sizeof(root));
	const char *below = own;

	if (!error)
		error = find_own(controller, own, sizeof(own));
	if (error)
		return error;
	if (strcmp(root, "/") != 0 && strncmp(own, root, strlen(root)) == 0)
		below = own + strlen(root);
	/* Our group lies outside of what we can see ("/../.."): take what is mounted. */
	if (strncmp(below, "/..", 3) == 0 || strcmp(below, "/") == 0)
		below = "";
	if ((size_t)snprintf(ret_base, path_size, "%s%s", ret_mount, below) >= path_size)
		return -ENAMETOOLONG;
	return 0;
}

int apmp_cgroup_delegated(const char *controller, uid_t uid, char *ret_path, size_t path_size)
{
	char mount[PATH_MAX], own[PATH_MAX];
	int error = apmp_cgroup_own(controller, mount, own, sizeof(own));

	/* Not apmp-UID: that would be a machine's. */
	if (!error &&
	    (size_t)snprintf(ret_path, path_size, "%s/apmp.%u", mount, (unsigned)uid) >= path_size)
		error = -ENAMETOOLONG;
	return error;
}

int apmp__cgroup_read(int dir_fd, const char *name, char *ret_text, size_t text_size)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n = 0;
	int error = 0;

	if (fd < 0)
		return -errno;
	while (length + 1 < text_size &&
	       (n = read(fd, ret_text + length, text_size - 1 - length)) > 0)
		length += (size_t)n;
	if (n < 0)
		error = -errno;
	close(fd);
	ret_text[length] = '\0';
	return error ? error : (int)length;
}

int apmp__cgroup_write(int dir_fd, const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

static bool file_has(int dir_fd, const char *name, const char *word)
{
	char text[512];

	return apmp__cgroup_read(dir_fd, name, text, sizeof(text)) > 0 &&
	       has_word(text, " \n", word);
}

static bool is_listed(pid_t pid, const pid_t *pids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Of those in our group: a child of ours, ourselves, one of those who have started us, or, started
 * by somebody in there as well, of a process group with these, as the other end of a pipe is.  Who
 * has ended is no stranger. */
static bool is_kin(pid_t pid, const pid_t *pids, size_t count)
{
	struct apmp_process p, ancestor = {.parent = getpid()};
	bool beside;

	if (apmp_process_get(pid, &p) < 0 || p.parent == getpid())
		return true;
	beside = is_listed(p.parent, pids, count);
	while (ancestor.parent != 0 && apmp_process_get(ancestor.parent, &ancestor) == 0)
		if (ancestor.pid == pid || (beside && ancestor.process_group == p.process_group))
			return true;
	return false;
}

static int open_box_group(int dir_fd)
{
	int fd;

	if (mkdirat(dir_fd, BOX_GROUP, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir_fd, BOX_GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Moves us and our kin out of our own group.  -ENOTEMPTY: somebody else is in it. */
static int evacuate(int dir_fd)
{
	pid_t *pids = NULL;
	size_t count = 0;
	int box_fd = -1, error = apmp__cgroup_pids(dir_fd, false, &pids, &count);

	for (size_t i = 0; !error && i < count; i++)
		if (!is_kin(pids[i], pids, count))
			error = -ENOTEMPTY;
	if (!error && count) {
		box_fd = open_box_group(dir_fd);
		error = box_fd < 0 ? box_fd : 0;
	}
	for (size_t i = 0; box_fd >= 0 && !error && i < count; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", pids[i]);
		error = apmp__cgroup_write(box_fd, "cgroup.procs", text);
		if (error == -ESRCH)
			error = 0; /* it ended, so it is out as well */
	}
	if (box_fd >= 0)
		close(box_fd);
	free(pids);
	return error;
}

/* Whether groups below may have processes: see v2.  Only the topmost group has no type, and may
 * have both. */
static bool is_domain(int dir_fd)
{
	char type[32];

	return apmp__cgroup_read(dir_fd, "cgroup.type", type, sizeof(type)) == -ENOENT ||
	       strcmp(type, "domain\n") == 0;
}

/* Whether groups for processes with a cpuset can be made in this group.  own: it is ours, and may
 * be prepared for that. */
static int v2_suits(int dir_fd, bool own)
{
	/* The second is wished for only (cpuset_quota.c). */
	const char *wanted =
	    file_has(dir_fd, "cgroup.controllers", "cpu") ? "+cpuset +cpu" : "+cpuset";
	int error;

	if (!file_has(dir_fd, "cgroup.controllers", "cpuset"))
		return -EOPNOTSUPP;
	if (faccessat(dir_fd, ".", W_OK, AT_EACCESS) < 0 ||
	    faccessat(dir_fd, "cgroup.procs", W_OK, AT_EACCESS) < 0)
		return -errno;
	if (own && faccessat(dir_fd, "cgroup.type", F_OK, 0) == 0) {
		error = evacuate(dir_fd);
		if (error)
			return error;
	}
	if (!file_has(dir_fd, "cgroup.subtree_control", "cpuset")) {
		error = own ? apmp__cgroup_write(dir_fd, "cgroup.subtree_control", wanted) : -EPERM;
		/* Of another pid namespace. */
		if (error)
			return error == -EBUSY ? -ENOTEMPTY : error;
	}
	return is_domain(dir_fd) ? 0 : -ENOTEMPTY;
}

static const char *v2_reason(int error)
{
	switch (error) {
	case -EOPNOTSUPP:
		return "the cpuset controller is not handed down to it";
	case -ENOTEMPTY:
		return "it holds processes that are not ours, so cpuset cannot be switched on "
		       "below it";
	case -EPERM:
		return "cpuset is not switched on below it";
	default:
		return strerror(-error);
	}
}

int apmp__cpuset_v2_base(char *ret_base, size_t path_size, char *ret_why, size_t why_size)
{
	char mount[PATH_MAX], own[PATH_MAX], path[PATH_MAX];
	int own_error = 0, error = apmp_cgroup_own(NULL, mount, own, sizeof(own));

	if (error) {
		snprintf(ret_why, why_size, "cgroup v2: %s",
			 error == -ENOENT ? "not mounted" : strerror(-error));
		return error;
	}
	if (strcmp(strrchr(own, '/') + 1, BOX_GROUP) == 0)
		*strrchr(own, '/') = '\0';
	memcpy(path, own, sizeof(path));
	for (;; *strrchr(path, '/') = '\0') {
		int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		error = dir_fd < 0 ? -errno : v2_suits(dir_fd, own_error == 0);
		if (dir_fd >= 0)
			close(dir_fd);
		if (!own_error)
			own_error = error;
		if (!error || strlen(path) <= strlen(mount))
			break;
	}
	if (error) {
		/* The reason of our own group is the one that can be helped. */
		snprintf(ret_why, why_size, "%s: %s%s", own, v2_reason(own_error),
			 strcmp(own, mount) ? ", and no group above hands cpuset on to us" : "");
		return own_error;
	}
	if ((size_t)snprintf(ret_base, path_size, "%s", path) >= path_size)
		return -ENAMETOOLONG;
	return 0;
}
