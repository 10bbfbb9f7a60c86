/* tasks.c - the scheduler of an instance. */
#include "instance/tasks.h"

#include "instance/instance.h"

uint64_t instance_tasks_wait(struct instance *in, uint32_t cpu_idx)
{
	/* No deadline: a CPU that nobody interrupts uses no host CPU. */
	return apmp_intr_wait(&in->env, cpu_idx, APMP_NEVER);
}

int instance_tasks_quiesce(struct instance *in, uint32_t cpu_idx)
{
	(void)in;
	(void)cpu_idx;
	return 0;
}

bool instance_tasks_bound(struct instance *in, uint32_t cpu_idx)
{
	(void)in;
	(void)cpu_idx;
	return false;
}

uint32_t instance_tasks_depth(const struct instance *in)
{
	(void)in;
	return 0;
}
