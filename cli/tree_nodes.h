#ifndef APMP_CLI_TREE_NODES_H
#define APMP_CLI_TREE_NODES_H

/* The nodes that the method Tree gives, for text and for graphs. */

#include <stdbool.h>

#include <jansson.h>

/* A number of a node, -1 without it. */
json_int_t tree_number(const json_t *node, const char *key);
bool tree_is_type(const json_t *node, const char *type);
bool tree_has_flag(const json_t *node, const char *flag);

/* "cpu 3", "partition beta", "memory descriptor 0x40000000"; the caller frees it. */
char *tree_label(const json_t *node);

/* "fragment 0x40000000 private base"; the caller frees it. */
char *tree_fragment_label(const json_t *fragment);

/* Fragments of a memory descriptor; NULL for others. */
const json_t *tree_fragments(const json_t *node);

/* "24M" of a fragment or of all those of a memory descriptor, else "-"; the caller frees it. */
char *tree_size(const json_t *node);

/* Whether it has no parent among the nodes. */
bool tree_is_top(const json_t *nodes, const json_t *node);

#endif
