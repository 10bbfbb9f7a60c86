/* task_load.c - the program of tasks: a shared object, from a descriptor. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance/instance.h"

#define PATH_SIZE 96 /* "/proc/self/fd", 32 digits of up to two characters, and a descriptor's */

/* Which instructions are the program's own. */
static int find_text(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct task_job *job = ctx;
	uintptr_t main = (uintptr_t)job->main;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || main < begin ||
		    main - begin >= segment->p_memsz)
			continue;
		job->program = info->dlpi_addr;
		job->text = begin;
		job->text_end = begin + segment->p_memsz;
		return 1;
	}
	return 0;
}

int task_main(struct apmp_task *task, void *arg)
{
	struct task_job *job = arg;

	return job->main(task, job->argc, job->argv);
}

/* What dlopen said, without the path that it was given. */
static void say_why(char *ret_why, size_t size, const char *path)
{
	const char *why = dlerror();
	size_t length = strlen(path);

	if (why && strncmp(why, path, length) == 0 && strncmp(why + length, ": ", 2) == 0)
		why += length + 2;
	snprintf(ret_why, size, "%s", why ? why : "it can't be loaded");
}

/* Whether the file has all that is to be mapped of it: the loader does not look, and whoever
 * touches what is behind its end gets a SIGBUS.  Of what is no ELF file the loader says so. */
static bool is_whole(int fd)
{
	ElfW(Ehdr) head;
	ElfW(Phdr) segment;
	struct stat st;

	if (fstat(fd, &st) < 0 || pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		return true;
	for (uint32_t i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment),
			  (off_t)(head.e_phoff + i * sizeof(segment))) != (ssize_t)sizeof(segment))
			return false;
		if (segment.p_type == PT_LOAD &&
		    (segment.p_offset > (uint64_t)st.st_size ||
		     segment.p_filesz > (uint64_t)st.st_size - segment.p_offset))
			return false;
	}
	return true;
}

/* The loader takes a file whose path it knows for the one that it has loaded by that, and numbers
 * of descriptors come back: a path that no other load had.  "/." leads nowhere, and so the digits
 * of our number are "/" and "/.". */
static void path_of(int fd, char ret_path[PATH_SIZE])
{
	static uint32_t loads; /* W: thread of programs */
	char *at = stpcpy(ret_path, "/proc/self/fd");

	for (uint32_t rest = ++loads; rest; rest >>= 1)
		at = stpcpy(at, rest & 1 ? "/." : "/");
	snprintf(at, (size_t)(ret_path + PATH_SIZE - at), "/%d", fd);
}

int task_load(struct task_job *job, int fd, char *ret_why, size_t size)
{
	char path[PATH_SIZE];
	const uint32_t *version;

	if (!is_whole(fd)) {
		snprintf(ret_why, size, "it ends before its segments do");
		return -ENOEXEC;
	}
	path_of(fd, path);
	job->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!job->library) {
		say_why(ret_why, size, path);
		return -ENOEXEC;
	}
	version = dlsym(job->library, "apmp_task_version");
	*(void **)&job->main = dlsym(job->library, "apmp_task_main");
	if (!version || !job->main)
		snprintf(ret_why, size, "it has no apmp_task_main as apmp-task.h declares it");
	else if (*version != APMP_TASK_VERSION)
		snprintf(ret_why, size,
			 "it was built for version %u of apmp-task.h, and this is %u", *version,
			 APMP_TASK_VERSION);
	else if (!dl_iterate_phdr(find_text, job))
		snprintf(ret_why, size, "its apmp_task_main is no function");
	else
		return 0;
	task_unload(job);
	return -ENOEXEC;
}

void task_unload(struct task_job *job)
{
	if (job->library)
		(void)dlclose(job->library); /* what does not let go of it stays */
	job->library = NULL;
}
