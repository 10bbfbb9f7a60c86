/* stack.c - stacks of threads, in private memory. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/box.h"

/* Whole pages of private memory, never given back.  NULL: there is not so much. */
static unsigned char *take(struct instance *in, uint64_t size)
{
	uint64_t used = apmp_load_relaxed(&in->stacks_used);

	do
		if (!in->stacks || in->stacks_size - used < size)
			return NULL;
	while (!apmp_cas(&in->stacks_used, &used, used + size));
	return in->stacks + used;
}

unsigned char *instance_stack_take(struct instance *in, uint64_t size)
{
	unsigned char *gap = mmap(NULL, APMP_INSTANCE_STACK_GAP + size, PROT_NONE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned char *stack = gap == MAP_FAILED ? NULL : take(in, size);

	/* An old size of 0: one more mapping of the same memory.  The first one stays, as a hole
	 * in it would be where the next mapping goes. */
	if (stack && mremap(stack, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			    gap + APMP_INSTANCE_STACK_GAP) != MAP_FAILED)
		return gap + APMP_INSTANCE_STACK_GAP;
	/* Refused now, when there are too many mappings, its memory is lost. */
	if (gap != MAP_FAILED)
		munmap(gap, APMP_INSTANCE_STACK_GAP + size);
	return NULL;
}

int instance_stack(struct instance *in, pthread_attr_t *attr)
{
	unsigned char *stack = instance_stack_take(in, APMP_INSTANCE_STACK_SIZE);

	return stack ? -pthread_attr_setstack(attr, stack, APMP_INSTANCE_STACK_SIZE) : -ENOMEM;
}
