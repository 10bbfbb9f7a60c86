/* `apmp lock list`: the named locks of each sharing set, as they stand in its memory. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/analyze.h"
#include "cli/table.h"
#include "shm/layout_lock.h"
#include "shm/service.h"

static json_t *broken_by_json(const struct view *view, uint64_t word)
{
	return word == APMP_LOCK_BY_REFORMING ? json_string("re-forming")
					      : cli_view_life(view, apmp_lock_identity(word));
}

static json_t *lock_json(const struct view *view, const struct gct_community_node *c, uint32_t idx,
			 const struct apmp_db_lock *lock)
{
	uint64_t word = lock->word;

	return json_pack(
	    "{s:o,s:i,s:o,s:I,s:o,s:i,s:b,s:o,s:o,s:o,s:o,s:o}", "community",
	    cli_view_name(c->name, sizeof(c->name)), "index", (int)idx, "name",
	    cli_view_name(lock->name, sizeof(lock->name)), "rank", (json_int_t)lock->rank, "holder",
	    cli_view_life(view, apmp_lock_identity(word)), "locker", (int)apmp_lock_locker(word),
	    "waited_for", (word & APMP_LOCK_WAITERS) != 0, "broken_by",
	    broken_by_json(view, lock->broken_by), "openers", cli_view_mask(view, lock->openers),
	    "acquired", cli_view_number(lock->acquired_count), "contended",
	    cli_view_number(lock->contended_count), "broken", cli_view_number(lock->broken_count));
}

static json_t *locks_json(struct view *view, const struct gct_community_node *c, bool has_db)
{
	const struct apmp_db_header *h = &image_db_head(&view->db)->header;
	const struct apmp_db_locks *locks =
	    has_db && h->service_mask >> APMP_SERVICE_lock & 1
		? image_db_at(&view->db, h->segment[APMP_SERVICE_lock].off, sizeof(*locks))
		: NULL;
	json_t *list = json_array();

	/* A slot that nobody has open is free; one that is held all the same is shown, and one
	 * that is broken: the next who opens its name is told. */
	for (uint32_t i = 0; locks && i < APMP_LOCK_COUNT; i++)
		if (locks->lock[i].openers || locks->lock[i].word || locks->lock[i].broken_by)
			json_array_append_new(list, lock_json(view, c, i, &locks->lock[i]));
	return list;
}

void cli_print_locks(struct cli *cli, const json_t *locks)
{
	struct table *table =
	    table_create("LOCK COMMUNITY >RANK HOLDER >LOCKER WAITED-FOR BROKEN-BY "
			 "OPEN-IN >ACQUIRED >CONTENDED >BROKEN");

	for (size_t i = 0; i < json_array_size(locks); i++) {
		const json_t *lock = json_array_get(locks, i);
		bool held = json_is_string(json_object_get(lock, "holder"));
		bool waited = json_is_true(json_object_get(lock, "waited_for"));

		table_string(table, NULL, cli_string(lock, "name"));
		table_string(table, NULL, cli_string(lock, "community"));
		table_cell(table, NULL, cli_number_text(lock, "rank"));
		table_string(table, NULL, cli_string(lock, "holder"));
		table_cell(table, NULL, held ? cli_number_text(lock, "locker") : cli_text("-"));
		table_string(table, NULL, waited ? "yes" : "-");
		table_string(table, NULL, cli_string(lock, "broken_by"));
		table_cell(table, NULL, cli_names_text(json_object_get(lock, "openers")));
		table_cell(table, NULL, cli_number_text(lock, "acquired"));
		table_cell(table, NULL, cli_number_text(lock, "contended"));
		table_cell(table, NULL, cli_number_text(lock, "broken"));
	}
	table_print(table, cli);
}

json_t *cli_show_locks(struct view *view, const char *community)
{
	json_t *communities = cli_view_community(view, community, locks_json);
	json_t *locks = json_array_size(communities) ? json_incref(json_array_get(communities, 0))
						     : json_array();

	json_decref(communities);
	return locks;
}

int cli_lock_list(struct cli *cli, const struct cli_args *args)
{
	json_t *communities, *locks = json_array();
	struct view *view;
	int r = cli_view_open(cli, &view);

	if (r == CLI_DONE) {
		r = cli_view_communities(cli, view, args->args[0], locks_json, &communities);
		for (size_t i = 0; r == CLI_DONE && i < json_array_size(communities); i++)
			json_array_extend(locks, json_array_get(communities, i));
		if (r == CLI_DONE)
			json_decref(communities);
		cli_view_close(view);
	}
	if (r == CLI_DONE && cli->json)
		cli_print_json(locks);
	else if (r == CLI_DONE)
		cli_print_locks(cli, locks);
	json_decref(locks);
	return r;
}
