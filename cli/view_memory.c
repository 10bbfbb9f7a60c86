/* Images of shared memory, for the verbs that decode it. */
#include "cli/view_memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

int cli_view_open(struct cli *cli, struct view **ret_view)
{
	struct image_plan plan = {0};
	struct varlink_client *client;
	struct varlink_reply reply;
	struct machine machine;
	struct view *view;
	int r = cli_connect(cli, &machine, &client);

	if (r != CLI_DONE)
		return r;
	view = calloc(1, sizeof(*view));
	if (!view)
		cli_out_of_memory();
	r = image_fetch(client, IMAGE_DATABASES, &plan, &view->image, &reply);
	varlink_client_close(client);
	if (r == -EREMOTEIO) {
		r = cli_refuse(cli, CLI_REFUSED, reply.error, json_incref(reply.parameters));
		varlink_reply_fini(&reply);
	} else if (r < 0) {
		r = cli_no_answer(cli, &machine, r);
	} else if (image_tree(&view->image, &view->tree)) {
		r = cli_no_answer(cli, &machine, -EBADMSG);
	}
	if (r == CLI_DONE)
		*ret_view = view;
	else
		cli_view_close(view);
	return r;
}

void cli_view_close(struct view *view)
{
	image_fini(&view->image);
	free(view);
}

int cli_view_communities(struct cli *cli, struct view *view, const char *name,
			 json_t *(*show)(struct view *view, const struct gct_community_node *c,
					 bool has_db),
			 json_t **ret_array)
{
	json_t *array = json_array();
	bool found = !name;

	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		const struct gct_community_node *c = image_community(&view->tree, id);
		char its[APMP_NAME_SIZE];
		json_t *shown;

		if (!c)
			continue;
		IMAGE_NAME(c->name, its);
		if (name && strcmp(its, name) != 0)
			continue;
		found = true;
		shown =
		    show(view, c,
			 c->apmpdb_info && image_db(&view->image, c->apmpdb_info, &view->db) == 0);
		if (shown)
			json_array_append_new(array, shown);
	}
	if (!found) {
		json_decref(array);
		return cli_refuse(cli, CLI_REFUSED, VARLINK_MACHINE ".NoSuchCommunity",
				  json_pack("{s:s}", "community", name));
	}
	*ret_array = array;
	return CLI_DONE;
}

json_t *cli_view_community(struct view *view, const char *name,
			   json_t *(*show)(struct view *view, const struct gct_community_node *c,
					   bool has_db))
{
	struct cli quiet = {.quiet = true};
	json_t *array;

	if (!name || cli_view_communities(&quiet, view, name, show, &array) != CLI_DONE)
		return json_array();
	return array;
}

json_t *cli_view_number(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%#" PRIx64, value);
	return json_string(text);
}

json_t *cli_view_name(const char *shared, size_t size)
{
	char name[256];

	image_name(shared, size, name, sizeof(name));
	return json_string(name);
}

json_t *cli_view_partition(const struct view *view, uint32_t id)
{
	const struct gct_partition_node *p = image_partition(&view->tree, id);

	return p ? cli_view_name(p->name, sizeof(p->name)) : json_integer(id);
}

json_t *cli_view_life(const struct view *view, uint64_t identity)
{
	uint32_t id = apmp_identity_id(identity);
	const struct gct_partition_node *p = image_partition(&view->tree, id);
	char name[APMP_NAME_SIZE], text[80];

	if (!identity)
		return json_null();
	if (!p) {
		snprintf(text, sizeof(text), "odd: %#" PRIx64, identity);
		return json_string(text);
	}
	IMAGE_NAME(p->name, name);
	if (image_present(p) == identity)
		return json_string(name);
	snprintf(text, sizeof(text), "%s, incarnation %" PRIu64, name,
		 apmp_identity_incarnation(identity));
	return json_string(text);
}

json_t *cli_view_mask(const struct view *view, uint64_t mask)
{
	json_t *names = json_array();
	char text[16];

	for (; mask; mask &= mask - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(mask);

		snprintf(text, sizeof(text), "odd: %u", id);
		json_array_append_new(names, image_partition(&view->tree, id)
						 ? cli_view_partition(view, id)
						 : json_string(text));
	}
	return names;
}
