/* The box's own flight recorder. */
#include "apmpd/own_recorder.h"

#include "shm/wire/linux_env.h"

#include <errno.h>
#include <sys/mman.h>

static struct apmp_recorder *own; /* a process is one box */

int apmp_own_recorder_open(int fd)
{
	void *base = mmap(NULL, APMP_RECORDER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	own = base;
	apmp_linux_panic_into(own);
	return 0;
}

void apmp_own_recorder_close(void)
{
	if (!own)
		return;
	apmp_linux_panic_into(NULL);
	munmap(own, APMP_RECORDER_SIZE);
	own = NULL;
}

static void pass(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	(void)env;
	if (own)
		apmp_linux_pass(own, point, APMP_THREAD_BOX, arg);
}

struct apmp_env *apmp_own_env(void)
{
	static struct apmp_env env = {.now = apmp_linux_now, .point = pass};

	return &env;
}
