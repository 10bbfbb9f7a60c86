/*
 * page_fault.h - pages of shared memory that go bad.
 */
#ifndef APMP_CONSOLE_PAGE_FAULT_H
#define APMP_CONSOLE_PAGE_FAULT_H

#include "console/console.h"

/* Marks a page of the community's shared memory bad, and tells it; by: who found it, or NULL.
 * -ENXIO: no such page; -EALREADY: it is marked; -ENOSPC: the tree has no room for a bitmap. */
APMP_CHECK int console_page_bad(struct console *c, int32_t community, uint64_t pfn,
				struct partition *by);
/* Injects "page-bad" or "garbage" and answers; false: it is another fault. */
bool console_inject_page(struct console *c, struct varlink_call *call, const json_t *parameters);

#endif
