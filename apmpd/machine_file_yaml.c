/*
 * The YAML under a machine file: libfyaml's tree as values with positions, and the two shapes
 * that everything else is made of, mappings by table and lists.
 *
 * LIMITS	Aliases are resolved one at a time on the way, never by libfyaml in advance: a chain
 *	of aliases that stands for a billion nodes costs nothing, and one that contains itself
 *	ends where the tables end. Lists are cut at their limit. libfyaml itself stops at a
 *	depth of 64. Tags are ignored; merge keys (<<) are unknown keys. libfyaml has no place
 *	for an empty item of a list (a dash alone): it is said to stand where its list does.
 *	libfyaml 0.7.12 itself may crash where malloc fails; what it survives is reported.
 */
#include "apmpd/machine_file_yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ALIAS_CHAIN 8 /* an alias of an alias of ... */

/* ---- values and where they stand ---- */

/* libfyaml's mark stands behind the quote or asterisk that a person sees the value start with. */
static bool has_indicator(struct fy_node *node)
{
	enum fy_node_style style = fy_node_get_style(node);

	return style == FYNS_ALIAS || style == FYNS_DOUBLE_QUOTED || style == FYNS_SINGLE_QUOTED;
}

/*
 * libfyaml 0.7 tells the place of a scalar, but that of a collection only in its own reports: so
 * one is made, read and thrown away.
 */
static bool node_pos(struct walk *walk, struct fy_node *node, struct machine_pos *ret_at)
{
	struct fy_token *token = fy_node_is_scalar(node) ? fy_node_get_scalar_token(node) : NULL;
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
	struct fy_diag_error *report;
	void *iterator = NULL;
	bool found = false;

	if (mark) {
		*ret_at = (struct machine_pos){.line = (uint32_t)mark->line + 1,
					       .column = (uint32_t)mark->column + 1};
		if (has_indicator(node) && ret_at->column > 1)
			ret_at->column--;
		return true;
	}
	fy_diag_node_report(walk->where, node, FYET_ERROR, "here");
	report = fy_diag_errors_iterate(walk->where, &iterator);
	if (report && report->line > 0 && report->column > 0) {
		*ret_at = (struct machine_pos){.line = (uint32_t)report->line,
					       .column = (uint32_t)report->column};
		found = true;
	}
	fy_diag_reset_error(walk->where);
	return found;
}

bool apmp__value_is(const struct value *value, const char *word)
{
	return value->size == strlen(word) && memcmp(value->text, word, value->size) == 0;
}

static enum value_kind scalar_kind(const struct value *value)
{
	if (!value->quoted &&
	    (value->size == 0 || apmp__value_is(value, "~") || apmp__value_is(value, "null")))
		return VALUE_NULL;
	return VALUE_SCALAR;
}

static struct value broken_alias(struct walk *walk, struct fy_node *node, struct value value)
{
	size_t size = 0;
	const char *name = fy_node_get_scalar(node, &size);
	char quote[APMP__QUOTE_SIZE];

	apmp__machine_printable(name ? name : "", size, quote, sizeof(quote));
	apmp__machine_error(walk->errors, value.at,
			    "expected an alias of an anchor (&%s) that stands above, found '*%s'",
			    quote, quote);
	value.kind = VALUE_BROKEN;
	return value;
}

/* What a node means. An alias stands where it is written; nothing stands where its parent does. */
struct value apmp__value_of(struct walk *walk, struct fy_node *node, struct machine_pos parent)
{
	struct value value = {.at = {.line = parent.line, .column = parent.column}};
	unsigned chain = 0;

