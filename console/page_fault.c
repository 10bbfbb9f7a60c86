/*
 * page_fault.c - pages of shared memory that go bad [0277]: told by an instance, or on purpose.
 *
 * A page is marked in the tested bitmap of its memory descriptor, which gets one when it had none,
 * and every CPU is interrupted.  Garbage is written and marked nowhere: its finder is to find it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "console/operator.h"
#include "console/page_fault.h"
#include "shm/db_place.h"
#include "shm/shared.h"

int console_page_bad(struct console *c, int32_t community, uint64_t pfn, struct partition *by)
{
	const uint64_t pa = pfn * APMP_PAGE_SIZE;
	struct apmp_tree_fragment f, first;
	int err, good;

	if (pfn > UINT32_MAX || apmp_tree_memory_at(&c->tw.tree, pa, &f) || f.owner != community)
		return -ENXIO;
	good = apmp_tree_page_good(&c->tw.tree, pa);
	if (good <= 0)
		return good ? good : -EALREADY;
	err = apmp_tree_fragment(&c->tw.tree, f.desc, 0, &first);
	if (err)
		return err;
	apmp_update_begin(&c->update);
	err = apmp_tree_mark_bad(&c->tw, f.desc, (pa - first.pa) / APMP_PAGE_SIZE);
	if (err) {
		apmp_update_abort(&c->update);
		return err;
	}
	apmp_update_commit(&c->update); /* it interrupts everybody */
	console_event(c, "page.bad", by, "{s:I}", "pfn", (json_int_t)pfn);
	return 0;
}

/* Writes over all of a page of shared memory. */
static int scribble(struct console *c, int32_t community, uint64_t pfn)
{
	uint64_t pa = pfn * APMP_PAGE_SIZE, begin, noise = pfn + 1;
	struct apmp_tree_fragment f;
	_Atomic uint64_t *word;
	void *page;
	int fd;

	if (pfn > UINT32_MAX || apmp_tree_memory_at(&c->tw.tree, pa, &f) || f.owner != community ||
	    console_ram_find(c, community, f.pa, f.size, &fd, &begin))
		return -ENXIO;
	page =
	    mmap(NULL, APMP_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(pa - begin));
	if (page == MAP_FAILED)
		return -errno;
	word = page;
	for (uint32_t i = 0; i < APMP_PAGE_SIZE / sizeof(*word); i++) {
		noise = noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		apmp_store_relaxed(&word[i], noise);
	}
	munmap(page, APMP_PAGE_SIZE);
	return 0;
}

static void refuse(struct varlink_call *call, const char *reason)
{
	varlink_call_error(call, "Refused", json_pack("{s:s}", "reason", reason));
}

/* Which page: arg.pfn, a page frame; or arg.page, a page of the database.  0: there is none. */
static uint64_t wanted_page(struct console *c, const struct apmp_tree_community *community,
			    const json_t *arg)
{
	const json_t *pfn = json_object_get(arg, "pfn"), *page = json_object_get(arg, "page");
	json_int_t number = json_integer_value(pfn ? pfn : page);

	if (number < 0)
		return 0;
	return pfn ? (uint64_t)number : console_db_page(c, community, (uint64_t)number);
}

bool console_inject_page(struct console *c, struct varlink_call *call, const json_t *parameters)
{
	const char *fault = text_of(parameters, "fault"), *name = text_of(parameters, "partition");
	bool bad = strcmp(fault, "page-bad") == 0;
	struct apmp_tree_community community;
	struct apmp_tree_node node;
	uint64_t pfn;
	int32_t owner;
	int err;

	if (!bad && strcmp(fault, "garbage") != 0)
		return false;
	if (console_partition(c, name)) {
		refuse(call, "pages of a community's shared memory go bad: name a community");
		return true;
	}
	owner = console_wanted_community(c, call, name);
	if (!owner)
		return true;
	if (apmp_tree_node(&c->tw.tree, owner, &node) ||
	    apmp_tree_community(&c->tw.tree, (uint32_t)node.id, &community)) {
		refuse(call, "the configuration tree does not show that community");
		return true;
	}
	if (json_object_get(parameters, "point")) {
		refuse(call, "a page goes bad at once and not at a point: leave the point out");
		return true;
	}
	pfn = wanted_page(c, &community, json_object_get(parameters, "arg"));
	err = !pfn ? -ENXIO : bad ? console_page_bad(c, owner, pfn, NULL) : scribble(c, owner, pfn);
	if (err) {
		refuse(call, err == -ENXIO	? "the community has no such page"
			     : err == -EALREADY ? "that page is bad already"
						: "the tree has no room to mark it");
		return true;
	}
	console_event(c, "fault.injected", NULL, "{s:s,s:s,s:I}", "fault", fault, "community",
		      community.name, "pfn", (json_int_t)pfn);
	varlink_call_reply(call, NULL);
	return true;
}
