/*
 * check.c - an image is judged: what the checks share, and their order.
 *
 * WHAT      The tree comes first: everything else is found and named by it, so where its structure
 *           is broken nothing more is said.  Then memory, CPUs, and each community's database with
 *           its services; at last what must not change from one image to the next but one way.
 * LIMITS    CHECK_FINDINGS_MAX findings, CHECK_NODES_MAX nodes.  A CPU in transit is not told from
 *           one that nobody has: the console's own state is not in an image.
 * NOT HERE  Which finding counts on a machine that moves (check_live.c).
 */
#include "chaos/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "shm/layout_intr.h"

const struct check_info check_infos[CHECK_COUNT] = {
#define X(symbol, id, paragraph, holds) [CHECK_##symbol] = {id, paragraph, holds},
#include "chaos/checks.def"
#undef X
};

void found(struct check *c, enum check_id id, const char *format, ...)
{
	struct findings *all = c->findings;
	struct finding *f = &all->finding[all->count];
	va_list args;

	if (all->count == CHECK_FINDINGS_MAX) {
		all->lost++;
		return;
	}
	*f = (struct finding){.check = id, .community = c->at, .stamp = c->stamp};
	va_start(args, format);
	vsnprintf(f->what, sizeof(f->what), format, args);
	va_end(args);
	all->count++;
}

uint32_t check_partition_at(const struct check *c, int32_t handle)
{
	const struct gct_node *n = handle ? image_node(&c->tree, handle) : NULL;

	return n && n->type == GCT_PARTITION && n->id < APMP_MAX_PARTITIONS &&
		       c->partition[n->id] && &c->partition[n->id]->hd == n
		   ? (uint32_t)n->id
		   : APMP_NO_PARTITION;
}

struct check_text check_owner(const struct check *c, int32_t handle)
{
	const struct gct_node *n = image_node(&c->tree, handle);
	uint32_t id = n ? (uint32_t)n->id % APMP_MAX_PARTITIONS : 0;
	struct check_text t;

	if (!handle)
		snprintf(t.text, sizeof(t.text), "nobody");
	else if (n && n->type == GCT_PARTITION)
		snprintf(t.text, sizeof(t.text), "partition \"%s\"", c->partition_name[id]);
	else if (n && n->type == GCT_COMMUNITY)
		snprintf(t.text, sizeof(t.text), "community \"%s\"", c->community_name[id]);
	else
		snprintf(t.text, sizeof(t.text), "node %" PRId32, handle);
	return t;
}

struct check_text check_life(const struct check *c, uint64_t identity)
{
	uint32_t id = apmp_identity_id(identity);
	struct check_text t;

	if (!identity)
		snprintf(t.text, sizeof(t.text), "nobody");
	else if (id == APMP_NO_PARTITION || !c->partition[id])
		snprintf(t.text, sizeof(t.text), "%#" PRIx64 ", which is nobody", identity);
	else
		snprintf(t.text, sizeof(t.text), "life %" PRIu64 " of \"%s\"",
			 apmp_identity_incarnation(identity), c->partition_name[id]);
	return t;
}

const struct hwrpb *check_hwrpb(const struct check *c, uint32_t id)
{
	const struct gct_partition_node *p = c->partition[id];
	const uint64_t head = offsetof(struct hwrpb, slot);
	const struct hwrpb *h = p ? image_at(c->image, p->hwrpb, head) : NULL;

	if (!h || h->cpu_count > APMP_MAX_CPUS)
		return NULL;
	return image_at(c->image, p->hwrpb, head + h->cpu_count * sizeof(struct hwrpb_slot));
}

bool check_alive(const struct check *c, uint64_t identity)
{
	uint32_t id = apmp_identity_id(identity);

	return id != APMP_NO_PARTITION && c->partition[id] &&
	       image_present(c->partition[id]) == identity;
}

uint64_t check_initialized(const struct check *c, uint32_t id)
{
	const struct gct_partition_node *p = c->partition[id];

	return p && p->hd.node_flags & NODE_INITIALIZED ? image_present(p) : 0;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	const uint64_t most = UINT64_C(10000000000); /* a garbled word must not keep us waiting */

	b = b < most ? b : most;
	return a > b ? a : b;
}

void check_timing(const struct check *c, uint64_t *ret_tick_ns, uint64_t *ret_stop_ns)
{
	*ret_tick_ns = 1000000;
	*ret_stop_ns = 10000000;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct hwrpb *h = check_hwrpb(c, id);

		if (!h || !check_initialized(c, id))
			continue;
		*ret_tick_ns = longer(*ret_tick_ns, h->tick_ns);
		*ret_stop_ns = longer(*ret_stop_ns, h->stop_ns);
	}
}

/* Names and places of what the tree has. */
static void learn(struct check *c)
{
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		c->partition[id] = image_partition(&c->tree, id);
		c->community[id] = image_community(&c->tree, id);
		if (c->partition[id])
			IMAGE_NAME(c->partition[id]->name, c->partition_name[id]);
		if (c->community[id])
			IMAGE_NAME(c->community[id]->name, c->community_name[id]);
	}
	for (uint32_t i = 0; i < c->node_count; i++) {
		const struct gct_node *n = image_node(&c->tree, c->node[i]);

		if (n->type == GCT_CPU && !(n->node_flags & NODE_HW_TEMPLATE) &&
		    n->id < APMP_MAX_CPUS)
			c->cpu[n->id] = (struct check_cpu){(const void *)n, c->node[i]};
	}
}

int check_image(const struct image *image, const struct image *before, struct check *ret_check,
		struct findings *ret_findings)
{
	struct check *c = ret_check;

	memset(c, 0, sizeof(*c));
	memset(ret_findings, 0, sizeof(*ret_findings));
	c->image = image;
	c->before = before;
	c->at = CHECK_ANYWHERE;
	c->findings = ret_findings;
	if (image_tree(image, &c->tree)) {
		found(c, CHECK_tree_header, "there is no tree at %#" PRIx64, image->tree_pa);
		return 0;
	}
	c->claimed = calloc(c->tree.size / GCT_ALIGN + 1, 1);
	if (!c->claimed)
		return -ENOMEM;
	check_tree(c);
	if (c->tree_good) {
		learn(c);
		check_memory(c);
		check_cpus(c);
		for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
			if (!c->community[id] || !c->community[id]->apmpdb_info)
				continue;
			c->at = id;
			check_database(c, id);
			c->at = CHECK_ANYWHERE;
			c->stamp = 0;
		}
		if (before)
			check_order(c);
	}
	free(c->claimed);
	c->claimed = NULL;
	return 0;
}