	if (!node) {
		value.kind = VALUE_NULL;
		return value;
	}
	node_pos(walk, node, &value.at);
	while (fy_node_is_alias(node)) {
		struct fy_node *target = ++chain > ALIAS_CHAIN ? NULL : fy_node_resolve_alias(node);

		if (!target)
			return broken_alias(walk, node, value);
		node = target;
	}
	value.node = node;
	if (fy_node_is_sequence(node)) {
		value.kind = VALUE_LIST;
	} else if (fy_node_is_mapping(node)) {
		value.kind = VALUE_MAPPING;
	} else {
		enum fy_node_style style = fy_node_get_style(node);

		value.text = fy_node_get_scalar(node, &value.size);
		if (!value.text) {
			value.size = 0;
			walk->no_memory = walk->no_memory || !fy_node_is_null(node);
		}
		value.quoted = style != FYNS_PLAIN && style != FYNS_ANY && value.text;
		value.kind = scalar_kind(&value);
	}
	return value;
}

/* "expected WHAT, found WHAT STANDS THERE". Always false, to be returned. */
bool apmp__expected(struct walk *walk, const struct value *value, const char *format, ...)
{
	char what[160], quote[APMP__QUOTE_SIZE];
	va_list args;

	if (value->kind == VALUE_BROKEN)
		return false;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	switch (value->kind) {
	case VALUE_SCALAR:
		apmp__machine_printable(value->text, value->size, quote, sizeof(quote));
		apmp__machine_error(walk->errors, value->at, "expected %s, found '%s'", what,
				    quote);
		break;
	case VALUE_LIST:
		apmp__machine_error(walk->errors, value->at, "expected %s, found a list", what);
		break;
	case VALUE_MAPPING:
		apmp__machine_error(walk->errors, value->at, "expected %s, found a mapping", what);
		break;
	default:
		apmp__machine_error(walk->errors, value->at, "expected %s, found nothing", what);
		break;
	}
	return false;
}

struct machine_pos apmp__value_pos(const struct value *value, bool ok)
{
	return (struct machine_pos){.line = value->at.line, .column = value->at.column, .bad = !ok};
}

/* ---- mappings ---- */

static void unknown_key(struct walk *walk, const struct key *keys, const char *what,
			const struct value *name)
{
	char word[APMP_MACHINE_NAME_SIZE], hint[64], quote[APMP__QUOTE_SIZE];
	struct apmp__near near = {.word = word};

	if (name->kind != VALUE_SCALAR) {
		apmp__expected(walk, name, "a key of %s", what);
		return;
	}
	apmp__machine_printable(name->text, name->size, quote, sizeof(quote));
	apmp__machine_printable(name->text, name->size, word, sizeof(word));
	for (; keys->name; keys++)
		apmp__near_offer(&near, keys->name);
	apmp__machine_error(walk->errors, name->at, "expected a key of %s, found '%s'%s", what,
			    quote, apmp__near_text(&near, hint));
}

static void read_pair(struct walk *walk, const struct key *keys, const char *what,
		      struct fy_node_pair *pair, struct machine_pos at, void *into,
		      struct machine_pos *seen_at, struct keys_seen *seen)
{
	struct value name = apmp__value_of(walk, fy_node_pair_key(pair), at);
	struct value value;
	size_t i = 0;

	while (keys[i].name && !(name.kind == VALUE_SCALAR && apmp__value_is(&name, keys[i].name)))
		i++;
	if (!keys[i].name) {
		unknown_key(walk, keys, what, &name);
		return;
	}
	if (seen->given & 1u << i) {
		apmp__machine_error(walk->errors, name.at,
				    "expected '%s' once in %s, found it again after line %u",
				    keys[i].name, what, seen_at[i].line);
		return;
	}
	seen->given |= 1u << i;
	seen_at[i] = name.at;
	value = apmp__value_of(walk, fy_node_pair_value(pair), name.at);
	if (value.kind == VALUE_BROKEN ||
	    !keys[i].read(walk, &keys[i], &value, (char *)into + keys[i].offset))
		seen->bad |= 1u << i;
}

