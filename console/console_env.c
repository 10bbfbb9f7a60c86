/* console_env.c - the console's world for libapmp: it wakes, interrupts and passes points. */
#include "console/console.h"
#include "shm/wire/linux_env.h"

static void env_point(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	struct console *c = (struct console *)env; /* env is its first member */

	if (c->recorder)
		apmp_linux_pass(c->recorder, point, APMP_THREAD_CONSOLE, arg);
}

void console_env_init(struct console *c)
{
	c->env = (struct apmp_env){.now = apmp_linux_now,
				   .wait = apmp_linux_wait,
				   .wake = apmp_linux_wake,
				   .point = env_point};
}
