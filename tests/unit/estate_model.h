/*
 * estate_model.h - an estate as it should be: the rules of the configuration once more, simply, on
 * arrays instead of a tree.
 *
 * Memory is an owner for each granule; components are rows of a table.  Owners are handles, which
 * a model takes from the estate.
 */
#ifndef APMP_TESTS_ESTATE_MODEL_H
#define APMP_TESTS_ESTATE_MODEL_H

#include "tests/unit/estate.h"

#define MODEL_COMPONENTS 40u
#define MODEL_IDS	 APMP_MAX_PARTITIONS
#define MODEL_GRANULES	 16u

struct model_component {
	int32_t handle;
	uint8_t type;
	int parent, config; /* rows; -1 is the hardware root */
	int32_t owner, current;
};

/* A partition or community. */
struct model_software {
	bool exists, initialized;
	int32_t handle;
	int32_t community; /* of a partition: handle, 0 none */
	char name[APMP_NAME_SIZE];
};

struct model_granule {
	int32_t owner, current;
	uint32_t piece; /* granted together; 0 free */
	uint32_t flags;
};

struct model {
	const struct estate *e;
	struct model_component component[MODEL_COMPONENTS];
	int components;
	struct model_software part[MODEL_IDS], comm[MODEL_IDS];
	struct model_granule granule[ESTATE_DESCS][MODEL_GRANULES];
	uint32_t pieces;
	int holder; /* of the tree lock: partition id, -1 nobody */
};

void model_init(struct model *m, const struct estate *e);

/* Whether the request should be done; if so, does it.  For memory anywhere, and for what is
 * created, ret is what the estate answered, which must be one of the right answers. */
bool model_ask(struct model *m, int32_t by, const struct apmp_call_request *request,
	       const struct apmp_configured *ret);
void model_boot(struct model *m, uint32_t id);
void model_halt(struct model *m, uint32_t id);

/* Fails the test when the estate is not like the model. */
void model_compare(const struct model *m);

#endif
