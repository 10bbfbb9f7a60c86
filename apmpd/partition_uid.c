/* A uid for each partition.
 *
 * WHAT     Blocks of 64 uids lie in areas that systems leave free.  A box begins to look at the
 *          block that its run directory hashes to, and goes on to the next one until one is free:
 *          not claimed, without account, without process.  It has it while it keeps a socket bound
 *          to a name made from its number; the kernel frees that with the last descriptor.
 * STATES   free -> claimed (bind) -> looked at -> free (somebody uses it) | held until release
 * ORDERING Claimed first, looked at afterwards: of two boxes that look at once only one goes on.
 * CRASHES  A box that dies frees its claim, perhaps before its processes have ended.  Until they
 *          have, the block is in use for every other box, because its processes are looked for.
 *          Who cleans up claims it anew, and so knows that all in it belong to the dead.
 * LIMITS   Names of sockets are one for each network namespace.  Boxes in different ones that share
 *          the uids of the host have different blocks only because their run directories hash to
 *          different ones, or because one sees the other's processes.
 *          Files that an earlier process of such a uid left on a file system aren't looked for.
 */
#include "apmpd/partition_uid.h"

#include "apmpd/process_list.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK ((uid_t)APMP_MAX_PARTITIONS)

/* Where blocks lie.  The first is unused according to systemd's list ("Users, Groups, UIDs and GIDs
 * on systemd Systems": 0x70000000 to 0x7ffdffff).  The second is for containers, which often have
 * 65536 uids; it ends below systemd's own (60001 and more). */
static const struct {
	uid_t first;
	uint32_t blocks;
} areas[] = {{0x70000000, 65536}, {32768, 425}};

#define AREAS (sizeof(areas) / sizeof(areas[0]))
/* So many blocks are looked at: enough for every box of a host, and soon done. */
#define TRIES 512u

static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	while (*text)
		hash = (hash ^ (unsigned char)*text++) * 16777619u;
	return hash;
}