/* Reads a mapping by its table. `what` names it in sentences. False when it is no mapping. */
bool apmp__mapping_read(struct walk *walk, const struct value *value, const struct key *keys,
			const char *what, void *into, struct keys_seen *ret_seen)
{
	struct machine_pos seen_at[APMP__KEYS_MAX] = {0};
	struct keys_seen seen = {0};
	struct fy_node_pair *pair;
	void *iterator = NULL;

	if (value->kind != VALUE_MAPPING)
		return apmp__expected(walk, value, "%s as a mapping of keys to values", what);
	while ((pair = fy_node_mapping_iterate(value->node, &iterator)))
		read_pair(walk, keys, what, pair, value->at, into, seen_at, &seen);
	for (size_t i = 0; keys[i].name; i++) {
		if (!keys[i].required || seen.given & 1u << i)
			continue;
		apmp__machine_error(walk->errors, value->at,
				    "expected the key '%s' in %s, found no such key", keys[i].name,
				    what);
		seen.bad |= 1u << i;
	}
	*ret_seen = seen;
	return true;
}

/* ---- lists ---- */

/*
 * Reads a list into a new array; items that are bad are complained about and left out unless
 * `keep_bad` (where the others would move up). Nothing is an empty list. False when any was bad.
 */
bool apmp__list_read(struct walk *walk, const struct list_kind *kind, const struct value *value,
		     bool keep_bad, void *ret_items, size_t *ret_count)
{
	size_t count = 0, seen = 0;
	struct fy_node *node;
	void *iterator = NULL;
	bool ok = true;
	char *items;

	if (value->kind == VALUE_NULL)
		return true;
	if (value->kind != VALUE_LIST)
		return apmp__expected(walk, value, "a list of %s", kind->what);
	count = (size_t)fy_node_sequence_item_count(value->node);
	if (count == 0)
		return true;
	items = calloc(count < kind->max ? count : kind->max, kind->item_size);
	if (!items) {
		walk->no_memory = true;
		return false;
	}
	count = 0;
	while ((node = fy_node_sequence_iterate(value->node, &iterator))) {
		struct value item = apmp__value_of(walk, node, value->at);
		bool good;

		if (seen++ == kind->max) {
			apmp__machine_error(walk->errors, item.at,
					    "expected at most %zu %s, found one more", kind->max,
					    kind->what);
			ok = false;
			break;
		}
		good = item.kind != VALUE_BROKEN &&
		       kind->read(walk, &item, items + count * kind->item_size);
		ok = ok && good;
		if (good || keep_bad)
			count++;
	}
	memcpy(ret_items, &items, sizeof(items));
	*ret_count = count;
	return ok;
}

/* ---- syntax ---- */

/* The rest of the line at a position of libfyaml's: line and column from 1, column in characters.
 */
static size_t rest_of_line(const char *text, size_t size, uint32_t line, uint32_t column,
			   const char **ret_rest, bool *ret_star)
{
	const char *end = text + size, *stop;

	for (; line > 1 && text < end; line--) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		text = newline ? newline + 1 : end;
	}
	stop = memchr(text, '\n', (size_t)(end - text));
	stop = stop ? stop : end;
	*ret_star = memmem(text, (size_t)(stop - text), "*:", 2) != NULL;
	for (; column > 1 && text < stop; column--)
		text += apmp__utf8_length(text, (size_t)(stop - text));
	*ret_rest = text;
	return (size_t)(stop - text);
}

static struct fy_diag *silent_diag(void)
{
	struct fy_diag_cfg cfg;
	struct fy_diag *diag;

	fy_diag_cfg_default(&cfg);
	cfg.fp = NULL;
	cfg.level = FYET_ERROR;
	diag = fy_diag_create(&cfg);
	if (diag)
		fy_diag_set_collect_errors(diag, true);
	return diag;
}

static struct fy_parser *parser_create(const char *text, size_t size, struct fy_diag *diag)
{
	/* Duplicate keys are found by the walk: libfyaml would stop at the first. */
	struct fy_parse_cfg cfg = {.flags = FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_JSON_NONE |
					    FYPCF_COLLECT_DIAG | FYPCF_QUIET,
				   .diag = diag};
	struct fy_parser *parser = diag ? fy_parser_create(&cfg) : NULL;

	if (parser && fy_parser_set_string(parser, text, size) != 0) {
		fy_parser_destroy(parser);
		return NULL;
	}
	return parser;
}

