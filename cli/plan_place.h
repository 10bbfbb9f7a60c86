#ifndef APMP_CLI_PLAN_PLACE_H
#define APMP_CLI_PLAN_PLACE_H

/*
 * Which memory descriptor serves whom [0096, 0097, 0193]: each serves one domain, which is a
 * community with its partitions, or a partition that is in none.
 */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

enum { PLACE_FREE = -1 };

struct place_descriptor {
	json_int_t size;
	json_int_t kept; /* bytes of its domain that stay if it keeps it */
	int domain;	 /* PLACE_FREE: nobody's */
};

/*
 * Gives each domain descriptors of at least the size that it needs; as few bytes as can be found
 * lose their place. A descriptor whose domain is another one afterwards has to be emptied.
 * false: there was no way, and nothing is changed.
 */
bool place_domains(struct place_descriptor *descriptors, size_t count, const json_int_t *needs,
		   size_t domain_count);

#endif
