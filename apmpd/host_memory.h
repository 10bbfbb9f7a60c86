/* Physical memory of the machine: sealed, really allocated memfds, never more than is free.
 *
 * The kernel's own answer to too little memory would be the OOM killer, so the free bytes are
 * computed from every limit above us before anything is allocated.
 */
#ifndef APMPD_HOST_MEMORY_H
#define APMPD_HOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define APMP_HOST_MEMORY_LIMIT_MAX 32
/* Kept free by what is made for the machine, for the processes that come later. */
#define APMP_HOST_MEMORY_RESERVE (8ull << 20)
/* Kept free also by those: what a process takes between two looks. */
#define APMP_HOST_MEMORY_LAST (2ull << 20)

/* One limit: a name for people ("MemAvailable", "cgroup v1 memory /a/b"), and how
 * many bytes may still be taken under it. */
struct apmp_host_memory_limit {
	char name[160];
	uint64_t free;
};

/* Every limit that applies here, in no order; unlimited ones are left out.
 * Returns how many were written (at most max).  -errno: /proc/meminfo can't be read. */
__attribute__((warn_unused_result)) int
apmp_host_memory_limits(struct apmp_host_memory_limit *ret_limits, size_t max);

/* Whether `wanted` bytes can be had.  ret_had: the bytes that may be taken under the narrowest
 * limit, after the reserve (8 MiB, or 5 % of it where that is more); ret_which_limit: its name.
 * Both are written also with -ENOMEM.
 * -ENOMEM: wanted > *ret_had; -errno: /proc/meminfo can't be read (-ENODATA: or tells nothing). */
__attribute__((warn_unused_result)) int apmp_host_memory_check(uint64_t wanted, uint64_t *ret_had,
							       char *ret_which_limit,
							       size_t which_limit_size);

/* The same for a process that is about to be started: it may take of the reserve, but for the last
 * 2 MiB. */
__attribute__((warn_unused_result)) int apmp_host_memory_check_reserve(uint64_t wanted,
								       uint64_t *ret_had,
								       char *ret_which_limit,
								       size_t which_limit_size);

/* A memfd of this size: allocated, zero, sealed against growing, shrinking and further
 * seals, mode 0600, close-on-exec.
 * -EINVAL: size 0 or not whole pages; -EFBIG: above RLIMIT_FSIZE; -ENOMEM, -ENOSPC: no memory
 * (nothing stays allocated); -EMFILE, -ENFILE: no descriptor; -ENOSYS: no memfd here. */
__attribute__((warn_unused_result)) int apmp_host_memory_create(const char *name, uint64_t size,
								int *ret_fd);

/* A second, read-only descriptor of the same memory (through /proc/self/fd), close-on-exec.
 * -ENOENT: /proc is not mounted; -errno of open(). */
__attribute__((warn_unused_result)) int apmp_host_memory_reopen_readonly(int fd, int *ret_fd);

/* Gives every page back at once, whoever has it mapped: those read zeros from now on, and what
 * they then write is garbage of their own.  Does not close fd.
 * -errno of fallocate(). */
__attribute__((warn_unused_result)) int apmp_host_memory_drop(int fd);

#endif
