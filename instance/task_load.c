/* task_load.c - the program of tasks: a shared object, from a descriptor. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "instance/instance.h"

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

int task_load(struct task_job *job, int fd, char *ret_why, size_t size)
{
	char path[32];
	const uint32_t *version;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
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
