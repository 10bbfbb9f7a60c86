/*
 * The interface definitions, as text, and what is asked of them.
 *
 * WHAT      Parameters of a call are checked against the very text that introspection shows, so
 *           the contract and the check can't drift apart. The text is walked each time, the value
 *           beside it; there is no parsed form.
 * LIMITS    Input parameters may use bool, int, float, string, object, ?T, []T and structs
 *           in place; maps, named types and enumerations may stand in outputs only. The texts are
 *           our own and built in: a mistake in them is our bug (and found by the unit test).
 */
#include "shm/wire/varlink_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
__asm__(".pushsection .rodata\n"
	".globl varlink_machine_text\n"
	".type varlink_machine_text, @object\n"
	"varlink_machine_text:\n"
	".incbin \"shm/wire/org.apmp.machine.varlink\"\n"
	".byte 0\n"
	".size varlink_machine_text, . - varlink_machine_text\n"
	".popsection\n");

const char varlink__service_text[] =
	"# What every Varlink service has: who it is and which interfaces it serves.\n"
	"interface org.varlink.service\n"
	"\n"
	"method GetInfo() -> (\n"
	"  vendor: string,\n"
	"  product: string,\n"
	"  version: string,\n"
	"  url: string,\n"
	"  interfaces: []string\n"
	")\n"
	"\n"
	"method GetInterfaceDescription(interface: string) -> (description: string)\n"
	"\n"
	"error InterfaceNotFound (interface: string)\n"
	"error MethodNotFound (method: string)\n"
	"error MethodNotImplemented (method: string)\n"
	"error InvalidParameter (parameter: string)\n"
	"error PermissionDenied ()\n"
	"error ExpectedMore ()\n";
/* clang-format on */

/* A place in the text of a definition. */
struct cursor {
	const char *at;
};

static void skip_blank(struct cursor *cursor)
{
	for (;;) {
		cursor->at += strspn(cursor->at, " \t\n");
		if (*cursor->at != '#')
			return;
		cursor->at += strcspn(cursor->at, "\n");
	}
}

static bool eat(struct cursor *cursor, const char *token)
{
	size_t length = strlen(token);

	skip_blank(cursor);
	if (strncmp(cursor->at, token, length) != 0)
		return false;
	cursor->at += length;
	return true;
}

static size_t word_length(const char *at)
{
	size_t length = 0;

	while (isalnum((unsigned char)at[length]) || at[length] == '_')
		length++;
	return length;
}

static bool word_is(const char *at, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(at, word, length) == 0;
}

/* Moves behind "method NAME", which begins a line. */
static bool find_method(struct cursor *cursor, const char *method)
{
	static const char keyword[] = "\nmethod ";

	for (const char *at = cursor->at; (at = strstr(at, keyword)) != NULL;) {
		at += sizeof(keyword) - 1;
		if (word_is(at, word_length(at), method)) {
			cursor->at = at + strlen(method);
			return true;
		}
	}
	return false;
}

bool varlink__method_declared(const char *text, const char *method)
{
	struct cursor cursor = {text};

	return find_method(&cursor, method);
}

static bool check_type(struct cursor *cursor, const json_t *value);

/* A struct, behind its "(". bad gets the name of the first field that is wrong or missing. */
static bool check_fields(struct cursor *cursor, const json_t *object, char *bad, size_t bad_size)
{
	size_t known = 0;
	bool good = true;

	while (!eat(cursor, ")")) {
		size_t length;
		char name[64];
		const json_t *field;

		eat(cursor, ",");
		skip_blank(cursor);
		length = word_length(cursor->at);
		varlink__assert(length > 0 && length < sizeof(name));
		memcpy(name, cursor->at, length);
		name[length] = 0;
		cursor->at += length;
		varlink__assert(eat(cursor, ":"));
		field = json_object_get(object, name);
		known += field != NULL;
		/* With nothing to check against, or after a mistake, the text is only walked over.
		 */
		if (!object || !good) {
			check_type(cursor, NULL);
		} else if (!check_type(cursor, field ? field : json_null())) {
			good = false;
			snprintf(bad, bad_size, "%s", name);
		}
	}
	return good && (!object || known == json_object_size(object));
}

static bool check_elements(struct cursor *cursor, const json_t *array)
{
	const struct cursor type = *cursor;
	bool good = !array || json_is_array(array);

	check_type(cursor, NULL);
	for (size_t i = 0; good && i < json_array_size(array); i++) {
		struct cursor again = type;

		good = check_type(&again, json_array_get(array, i));
	}
	return good;
}

static bool check_word(const char *at, size_t length, const json_t *value)
{
	if (word_is(at, length, "bool"))
		return json_is_boolean(value);
	if (word_is(at, length, "int"))
		return json_is_integer(value);
	if (word_is(at, length, "float"))
		return json_is_number(value);
	if (word_is(at, length, "string"))
		return json_is_string(value);
	varlink__assert(word_is(at, length, "object"));
	return json_is_object(value);
}

/* Walks over one type; value NULL: only that. Its depth is that of our own text. */
static bool check_type(struct cursor *cursor, const json_t *value)
{
	const char *at;
	size_t length;

	if (eat(cursor, "?"))
		return check_type(cursor, json_is_null(value) ? NULL : value);
	if (eat(cursor, "[]"))
		return check_elements(cursor, value);
	if (eat(cursor, "(")) {
		char bad[64];

		if (value && !json_is_object(value)) {
			check_fields(cursor, NULL, bad, sizeof(bad));
			return false;
		}
		return check_fields(cursor, value, bad, sizeof(bad));
	}
	skip_blank(cursor);
	at = cursor->at;
	length = word_length(at);
	cursor->at += length;
	return !value || check_word(at, length, value);
}

/* The first parameter that the definition does not know. */
static const char *find_undeclared(struct cursor at, const json_t *parameters)
{
	const char *key;
	json_t *value;

	/* jansson's iteration wants an object that it could change; it doesn't. */
	json_object_foreach((json_t *)(uintptr_t)parameters, key, value)
	{
		struct cursor cursor = at;
		bool known = false;

		while (!eat(&cursor, ")")) {
			size_t length;

			eat(&cursor, ",");
			skip_blank(&cursor);
			length = word_length(cursor.at);
			known = known || word_is(cursor.at, length, key);
			cursor.at += length;
			eat(&cursor, ":");
			check_type(&cursor, NULL);
		}
		if (!known)
			return key;
	}
	return NULL;
}

const char *varlink__parameters_check(const char *text, const char *method,
				      const json_t *parameters, char *buf, size_t buf_size)
{
	struct cursor cursor = {text}, fields;

	varlink__assert(find_method(&cursor, method) && eat(&cursor, "("));
	fields = cursor;
	*buf = 0;
	if (check_fields(&cursor, parameters, buf, buf_size))
		return NULL;
	return *buf ? buf : find_undeclared(fields, parameters);
}