/*
 * Some mistakes libfyaml refuses without a word (a block scalar with indentation 0: `|0`). Then the
 * end of the last event that it understood is the nearest place there is.
 */
static struct machine_pos last_understood(const char *text, size_t size)
{
	struct machine_pos at = {.line = 1, .column = 1};
	struct fy_diag *diag = silent_diag();
	struct fy_parser *parser = parser_create(text, size, diag);
	struct fy_event *event;

	while (parser && (event = fy_parser_parse(parser))) {
		const struct fy_mark *mark = fy_event_end_mark(event);

		if (mark) {
			at.line = (uint32_t)mark->line + 1;
			at.column = (uint32_t)mark->column + 1;
		}
		fy_parser_event_free(parser, event);
	}
	if (parser)
		fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return at;
}

static void syntax_error(struct walk *walk, struct fy_diag *diag, const char *text, size_t size)
{
	void *iterator = NULL;
	const struct fy_diag_error *report = fy_diag_errors_iterate(diag, &iterator);
	struct machine_pos at;
	const char *rest;
	char quote[APMP__QUOTE_SIZE];
	size_t length;
	bool star;

	if (report && report->line > 0 && report->column > 0)
		at = (struct machine_pos){.line = (uint32_t)report->line,
					  .column = (uint32_t)report->column};
	else
		at = last_understood(text, size);
	length = rest_of_line(text, size, at.line, at.column, &rest, &star);
	apmp__machine_printable(rest, length, quote, sizeof(quote));
	apmp__machine_error(walk->errors, at, "expected well-formed YAML, found %s%s%s: %.100s%s",
			    length ? "'" : "", length ? quote : "the end of the line",
			    length ? "'" : "",
			    report ? report->msg : "it can't be understood from here on",
			    star ? "; write \"*\" in quotes" : "");
}

/* The next document, or null: there is none, or *ret_failed. */
static struct fy_document *next_document(struct walk *walk, struct fy_parser *parser,
					 struct fy_diag *diag, bool *ret_failed)
{
	struct fy_document *document;

	/* Only errno tells a syntax that libfyaml refused silently from a malloc that failed. */
	errno = 0;
	document = fy_parse_load_document(parser);
	if (!document && errno == ENOMEM)
		walk->no_memory = true;
	*ret_failed = !document && (fy_diag_got_error(diag) || fy_parser_get_stream_error(parser));
	return document;
}

static void read_documents(struct walk *walk, struct fy_parser *parser, struct fy_diag *diag,
			   const char *text, size_t size)
{
	struct machine_pos top = {.line = 1, .column = 1};
	bool failed;
	struct fy_document *document = next_document(walk, parser, diag, &failed), *second;
	struct value root;

	if (!document) {
		if (failed)
			syntax_error(walk, diag, text, size);
		else
			apmp__machine_error(walk->errors, top,
					    "expected a machine, found an empty file");
		return;
	}
	second = next_document(walk, parser, diag, &failed);
	if (second) {
		root = apmp__value_of(walk, fy_document_root(second), top);
		apmp__machine_error(walk->errors, root.at,
				    "expected one YAML document, found a second one");
		fy_parse_document_destroy(parser, second);
	} else if (failed) {
		syntax_error(walk, diag, text, size);
	} else {
		root = apmp__value_of(walk, fy_document_root(document), top);
		apmp__machine_meaning(walk, &root);
	}
	fy_parse_document_destroy(parser, document);
}

int apmp__machine_parse(const char *text, size_t size, struct machine_errors *errors,
			struct machine *machine)
{
	struct walk walk = {.machine = machine, .errors = errors, .where = silent_diag()};
	struct fy_diag *diag = silent_diag();
	struct fy_parser *parser = walk.where ? parser_create(text, size, diag) : NULL;

	if (parser)
		read_documents(&walk, parser, diag, text, size);
	else
		walk.no_memory = true;
	if (parser)
		fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	fy_diag_destroy(walk.where);
	return walk.no_memory ? -ENOMEM : 0;
}
