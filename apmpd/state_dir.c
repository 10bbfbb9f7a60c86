/* The state directory of a machine: where it is, whether there is room, its end.
 *
 * WHAT     A folder (folder.c) that a box holds as long as it lives.  That it holds its run
 *          directory too is not enough: two boxes with different XDG_RUNTIME_DIR may have one state
 *          directory.
 * STATES   absent -> made and held (up) -> let go: removed when nothing was written, else it stays
 *          until `clean --state`.
 * CRASHES  A box that is killed leaves pid, nvram.new, dumps/new or the file of a trial: the next
 *          one takes the lock, makes the others anew; `clean` removes what is not finished.
 * LIMITS   Room is looked at when the machine is powered on; others may take it afterwards, and
 *          then the write that finds no room is refused.
 */
#include "apmpd/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define VARIABLE  STATE_PATH_VARIABLE
#define ELSEWHERE "set " VARIABLE " to a folder of your own"
#define TRIAL	  "trial"

static void say_no_base(int error, const char *parent, char *ret_error, size_t size)
{
	if (error == -ENOENT)
		snprintf(ret_error, size,
			 "there is no place for what machines keep: neither " VARIABLE
			 " nor HOME is set; " ELSEWHERE);
	else
		snprintf(ret_error, size, "\"%.100s\" is %s; " ELSEWHERE, parent,
			 error == -EINVAL ? "no absolute path" : "too long a path");
}

/* Makes what is missing of a path, from `fixed` on.  -errno; the path then ends with what could
 * not be made. */
static int make_path(char *path, size_t fixed)
{
	for (char *at = path + fixed; at; at = strchr(at + 1, '/')) {
		char *slash = strchr(at + 1, '/');

		if (slash)
			*slash = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		if (slash)
			*slash = '/';
	}
	return 0;
}

static int open_base(char *ret_path, size_t path_size, char *ret_error, size_t size, int *ret_fd)
{
	char parent[PATH_MAX] = "";
	size_t fixed;
	int fd, error = apmp_state_parent(parent, sizeof(parent), &fixed);

	if (!error)
		error = apmp_state_base(ret_path, path_size);
	if (error) {
		say_no_base(error, parent, ret_error, size);
		return error;
	}
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make_path(parent, fixed) == 0)
		fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error = -errno;
		snprintf(ret_error, size, "cannot use %s: %s; " ELSEWHERE, parent,
			 strerror(-error));
		return error;
	}
	/* The group of an own folder is often one's own as well. */
	error = apmp_folder_check_parent(fd, parent, VARIABLE, 002, ret_error, size);
	if (!error)
		error = apmp_folder_open_ours(fd, "apmp", ret_path, VARIABLE, true, ret_error, size,
					      ret_fd);
	close(fd);
	return error;
}

static const struct apmp_folder_kind states = {VARIABLE, open_base};

