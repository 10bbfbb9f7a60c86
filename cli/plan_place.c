/*
 * plan_place.c - which memory descriptor serves which domain.
 *
 * WHAT      A domain that lacks memory gets free descriptors: the smallest that is enough, else the
 *           largest. When none is free, one is taken from a domain that can do without it, the one
 *           with the least in it. When that leads nowhere, all are dealt anew. Either is tried with
 *           the domain first that needs most, then with the one that needs least.
 * LIMITS    This is bin covering: a way can exist that is not found.
 */
#include "cli/plan_place.h"

#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

struct deal {
	struct place_descriptor *descriptors;
	size_t count;
	const json_int_t *needs;
};

static json_int_t capacity(const struct deal *deal, int domain)
{
	json_int_t size = 0;

	for (size_t i = 0; i < deal->count; i++)
		if (deal->descriptors[i].domain == domain)
			size += deal->descriptors[i].size;
	return size;
}

static bool is_better(const struct place_descriptor *one, const struct place_descriptor *other,
		      json_int_t missing)
{
	bool enough = one->size >= missing;

	if (!other || enough != (other->size >= missing))
		return !other || enough;
	return enough ? one->size < other->size : one->size > other->size;
}

static struct place_descriptor *find_free(const struct deal *deal, json_int_t missing)
{
	struct place_descriptor *best = NULL;

	for (size_t i = 0; i < deal->count; i++) {
		struct place_descriptor *one = &deal->descriptors[i];

		if (one->domain == PLACE_FREE && is_better(one, best, missing))
			best = one;
	}
	return best;
}

/* Of a domain that has enough without it. */
static struct place_descriptor *find_spare(const struct deal *deal, int domain)
{
	struct place_descriptor *best = NULL;

	for (size_t i = 0; i < deal->count; i++) {
		struct place_descriptor *one = &deal->descriptors[i];

		if (one->domain == PLACE_FREE || one->domain == domain ||
		    capacity(deal, one->domain) - one->size < deal->needs[one->domain])
			continue;
		if (!best || one->kept < best->kept)
			best = one;
	}
	return best;
}

static bool serve(const struct deal *deal, int domain)
{
	json_int_t missing;

	while ((missing = deal->needs[domain] - capacity(deal, domain)) > 0) {
		struct place_descriptor *one = find_free(deal, missing);

		if (!one)
			one = find_spare(deal, domain);
		if (!one)
			return false;
		one->domain = domain;
	}
	return true;
}

/* Those that need most are served first, or last. */
static bool serve_all(const struct deal *deal, size_t domain_count, bool most_first)
{
	bool *served = calloc(domain_count + 1, sizeof(*served));
	bool found = true;

	if (!served)
		cli_out_of_memory();
	for (size_t turn = 0; found && turn < domain_count; turn++) {
		size_t next = domain_count;

		for (size_t i = 0; i < domain_count; i++)
			if (!served[i] && (next == domain_count ||
					   (deal->needs[i] > deal->needs[next]) == most_first))
				next = i;
		served[next] = true;
		found = serve(deal, (int)next);
	}
	free(served);
	return found;
}

bool place_domains(struct place_descriptor *descriptors, size_t count, const json_int_t *needs,
		   size_t domain_count)
{
	struct deal deal = {.count = count, .needs = needs};
	size_t size = count * sizeof(*descriptors);
	bool found = false;

	deal.descriptors = malloc(size + 1);
	if (!deal.descriptors)
		cli_out_of_memory();
	for (int way = 0; !found && way < 4; way++) {
		memcpy(deal.descriptors, descriptors, size);
		for (size_t i = 0; way >= 2 && i < count; i++)
			deal.descriptors[i].domain = PLACE_FREE;
		found = serve_all(&deal, domain_count, way % 2 == 0);
	}
	if (found)
		memcpy(descriptors, deal.descriptors, size);
	free(deal.descriptors);
	return found;
}
