/* stack.c - stacks of threads, in private memory. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

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

unsigned char *instance_stack_apart(unsigned char *stack, uint64_t size)
{
	unsigned char *gap = mmap(NULL, INSTANCE_STACK_GAP + size, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (gap == MAP_FAILED)
		return NULL;
	/* An old size of 0: one more mapping of the same memory.  The first one stays, as a hole
	 * in it would be where the next mapping goes. */
	if (mremap(stack, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, gap + INSTANCE_STACK_GAP) ==
	    MAP_FAILED) {
		munmap(gap, INSTANCE_STACK_GAP + size);
		return NULL;
	}
	return gap + INSTANCE_STACK_GAP;
}

int instance_stack(struct instance *in, pthread_attr_t *attr)
{
	unsigned char *stack = instance_stack_take(in, INSTANCE_STACK_SIZE);

	return stack ? -pthread_attr_setstack(attr, stack, INSTANCE_STACK_SIZE) : -ENOMEM;
}
