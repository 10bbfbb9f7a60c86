/*
 * nvram_text.h - the permanent half of the tree, to and from non-volatile memory [0065].
 */
#ifndef APMP_CONSOLE_NVRAM_TEXT_H
#define APMP_CONSOLE_NVRAM_TEXT_H

#include "console/console.h"

#define CONSOLE_NVRAM_FORMAT 1

/* Where a memory descriptor stands: its index among its block's, and the block's id. */
uint32_t console_nvram_place(struct console *c, const struct apmp_tree_node *desc,
			     uint64_t *ret_sbb);

/* Reads what the box found at power on.  0: c->nvram is its JSON.  -ENOENT: there is none, or the
 * machine file divides the machine in another way than when it was written: then the file holds.
 * -EBADMSG: it makes no sense; c->why says where. */
__attribute__((warn_unused_result)) int console_nvram_load(struct console *c);

/* Divides the machine, whose hardware is in the unpublished tree, as c->nvram says.  What is owned
 * and not there any more is kept in mind (absent) and told; what is there and not named is unowned.
 * -EBADMSG: it can't be done; c->why. */
__attribute__((warn_unused_result)) int console_nvram_restore(struct console *c);

/* Entries whose component is still absent and whose owner still exists; a new reference. */
json_t *console_nvram_absent(struct console *c);

#endif