/* -EADDRINUSE: somebody has it. */
static int claim(uid_t first, int *ret_fd)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd, error, length;

	/* Nobody can connect to it, and so fill it: it does not listen. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* sun_path[0] is 0: a name that is no file. */
	length = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "apmp-uids-%u", first);
	if (bind(fd, (struct sockaddr *)&name,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

static bool within(unsigned long id, uid_t first)
{
	return id >= first && id - first < BLOCK;
}

/* Local accounts only: other directories may be far away, and give no such numbers to people. */
static bool has_account(uid_t first)
{
	FILE *users = fopen("/etc/passwd", "re"), *groups = fopen("/etc/group", "re");
	struct passwd *user;
	struct group *group;
	bool found = false;

	while (users && !found && (user = fgetpwent(users)))
		found = within(user->pw_uid, first) || within(user->pw_gid, first);
	while (groups && !found && (group = fgetgrent(groups)))
		found = within(group->gr_gid, first);
	if (users)
		fclose(users);
	if (groups)
		fclose(groups);
	return found;
}

/* Ranges of uids that were handed to users, for their containers: "NAME:FIRST:COUNT". */
static bool is_handed_out(const char *path, uid_t first)
{
	FILE *in = fopen(path, "re");
	unsigned long from, count;
	char line[256];
	bool found = false;

	while (in && !found && fgets(line, sizeof(line), in))
		found = sscanf(line, "%*[^:]:%lu:%lu", &from, &count) == 2 &&
			from < first + BLOCK && first < from + count;
	if (in)
		fclose(in);
	return found;
}

static bool has_process(uid_t first)
{
	struct apmp_process_list list;
	size_t count;

	if (apmp_process_list_init(&list) < 0)
		return true; /* not known: not taken */
	count = apmp_process_list_choose_uids(&list, first, BLOCK);
	apmp_process_list_fini(&list);
	return count > 0;
}

static bool is_used(uid_t first)
{
	return has_account(first) || is_handed_out("/etc/subuid", first) ||
	       is_handed_out("/etc/subgid", first) || has_process(first);
}

/* The child of try_out(): says how it went, and waits for its end. */
static void __attribute__((noreturn)) be_tried(uid_t uid, int said_fd, int end_fd)
{
	int error = apmp_partition_uid_become(uid, true);
	char byte;

	if (write(said_fd, &error, sizeof(error)) == sizeof(error) && read(end_fd, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

/* What the box will have to do to a process of that uid, whose errno becomes the answer. */
static int handle(pid_t pid, bool affinity)
{
	cpu_set_t cpus;

	if (affinity && (sched_getaffinity(pid, sizeof(cpus), &cpus) < 0 ||
			 sched_setaffinity(pid, sizeof(cpus), &cpus) < 0))
		return -errno;
	return kill(pid, SIGKILL) < 0 ? -errno : 0;
}

/* Has a process take on the uid, and the box handle it.  -EAGAIN, -ENOMEM, -EMFILE, -ENFILE: there
 * is no process; *ret_error: what a process, or the box with it, was refused, or 0. */
static int try_out(uid_t uid, bool affinity, int *ret_error)
{
	int said[2], end[2], error = 0;
	pid_t pid;

	if (pipe2(said, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(end, O_CLOEXEC) < 0) {
		error = -errno;
		close(said[0]);
		close(said[1]);
		return error;
	}
	pid = fork();
	if (pid == 0) {
		close(end[1]);
		be_tried(uid, said[1], end[0]);
	}
	error = pid < 0 ? -errno : 0;
	close(said[1]);
	close(end[0]);
	if (pid > 0) {
		if (read(said[0], ret_error, sizeof(*ret_error)) != sizeof(*ret_error))
			*ret_error = -ECHILD;
		if (!*ret_error)
			*ret_error = handle(pid, affinity);
	}
	close(said[0]);
	close(end[1]); /* ends it, if the signal was refused */
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return error;
}

/* Looks for a free block in one area.  -EUSERS: there is none; -errno of claim(). */
static int find_block(size_t area, uint32_t hash, struct apmp_partition_uids *ret)
{
	uint32_t blocks = areas[area].blocks;

	for (uint32_t i = 0; i < blocks && i < TRIES; i++) {
		uid_t first = areas[area].first + (hash + i) % blocks * BLOCK;
		int fd, error = claim(first, &fd);

		if (error && error != -EADDRINUSE)
			return error;
		if (error)
			continue;
		if (!is_used(first)) {
			*ret = (struct apmp_partition_uids){.first = first, .claim_fd = fd};
			return 0;
		}
		close(fd);
	}
	return -EUSERS;
}

int apmp_partition_uids_claim(const char *rundir, bool affinity, struct apmp_partition_uids *ret,
			      char *ret_why, size_t why_size)
{
	static const struct apmp_partition_uids none = {.claim_fd = -1};
	struct apmp_partition_uids uids;
	int error = 0, refused = 0;

	*ret = none;
	if (geteuid() != 0) {
		snprintf(ret_why, why_size, "the box runs as uid %u, not as root", geteuid());
		return 0;
	}
	for (size_t area = 0; !error && area < AREAS; area++) {
		error = find_block(area, hash_of(rundir), &uids);
		if (!error)
			error = try_out(uids.first, affinity, &refused);
		if (!error && !refused) {
			*ret = uids;
			return 0;
		}
		if (!error)
			apmp_partition_uids_release(&uids);
		if (refused != -EINVAL)
			break; /* EINVAL: this user namespace has no such uid */
	}
	if (!error)
		snprintf(ret_why, why_size, "the box is root without the power to %s: %s",
			 affinity ? "run, end and place processes of other users"
				  : "run and end processes of other users",
			 strerror(-refused));
	return error;
}

/* The first uid of its block; 0: it is in none. */
static uid_t block_of(uid_t uid)
{
	for (size_t i = 0; i < AREAS; i++)
		if (uid >= areas[i].first && (uid - areas[i].first) / BLOCK < areas[i].blocks)
			return uid - (uid - areas[i].first) % BLOCK;
	return 0;
}

int apmp_partition_uids_inherit(uid_t first, struct apmp_partition_uids *ret)
{
	int fd, error;

	if (!first || block_of(first) != first)
		return -EINVAL;
	error = claim(first, &fd);
	if (!error)
		*ret = (struct apmp_partition_uids){.first = first, .claim_fd = fd};
	return error;
}

bool apmp_partition_uid_claimed(uid_t uid)
{
	uid_t first = block_of(uid);
	int fd, error = first ? claim(first, &fd) : -EINVAL;

	if (!error)
		close(fd);
	return error == -EADDRINUSE;
}

void apmp_partition_uids_release(struct apmp_partition_uids *uids)
{
	if (uids->claim_fd >= 0)
		close(uids->claim_fd);
	*uids = (struct apmp_partition_uids){.claim_fd = -1};
}

/* Of the capabilities that were kept over setresuid(), at most this one. */
static int keep_only(uint64_t capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(capabilities >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int apmp_partition_uid_become(uid_t uid, bool reach)
{
	/* Refused to who has no CAP_SETPCAP; no_new_privs alone would do. */
	for (unsigned long capability = 0; capability <= CAP_LAST_CAP; capability++)
		(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_KEEPCAPS, (unsigned long)reach, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	/* A session keyring of root's would still be ours to use.  Where there are no keyrings
	 * (ENOSYS, or EPERM by seccomp) there is none to leave. */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	/* Until exec this is a copy of the box: nothing for others of that uid to look into.  The
	 * kernel has done so already, unless fs.suid_dumpable is 1. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	/* exec drops what is kept here: the file has no capabilities, nor has the uid. */
	return keep_only(reach ? UINT64_C(1) << CAP_DAC_OVERRIDE : 0);
}
