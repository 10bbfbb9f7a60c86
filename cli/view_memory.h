#ifndef APMP_CLI_VIEW_MEMORY_H
#define APMP_CLI_VIEW_MEMORY_H

/* Shared memory of the machine, decoded here with the layouts: what is odd is shown as odd. */

#include "cli/command.h"
#include "shm/wire/image_tree.h"

struct view {
	struct image image;
	struct image_tree tree;
	struct image_db db; /* of the community that was shown last */
};

/* Takes an image of the machine's databases: 0, or an exit code after saying why there is none. The
 * view is the caller's, to be closed. */
int cli_view_open(struct cli *cli, struct view **ret_view);
void cli_view_close(struct view *view);

/*
 * One entry of show for each community, or for the one of this name: 0 with the array, or an exit
 * code after saying that there is none. show gets view->db filled in, or has_db false, and gives a
 * new reference; NULL: nothing to show.
 */
int cli_view_communities(struct cli *cli, struct view *view, const char *name,
			 json_t *(*show)(struct view *view, const struct gct_community_node *c,
					 bool has_db),
			 json_t **ret_array);

/* The same of one community, and nothing is said; none (NULL) is none. */
json_t *cli_view_community(struct view *view, const char *name,
			   json_t *(*show)(struct view *view, const struct gct_community_node *c,
					   bool has_db));

/* A number, or as "0x..." one that JSON has not. */
json_t *cli_view_number(uint64_t value);
/* "alpha"; "alpha, incarnation 3" when that is not the one it lives now; odd ones as a number; null
 * for 0. */
json_t *cli_view_life(const struct view *view, uint64_t identity);
/* Names of the partitions in a mask; of bits that are none the number. */
json_t *cli_view_mask(const struct view *view, uint64_t mask);
json_t *cli_view_partition(const struct view *view, uint32_t id);
json_t *cli_view_name(const char *shared, size_t size);

#endif
