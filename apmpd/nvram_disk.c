/* The files of NVRAM, by system calls.
 *
 * Names are looked up in the open folder and never followed: a symbolic link or anything else that
 * is no file is an error.  What was written stays open until it is synced, so that an error of the
 * disk in between is not told to somebody else.
 *
 * LIMITS   A file system that can't sync a folder (EINVAL) is taken at its word.
 */
#include "apmpd/nvram_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLAGS (O_NOFOLLOW | O_CLOEXEC | O_NOCTTY)

static struct apmp_nvram_disk *of(struct apmp_disk *disk)
{
	return (struct apmp_nvram_disk *)disk; /* its first member */
}

/* All of it that there is.  -errno. */
static int read_at(int fd, uint64_t off, uint8_t *to, uint64_t size)
{
	while (size > 0) {
		ssize_t n = pread(fd, to, size, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		off += (uint64_t)n;
		to += n;
		size -= (uint64_t)n;
	}
	return 0;
}

static int64_t disk_read(struct apmp_disk *disk, const char *name, uint64_t off, void *to,
			 uint64_t size)
{
	/* Not blocking: a pipe of that name has no writer. */
	int fd = openat(of(disk)->dir_fd, name, O_RDONLY | O_NONBLOCK | FLAGS), error = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		error = -errno;
	else if (!S_ISREG(st.st_mode))
		error = -ENOTSUP;
	else
		error = read_at(fd, off, to, size);
	close(fd);
	return error ? error : st.st_size;
}

static int write_all(int fd, const struct apmp_nvram_header *head, const void *contents,
		     uint64_t size)
{
	struct iovec parts[2] = {
	    {.iov_base = (void *)(uintptr_t)head, .iov_len = sizeof(*head)},
	    {.iov_base = (void *)(uintptr_t)contents, .iov_len = size},
	};

	while (parts[0].iov_len + parts[1].iov_len > 0) {
		ssize_t n = writev(fd, parts, 2);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;

			parts[i].iov_base = (uint8_t *)parts[i].iov_base + part;
			parts[i].iov_len -= part;
			n -= (ssize_t)part;
		}
	}
	return 0;
}

static void close_written(struct apmp_nvram_disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

static int disk_write(struct apmp_disk *base, const char *name,
		      const struct apmp_nvram_header *head, const void *contents, uint64_t size)
{
	struct apmp_nvram_disk *disk = of(base);
	int error;

	close_written(disk);
	/* Removed, not emptied: a crash may have left it as another name of a file that is good. */
	if (unlinkat(disk->dir_fd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	disk->fd = openat(disk->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | FLAGS, 0600);
	if (disk->fd < 0)
		return -errno;
	error = write_all(disk->fd, head, contents, size);
	if (!error)
		return 0;
	close_written(disk);
	unlinkat(disk->dir_fd, name, 0); /* the room is needed; the error is told already */
	return error;
}

static int disk_sync(struct apmp_disk *base, const char *name)
{
	struct apmp_nvram_disk *disk = of(base);
	int error;

	(void)name; /* the one that was written */
	if (disk->fd < 0)
		return -EBADF;
	error = fsync(disk->fd) < 0 ? -errno : 0;
	close_written(disk);
	return error;
}

static int disk_rename(struct apmp_disk *disk, const char *from, const char *to)
{
	int dir_fd = of(disk)->dir_fd;

	return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

static int disk_sync_folder(struct apmp_disk *disk)
{
	return fsync(of(disk)->dir_fd) < 0 && errno != EINVAL ? -errno : 0;
}

void apmp_nvram_disk_init(struct apmp_nvram_disk *disk, int dir_fd)
{
	*disk = (struct apmp_nvram_disk){.disk = {.read = disk_read,
						  .write = disk_write,
						  .sync = disk_sync,
						  .rename = disk_rename,
						  .sync_folder = disk_sync_folder},
					 .dir_fd = dir_fd,
					 .fd = -1};
}

void apmp_nvram_disk_fini(struct apmp_nvram_disk *disk)
{
	close_written(disk);
}
