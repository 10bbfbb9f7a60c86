/*
 * `apmp db show`: the APMP database of a community, as it stands in its memory.
 *
 * WHAT      One JSON document, decoded from an image; the text is printed from it. What the layout
 *           does not know is shown with its value, after "odd:".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/analyze.h"
#include "cli/table.h"
#include "shm/service.h"

#define LOCK_WAITERS UINT64_C(0x8000)

static json_t *word_of(const char *const *names, size_t count, uint32_t value)
{
	char text[24];

	if (value < count && names[value])
		return json_string(names[value]);
	snprintf(text, sizeof(text), "odd: %u", value);
	return json_string(text);
}

static json_t *state_json(uint32_t state)
{
	static const char *const names[] = {[0] = "none",
#define X(name, value, text) [value] = text,
					    APMP_DB_STATES(X)
#undef X
	};

	return word_of(names, sizeof(names) / sizeof(names[0]), state);
}

static json_t *node_state_json(uint32_t state)
{
	static const char *const names[] = {[0] = "none",
#define X(name, value, text) [value] = text,
					    APMP_NODE_STATES(X)
#undef X
	};

	return word_of(names, sizeof(names) / sizeof(names[0]), state);
}

static json_t *reasons_json(uint64_t reasons)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} bits[] = {{APMP_REASON_BUGCHECK, "bugcheck"},
		    {APMP_REASON_MEMBERS, "members"},
		    {APMP_REASON_LOCKS, "locks"}};
	json_t *list = json_array();
	char text[32];

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (reasons & bits[i].bit)
			json_array_append_new(list, json_string(bits[i].name));
		reasons &= ~bits[i].bit;
	}
	snprintf(text, sizeof(text), "odd: %#" PRIx64, reasons);
	if (reasons)
		json_array_append_new(list, json_string(text));
	return list;
}

static json_t *range_json(uint64_t info)
{
	uint64_t pfn = info & UINT32_MAX, pa = pfn * APMP_PAGE_SIZE;

	return info ? json_pack("{s:I,s:I,s:I}", "pfn", (json_int_t)pfn, "pages",
				(json_int_t)(info >> 32), "pa", (json_int_t)pa)
		    : json_null();
}

/* Page frames in the order of the database; null those that are not in its memory. */
static json_t *pages_json(const struct image_db *db)
{
	json_t *pages = json_array();

	for (uint32_t i = 0; i < db->page_count; i++)
		json_array_append_new(pages, db->there[i] ? json_integer((json_int_t)db->pfn[i])
							  : json_null());
	return pages;
}

static json_t *services_json(const struct apmp_db_header *h)
{
	static const char *const names[] = {
#define X(name) #name,
	    APMP_SERVICES(X)
#undef X
	};
	json_t *services = json_array();

	for (uint32_t s = 0; s < APMP_DB_MAX_SERVICES; s++)
		if (h->service_mask >> s & 1 || h->segment[s].size)
			json_array_append_new(
			    services, json_pack("{s:o,s:I,s:I}", "name",
						word_of(names, sizeof(names) / sizeof(names[0]), s),
						"offset", (json_int_t)h->segment[s].off, "size",
						(json_int_t)h->segment[s].size));
	return services;
}

static json_t *brother_json(const struct view *view, uint32_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "odd: %u", id);
	return image_partition(&view->tree, id) ? cli_view_partition(view, id) : json_string(text);
}

static json_t *node_json(const struct view *view, const struct apmp_db *db, uint32_t id)
{
	const struct apmp_db_node *n = &db->node[id];

	return json_pack(
	    "{s:i,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id", (int)id, "partition",
	    cli_view_partition(view, id), "state", node_state_json(n->state), "member",
	    (int)(db->header.members >> id & 1), "incarnation", cli_view_life(view, n->identity),
	    "instance", cli_view_name(n->name, sizeof(n->name)), "heartbeat",
	    cli_view_number(n->heartbeat), "beats", cli_view_life(view, n->beat_of), "since_ns",
	    cli_view_number(n->since_ns), "big_brother", brother_json(view, n->big_brother),
	    "little_brother", brother_json(view, n->little_brother), "little_silent_ns",
	    cli_view_number(n->little_inactive_ns), "reasons", reasons_json(n->reasons),
	    "validated", cli_view_number(n->validated));
}