/* Bytes that can still be had where the path is, or where it would be. */
static uint64_t room_at(const char *path)
{
	char at[PATH_MAX];
	struct statvfs fs;
	char *slash;

	snprintf(at, sizeof(at), "%s", path);
	while (statvfs(at, &fs) < 0) {
		slash = strrchr(at, '/');
		if (errno != ENOENT || !slash || slash == at)
			return 0;
		*slash = '\0';
	}
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static int say_no_room(const char *path, uint64_t wanted, char *ret_error, size_t size)
{
	snprintf(ret_error, size,
		 "what the machine keeps may take %" PRIu64 " more bytes in %s, and %" PRIu64
		 " can be had: free some, or " ELSEWHERE,
		 wanted, path, room_at(path));
	return -ENOSPC;
}

/* What may still be written: what is there already is written over. */
static uint64_t room_wanted(const struct apmp_folder *state)
{
	const char *const names[] = {apmp_nvram_name(0), apmp_nvram_name(1), APMP_NVRAM_NEW};
	uint64_t used = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fstatat(state->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			used += (uint64_t)st.st_blocks * 512;
	return used < APMP_STATE_SIZE_MAX ? APMP_STATE_SIZE_MAX - used : 0;
}

/* Makes a file as large as any will be: that finds a quota, too, which no number tells. */
static int try_file(const struct apmp_folder *state)
{
	int fd = openat(state->dir_fd, TRIAL, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fallocate(fd, 0, 0, (off_t)APMP_STATE_FILE_MAX) < 0 && errno != EOPNOTSUPP)
		error = -errno;
	close(fd);
	if (unlinkat(state->dir_fd, TRIAL, 0) < 0 && !error)
		error = -errno;
	return error;
}

static int check_room(const struct apmp_folder *state, char *ret_error, size_t size)
{
	uint64_t wanted = room_wanted(state);
	struct rlimit limit;
	int error;

	/* Growing beyond it would not only fail but send SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < APMP_STATE_FILE_MAX) {
		snprintf(ret_error, size,
			 "a file in %s may need %" PRIu64 " bytes, and RLIMIT_FSIZE (ulimit -f) "
			 "allows %" PRIu64,
			 state->path, (uint64_t)APMP_STATE_FILE_MAX, (uint64_t)limit.rlim_cur);
		return -EFBIG;
	}
	if (room_at(state->path) < wanted)
		return say_no_room(state->path, wanted, ret_error, size);
	error = try_file(state);
	if (error == -ENOSPC || error == -EDQUOT)
		return say_no_room(state->path, wanted, ret_error, size);
	if (error)
		snprintf(ret_error, size, "cannot write into %s: %s; " ELSEWHERE, state->path,
			 strerror(-error));
	return error;
}

/* What could not even be made. */
static int say_why(int error, const char *machine, char *ret_error, size_t size)
{
	char path[PATH_MAX];
	size_t length = strlen(ret_error);

	if (error == -ENOSPC || error == -EDQUOT) {
		if (apmp_state_base(path, sizeof(path) - APMP_NAME_SIZE - 1) < 0)
			return error;
		snprintf(path + strlen(path), APMP_NAME_SIZE + 1, "/%s", machine);
		return say_no_room(path, APMP_STATE_SIZE_MAX, ret_error, size);
	}
	if (error == -EROFS || error == -EACCES)
		snprintf(ret_error + length, size - length, "; " ELSEWHERE);
	return error;
}

int apmp_state_open(const char *machine, struct apmp_folder *ret, char *ret_error, size_t size)
{
	struct apmp_folder state;
	int error = apmp_folder_open(&states, machine, &state, ret_error, size, NULL);

	if (error)
		return say_why(error, machine, ret_error, size);
	error = check_room(&state, ret_error, size);
	if (error) {
		apmp_state_close(&state);
		return error;
	}
	*ret = state;
	return 0;
}

void apmp_state_close(struct apmp_folder *state)
{
	int error;

	unlinkat(state->dir_fd, APMP_NVRAM_NEW, 0); /* left by a box that was killed, or none */
	(void)unlinkat(state->dir_fd, DUMP_FOLDER, AT_REMOVEDIR); /* if there is nothing in it */
	error = apmp_folder_remove(state);
	(void)error; /* what stays is a file that says a number, and the next one takes it */
	apmp_folder_close(state);
}

static void say(json_t *said, const char *machine, const char *what, const char *path,
		const char *why)
{
	json_array_append_new(said, json_sprintf("machine \"%s\": %s %s%s%s", machine, what, path,
						 why ? ": " : "", why ? why : ""));
}

/* What a box that was killed had begun to write.  1 removed, 0 there was none. */
static int tidy(struct apmp_folder *state, json_t *said)
{
	static const char *const begun[] = {APMP_NVRAM_NEW, DUMP_FOLDER "/" DUMP_NEW};
	char path[PATH_MAX + 32];
	int removed = 0, error;

	for (size_t i = 0; i < sizeof(begun) / sizeof(begun[0]); i++) {
		if (unlinkat(state->dir_fd, begun[i], 0) < 0)
			continue; /* most often there is none */
		snprintf(path, sizeof(path), "%s/%s", state->path, begun[i]);
		say(said, state->machine, "removed", path, "it was not finished");
		removed = 1;
	}
	(void)unlinkat(state->dir_fd, DUMP_FOLDER, AT_REMOVEDIR); /* if there is nothing in it */
	error = apmp_folder_remove(state);
	(void)error; /* what stays is worth keeping */
	apmp_folder_close(state);
	return removed;
}

/* All of it, or only what is not finished.  1 removed, 0 there was none, -EBUSY it is on (nothing
 * is said), -errno. */
static int clean_one(const char *base, const char *machine, bool all, json_t *said)
{
	char path[PATH_MAX], why[PATH_MAX + 256];
	struct apmp_folder state;
	int error;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", base, machine) >= sizeof(path))
		return -ENAMETOOLONG;
	error = apmp_folder_seize(&states, path, APMP_FOLDER_WAIT_MS, &state, why, sizeof(why));
	if (error == -ENOENT)
		return 0;
	if (error) {
		if (error != -EBUSY && all)
			say(said, machine, "cannot remove", path, why[0] ? why : strerror(-error));
		return error;
	}
	if (!all)
		return tidy(&state, said);
	error = apmp_folder_empty(&state);
	if (!error)
		error = apmp_folder_remove(&state);
	apmp_folder_close(&state);
	say(said, machine, error ? "cannot remove" : "removed", path,
	    error ? strerror(-error) : NULL);
	return error ? error : 1;
}

static int clean_each(const char *base, bool all, json_t *said)
{
	DIR *dir = opendir(base);
	struct dirent *entry;
	int removed = 0, error = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		int n = 0;

		if (apmp_name_valid(entry->d_name))
			n = clean_one(base, entry->d_name, all, said);
		if (n > 0)
			removed += n;
		else if (n < 0 && n != -EBUSY)
			error = n;
	}
	closedir(dir);
	return error ? error : removed;
}

int apmp_state_clean(const char *machine, bool all, json_t *said)
{
	char base[PATH_MAX];
	int error = apmp_state_base(base, sizeof(base));

	if (error)
		return error;
	if (!machine)
		return clean_each(base, all, said);
	return apmp_name_valid(machine) ? clean_one(base, machine, all, said) : -EINVAL;
}
