/*
 * sim_image.c - a run in the midst of it, kept, so that many ends can be tried from one beginning.
 *
 * WHAT      Everything a run is made of: struct sim, physical memory, what participants see in the
 *           arena, their private memory and the used part of their stacks, all at the addresses
 *           where they were.  Taken and brought back by the main stack while nobody runs, which
 *           costs some 20 microseconds; a run from power on to the same access costs 20 times that.
 * LIMITS    An image is good in the process that made it.  Where stacks can't be copied
 *           (coroutine_can_copy), exhaust.c runs from the beginning instead.
 */
#include <stdlib.h>
#include <string.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

struct sim_image {
	struct sim sim;
	struct sim_arena_image *arena;
	size_t stack_size[SIM_MAX_PARTICIPANTS];
	unsigned char *stack[SIM_MAX_PARTICIPANTS];
};

struct sim_image *sim_image_make(void)
{
	struct sim_image *image = calloc(1, sizeof(*image));

	apmp_assert(image);
	image->arena = sim_arena_image_make();
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		image->stack[i] = malloc(sim.participant[i].co.size);
		apmp_assert(image->stack[i]);
	}
	return image;
}

void sim_image_free(struct sim_image *image)
{
	if (!image)
		return;
	sim_arena_image_free(image->arena);
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++)
		free(image->stack[i]);
	free(image);
}

void sim_image_save(struct sim_image *image)
{
	image->sim = sim;
	sim_arena_save(image->arena);
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct coroutine *co = &sim.participant[i].co;
		const unsigned char *top = (unsigned char *)co->stack + co->size;

		image->stack_size[i] = co->live ? (size_t)(top - (unsigned char *)co->context) : 0;
		memcpy(image->stack[i], top - image->stack_size[i], image->stack_size[i]);
	}
}

void sim_image_load(const struct sim_image *image)
{
	sim_arena_load(image->arena);
	sim = image->sim;
	for (uint32_t i = 0; i < SIM_MAX_PARTICIPANTS; i++) {
		struct coroutine *co = &sim.participant[i].co;
		unsigned char *top = (unsigned char *)co->stack + co->size;

		memcpy(top - image->stack_size[i], image->stack[i], image->stack_size[i]);
	}
}