/* Of partitions that there are, or that a header of ours has as members; the rest is counted. */
static json_t *nodes_json(const struct view *view, const struct apmp_db *db, uint32_t *ret_others)
{
	bool ours = db->header.fingerprint == apmp_fingerprint(sizeof(*db));
	json_t *nodes = json_array();

	*ret_others = 0;
	for (uint32_t id = 0; id < APMP_MAX_PARTITIONS; id++) {
		bool member = db->header.members >> id & 1;

		if (!member && !db->node[id].state && !db->node[id].identity)
			continue;
		if (image_partition(&view->tree, id) || (ours && member))
			json_array_append_new(nodes, node_json(view, db, id));
		else
			++*ret_others;
	}
	return nodes;
}

static json_t *set_json(const struct view *view)
{
	const struct apmp_db *db = image_db_head(&view->db);
	const struct apmp_db_header *h = &db->header;
	uint64_t holder = h->lock & ~LOCK_WAITERS;
	uint32_t odd_nodes;
	json_t *nodes = nodes_json(view, db, &odd_nodes);

	return json_pack(
	    "{s:b,s:i,s:o,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:i}",
	    "ours", h->fingerprint == apmp_fingerprint(sizeof(*db)), "version",
	    (int)h->software_version, "state", state_json(h->state), "actor",
	    cli_view_life(view, h->actor), "lock_holder", cli_view_life(view, holder),
	    "lock_waited_for", (h->lock & LOCK_WAITERS) != 0, "incarnation",
	    cli_view_number(h->incarnation), "reformed_of",
	    h->reformed_of ? cli_view_number(h->reformed_of) : json_null(), "creator",
	    cli_view_life(view, h->creator), "creation_ns", cli_view_number(h->creation_ns),
	    "members", cli_view_mask(view, h->members), "expected",
	    cli_view_mask(view, h->expected), "validating", cli_view_mask(view, h->validate),
	    "crashing", cli_view_life(view, h->crashing), "removed",
	    cli_view_number(h->removed_count), "page_count", json_integer(h->page_count), "pages",
	    pages_json(&view->db), "pfn_list", range_json(h->pfn_list), "services",
	    services_json(h), "nodes", nodes, "odd_nodes", (int)odd_nodes);
}

static json_t *community_json(struct view *view, const struct gct_community_node *c, bool has_db)
{
	return json_pack("{s:o,s:o,s:o,s:o}", "community", cli_view_name(c->name, sizeof(c->name)),
			 "range", range_json(c->apmpdb_info), "other_range",
			 range_json(c->apmpdb_other), "database",
			 has_db ? set_json(view) : json_null());
}

/* ---- text ---- */

/* A string, a number, or "none". */
static char *text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return cli_text("%s", json_string_value(value));
	if (json_is_integer(value))
		return cli_text("%lld", (long long)json_integer_value(value));
	if (json_array_size(value))
		return cli_names_text(value);
	return cli_text("none");
}

static void line(const char *what, char *text)
{
	printf("  %-14s %s\n", what, text);
	free(text);
}

static void print_range(const char *what, const json_t *range)
{
	json_int_t pfn = json_integer_value(json_object_get(range, "pfn"));

	if (!json_is_object(range))
		line(what, cli_text("none"));
	else
		line(what, cli_text("%lld pages from page %lld on, at %#llx",
				    (long long)json_integer_value(json_object_get(range, "pages")),
				    (long long)pfn,
				    (unsigned long long)json_integer_value(
					json_object_get(range, "pa"))));
}

