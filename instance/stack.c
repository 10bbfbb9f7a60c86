/* stack.c - stacks of threads, in private memory. */
#include <errno.h>
#include <stddef.h>

#include "instance/instance.h"
#include "shm/shared.h"

unsigned char *instance_stack_take(struct instance *in, uint64_t size)
{
	uint64_t used = apmp_load_relaxed(&in->stacks_used);

	do
		if (!in->stacks || in->stacks_size - used < size)
			return NULL;
	while (!apmp_cas(&in->stacks_used, &used, used + size));
	return in->stacks + used;
}

int instance_stack(struct instance *in, pthread_attr_t *attr)
{
	unsigned char *stack = instance_stack_take(in, INSTANCE_STACK_SIZE);

	return stack ? -pthread_attr_setstack(attr, stack, INSTANCE_STACK_SIZE) : -ENOMEM;
}