static void print_header(const json_t *db)
{
	static const char *const rows[][2] = {
	    {"incarnation", "incarnation"},  {"created by", "creator"},
	    {"re-formed of", "reformed_of"}, {"expected", "expected"},
	    {"members", "members"},	     {"validating", "validating"},
	    {"being removed", "crashing"},   {"removed", "removed"}};
	json_t *pages = json_object_get(db, "pages");
	char *state = text_of(db, "state"), *actor = text_of(db, "actor"), *listed;

	line("header", json_is_true(json_object_get(db, "ours"))
			   ? cli_text("of this build, version %lld",
				      (long long)json_integer_value(json_object_get(db, "version")))
			   : cli_text("odd: its fingerprint is not that of this build"));
	line("state", cli_text("%s, last moved by %s", state, actor));
	free(state);
	free(actor);
	line("lock",
	     cli_text(
		 "%s%s", json_is_null(json_object_get(db, "lock_holder")) ? "free" : "held by ",
		 json_is_null(json_object_get(db, "lock_holder")) ? ""
								  : cli_string(db, "lock_holder")));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		line(rows[i][0], text_of(db, rows[i][1]));
	listed = cli_numbers_text(pages);
	line("pages", cli_text("%zu, at page %s", json_array_size(pages), listed));
	free(listed);
	print_range("PFN list", json_object_get(db, "pfn_list"));
}

static void print_services(const struct cli *cli, const json_t *services)
{
	struct table *table = table_create("SERVICE >OFFSET >SIZE");

	for (size_t i = 0; i < json_array_size(services); i++) {
		const json_t *service = json_array_get(services, i);

		table_string(table, NULL, cli_string(service, "name"));
		table_cell(table, NULL, cli_number_text(service, "offset"));
		table_cell(table, NULL, cli_number_text(service, "size"));
	}
	table_print(table, cli);
}

static void print_nodes(const struct cli *cli, const json_t *nodes)
{
	static const char *const columns[] = {
	    "id",	 "partition",	"state",	 "incarnation",
	    "heartbeat", "big_brother", "little_brother"};
	struct table *table =
	    table_create(">ID PARTITION STATE INCARNATION-OF >HEARTBEAT BIG-BROTHER LITTLE-BROTHER "
			 ">LITTLE-SILENT REASONS");

	for (size_t i = 0; i < json_array_size(nodes); i++) {
		const json_t *node = json_array_get(nodes, i);
		json_int_t silent = json_integer_value(json_object_get(node, "little_silent_ns"));

		for (size_t k = 0; k < sizeof(columns) / sizeof(columns[0]); k++)
			table_cell(table, NULL, text_of(node, columns[k]));
		table_cell(table, NULL, cli_duration_text(silent));
		table_cell(table, NULL, text_of(node, "reasons"));
	}
	table_print(table, cli);
}

static void print_odd_nodes(json_int_t count)
{
	if (count)
		printf("odd: %lld more node block%s, of partitions that there are none of\n",
		       (long long)count, count > 1 ? "s" : "");
}

void cli_print_databases(struct cli *cli, const json_t *communities)
{
	for (size_t i = 0; i < json_array_size(communities); i++) {
		const json_t *c = json_array_get(communities, i),
			     *db = json_object_get(c, "database");

		printf("%scommunity %s\n", i ? "\n" : "", cli_string(c, "community"));
		print_range("range", json_object_get(c, "range"));
		print_range("other range", json_object_get(c, "other_range"));
		if (!json_is_object(db))
			continue;
		print_header(db);
		printf("\n");
		print_services(cli, json_object_get(db, "services"));
		printf("\n");
		print_nodes(cli, json_object_get(db, "nodes"));
		print_odd_nodes(json_integer_value(json_object_get(db, "odd_nodes")));
	}
}

json_t *cli_show_databases(struct view *view, const char *community)
{
	return cli_view_community(view, community, community_json);
}

int cli_db_show(struct cli *cli, const struct cli_args *args)
{
	struct view *view;
	json_t *communities;
	int r = cli_view_open(cli, &view);

	if (r != CLI_DONE)
		return r;
	r = cli_view_communities(cli, view, args->args[0], community_json, &communities);
	if (r == CLI_DONE && cli->json)
		cli_print_json(communities);
	else if (r == CLI_DONE)
		cli_print_databases(cli, communities);
	if (r == CLI_DONE)
		json_decref(communities);
	cli_view_close(view);
	return r;
}
