/*
 * The machine file: good documents and what they become, bad ones and where they are said to be
 * wrong. tests/system/data/machine-files holds bad files with the complete list of what is expected
 * of each in its head ("# expect LINE:COL SENTENCE"); here is what a file with such a head can't
 * show. Run from the top of the tree. FUZZ_ROUNDS and FUZZ_SEED change the mutations at the end.
 */
#include "apmpd/machine_file.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIO "examples/01-trio/machine.yaml"
#define DATA "tests/system/data/machine-files"

/* One SBB with CPUs 0 and 1, bus 0.0.0 and 64M, in lines 1 to 3. */
#define SMALL                                                                                      \
	"machine: m\n"                                                                             \
	"hardware:\n"                                                                              \
	"  - {sbb: 0, cpus: 2, memory: 64M, iops: [{buses: [{}]}]}\n"

static struct machine_errors errors;

static struct machine *read_good(const char *text)
{
	struct machine *machine = NULL;
	int err = apmp_machine_text_read("good", text, strlen(text), &errors, &machine);

	if (err)
		apmp_machine_errors_print(&errors, stderr);
	ck_assert_int_eq(err, 0);
	ck_assert_uint_eq(errors.count, 0);
	return machine;
}

static void read_bad(const char *text, size_t size)
{
	struct machine *machine = NULL;

	ck_assert_int_eq(apmp_machine_text_read("bad", text, size, &errors, &machine), -EINVAL);
	ck_assert_ptr_null(machine);
	ck_assert_uint_ge(errors.count, 1);
}

static json_t *at_path(json_t *json, const char *key, size_t index)
{
	json_t *item = json_array_get(json_object_get(json, key), index);

	ck_assert_ptr_nonnull(item);
	return item;
}

/* ---- good ones ---- */

/* The contract with the console, word for word. */
static const char trio_json[] =
    "{'machine': 'trio', 'hardware': ["
    "{'sbb': 0, 'cpus': [{'id': 0, 'type': 1, 'revision': 1, 'primary': true},"
    "{'id': 1, 'type': 1, 'revision': 1, 'primary': true},"
    "{'id': 2, 'type': 1, 'revision': 1, 'primary': true},"
    "{'id': 3, 'type': 1, 'revision': 1, 'primary': true}], 'memory': 134217728,"
    "'iops': [{'id': 0, 'buses': [{'id': '0.0.0', 'disks': [{'name': 'd0', 'size': 16777216}]},"
    "{'id': '0.0.1', 'disks': []}]}]},"
    "{'sbb': 1, 'cpus': [{'id': 4, 'type': 1, 'revision': 1, 'primary': true},"
    "{'id': 5, 'type': 1, 'revision': 1, 'primary': true}], 'memory': 67108864,"
    "'iops': [{'id': 0, 'buses': [{'id': '1.0.0', 'disks': []}]}]}],"
    "'communities': [{'name': 'lab', 'shared': 33554432}],"
    "'partitions': [{'name': 'alpha', 'community': 'lab', 'cpus': [0, 1, 2], 'memory': 25165824,"
    "'buses': ['0.0.0'], 'boot': true, 'failover': {'1': 'beta', '2': 'beta'},"
    "'autostart': 'all'},"
    "{'name': 'beta', 'community': 'lab', 'cpus': [3, 4], 'memory': 25165824,"
    "'buses': ['0.0.1'], 'boot': true, 'failover': {}, 'autostart': 'all'},"
    "{'name': 'gamma', 'community': 'lab', 'cpus': [5], 'memory': 25165824,"
    "'buses': ['1.0.0'], 'boot': true, 'failover': {}, 'autostart': 'all'}],"
    "'timing': {'tick_ns': 2000000, 'suspect': 3, 'stop_ns': 50000000},"
    "'fence': 'kill', 'notice_exit': true, "
    "'dump': {'limit': 67108864, 'keep': 3}}";

START_TEST(test_trio)
{
	char text[sizeof(trio_json)];
	struct machine *machine = NULL;
	json_t *got, *want;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = trio_json[i] == '\'' ? '"' : trio_json[i];
	want = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(want);
	ck_assert_int_eq(apmp_machine_file_read(TRIO, &errors, &machine), 0);
	got = apmp_machine_to_json(machine);
	ck_assert(json_equal(got, want));
	json_decref(got);
	json_decref(want);
	apmp_machine_free(machine);
}
END_TEST

START_TEST(test_defaults)
{
	struct machine *machine = read_good(SMALL "partitions:\n  - name: a\ncommunities:\n");

	ck_assert_uint_eq(machine->timing.tick.ns, 2000000);
	ck_assert_uint_eq(machine->timing.suspect, 3);
	ck_assert_uint_eq(machine->timing.stop.ns, 50000000);
	ck_assert_int_eq(machine->fence, APMP_FENCE_KILL);
	ck_assert(machine->notice_exit);
	ck_assert_uint_eq(machine->community_count, 0);
	ck_assert_uint_eq(machine->partition_count, 1);
	ck_assert(!machine->partitions[0].boot);
	ck_assert_str_eq(machine->partitions[0].community.text, "");
	ck_assert_uint_eq(machine->partitions[0].memory.bytes, 0);
	apmp_machine_free(machine);
}
END_TEST

/* Without partitions, also without memory and buses: hot swap brings the rest. */
START_TEST(test_unconfigured)
{
	struct machine *machine = read_good("machine: m\nhardware: [{sbb: 7}]\n");
	json_t *json = apmp_machine_to_json(machine);

	ck_assert_uint_eq(json_array_size(json_object_get(json, "partitions")), 0);
	ck_assert_uint_eq(json_array_size(json_object_get(json, "communities")), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(at_path(json, "hardware", 0), "sbb")),
			 7);
	json_decref(json);
	apmp_machine_free(machine);
}
END_TEST

START_TEST(test_json_input)
{
	static const char text[] =
	    "{\"machine\": \"m\", \"hardware\": [{\"sbb\": 0, \"memory\": 67108864,"
	    "\"cpus\": [{\"id\": 9, \"type\": 2, \"revision\": 5, \"primary\": false}]},"
	    "{\"sbb\": 1, \"cpus\": 1}],"
	    "\"communities\": [{\"name\": \"c\", \"shared\": 2097152}],"
	    "\"partitions\": [{\"name\": \"p\", \"community\": \"c\", \"autostart\": [10, 9],"
	    "\"failover\": {\"*\": [\"q\", \"p\"], \"9\": \"q\", \"10\": []}},"
	    "{\"name\": \"q\", \"community\": \"c\"},"
	    "{\"name\": \"r\", \"community\": null, \"autostart\": \"none\"}],"
	    "\"timing\": {\"tick\": \"500us\", \"stop\": \"1s\"},"
	    "\"fence\": \"bugcheck\", \"notice_exit\": false, \"dump\": false}";
	struct machine *machine = read_good(text);
	json_t *json = apmp_machine_to_json(machine), *rules, *cpus;

	ck_assert_uint_eq(machine->sbbs[0].cpus[0].id, 9);
	ck_assert_uint_eq(machine->sbbs[0].cpus[0].type, 2);
	ck_assert_uint_eq(machine->sbbs[0].cpus[0].revision, 5);
	ck_assert(!machine->sbbs[0].cpus[0].primary);
	ck_assert_uint_eq(machine->sbbs[1].cpus[0].id, 10);
	ck_assert_uint_eq(machine->timing.tick.ns, 500000);
	ck_assert_uint_eq(machine->timing.stop.ns, 1000000000);
	ck_assert_int_eq(machine->fence, APMP_FENCE_BUGCHECK);
	ck_assert(!machine->notice_exit);
	ck_assert_uint_eq(machine->partitions[0].failovers[0].cpu, APMP_MACHINE_FAILOVER_ALL);
	ck_assert(json_is_false(json_object_get(json, "notice_exit")));
	ck_assert(json_is_null(json_object_get(json, "dump")));
	ck_assert_str_eq(json_string_value(json_object_get(json, "fence")), "bugcheck");
	rules = json_object_get(at_path(json, "partitions", 0), "failover");
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(rules, "*"), 1)), "p");
	ck_assert_uint_eq(json_array_size(json_object_get(rules, "*")), 2);
	ck_assert_str_eq(json_string_value(json_object_get(rules, "9")), "q");
	ck_assert_uint_eq(json_array_size(json_object_get(rules, "10")), 0);
	cpus = json_object_get(at_path(json, "partitions", 0), "autostart");
	ck_assert_int_eq(json_integer_value(json_array_get(cpus, 0)), 10);
	ck_assert_uint_eq(json_array_size(cpus), 2);
	ck_assert(json_is_array(json_object_get(at_path(json, "partitions", 2), "autostart")));
	ck_assert(json_is_null(json_object_get(at_path(json, "partitions", 2), "community")));
	json_decref(json);
	apmp_machine_free(machine);
}
END_TEST

START_TEST(test_aliases)
{
	struct machine *machine =
	    read_good(SMALL "partitions:\n"
			    "  - {name: a, memory: &size 8M, cpus: &none []}\n"
			    "  - {name: b, memory: *size, cpus: *none}\n");

	ck_assert_uint_eq(machine->partitions[1].memory.bytes, 8u << 20);
	ck_assert_uint_eq(machine->partitions[1].memory.at.line, 6);
	ck_assert_uint_eq(machine->partitions[1].memory.at.column, 23);
	apmp_machine_free(machine);
}
END_TEST

/* The memory may be used to the last granule, stop may be suspect ticks exactly. */
START_TEST(test_edges)
{
	apmp_machine_free(read_good(SMALL "communities: [{name: c, shared: 60M}]\n"
					  "partitions: [{name: p, memory: 4194304}]\n"
					  "timing: {tick: 10ms, suspect: 5, stop: 50ms}\n"));
	apmp_machine_free(read_good("machine: abcdefghijabcdefghijabcdefghij1\n"
				    "hardware: [{sbb: 63, cpus: 256, memory: 2M}]\n"));
	apmp_machine_free(read_good("machine: m\nhardware: [{sbb: 0, cpus: [{id: 255}]}]\n"
				    "timing: {tick: 1us, suspect: 1000, stop: 3600s}\n"));
}
END_TEST

/* ---- bad ones: one mistake, its place, a fragment of its sentence ---- */

static const struct bad {
	const char *text;
	uint32_t line, column;
	const char *fragment;
} bad_table[] = {
    /* no machine at all */
    {"", 1, 1, "found an empty file"},
    {"# nothing\n\n", 1, 1, "found an empty file"},
    {"---\n...\n", 1, 1, "expected a machine"},
    {"- a\n", 1, 1, "found a list"},
    {"machine: \xff\n", 1, 10, "the byte 0xff"},
    {"machine: m\nhardware: \xc3\x28\n", 2, 11, "the byte 0xc3"},
    {"machine: \xed\xa0\x80\n", 1, 10, "the byte 0xed"},
    {"\xc3\xa9: 1\n\x1b[31m", 2, 1, "the byte 0x1b"},
    {"machine: m\n---\nmachine: n\n", 3, 1, "found a second one"},
    {"machine: [a\n", 2, 1, "found the end of the line"},
    {"a: b: c\n", 1, 5, "nested block mapping"},
    {SMALL "fence: |0\n  kill\n", 4, 6, "can't be understood"},
    {SMALL "---\nfence: |0\n", 5, 6, "can't be understood"},
    {"machine: \"m\nhardware: 1\n", 1, 10, "indented double-quoted scalar"},
    /* keys */
    {SMALL "partition: []\n", 4, 1, "found 'partition' (did you mean 'partitions'?)"},
    {SMALL "zebra: []\n", 4, 1, "expected a key of a machine, found 'zebra'"},
    {SMALL "fence: kill\nfence: kill\n", 5, 1, "found it again after line 4"},
    {SMALL "[a]: 1\n", 4, 1, "expected a key of a machine, found a list"},
    {SMALL "<<: {fence: kill}\n", 4, 1, "found '<<'"},
    {"hardware: [{sbb: 0}]\n", 1, 1, "expected the key 'machine'"},
    {"machine: m\n", 1, 1, "expected the key 'hardware'"},
    {"machine: m\nhardware: []\n", 2, 11, "at least one SBB"},
    {"machine: m\nhardware:\n", 2, 1, "at least one SBB, found nothing"},
    /* hardware */
    {"machine: m\nhardware: [{sbb: 64}]\n", 2, 18, "from 0 to 63, found '64'"},
    {"machine: m\nhardware: [{sbb: \"0\"}]\n", 2, 18, "a whole number"},
    {"machine: m\nhardware: [{sbb: 0}, {sbb: 0}]\n", 2, 22, "an SBB number of its own"},
    {"machine: m\nhardware: [{sbb: 0, cpus: 257}]\n", 2, 27, "from 0 to 256"},
    {"machine: m\nhardware: [{sbb: 0, cpus: 99999999999999999999}]\n", 2, 27, "0 to 256"},
    {"machine: m\nhardware: [{sbb: 0, cpus: 200}, {sbb: 1, cpus: 57}]\n", 2, 48,
     "at most 56 more CPUs"},
    {"machine: m\nhardware: [{sbb: 0, cpus: [{id: 3}, {id: 3}]}]\n", 2, 37, "found '3'"},
    {"machine: m\nhardware: [{sbb: 0, cpus: [{id: -1}]}]\n", 2, 33, "found '-1'"},
    {"machine: m\nhardware: [{sbb: 0, memory: 0}]\n", 2, 29, "a size from 2M to 64T"},
    {"machine: m\nhardware: [{sbb: 0, memory: 3M}]\n", 2, 29, "a multiple of 2M"},
    {"machine: m\nhardware: [{sbb: 0, memory: 18446744073709551615G}]\n", 2, 29, "2M to 64T"},
    {"machine: m\nhardware: [{sbb: 0, memory: 18446744073709551618M}]\n", 2, 29, "2M to 64T"},
    {"machine: m\nhardware: [{sbb: 0, memory: 64m}]\n", 2, 29, "a size such as 64M"},
    {"machine: m\nhardware: [{sbb: 0, iops: [{buses: [{disks: [{name: d}]}]}]}]\n", 2, 46,
     "the key 'size' in a disk"},
    {"machine: m\nhardware: [{sbb: 0, iops: [{buses: [[]]}]}]\n", 2, 37, "a bus"},
    /* communities and partitions */
    {SMALL "communities: [{name: c, shared: 66M}]\n", 4, 33, "at most 64M"},
    {SMALL "communities: [{name: c}]\n", 4, 15, "the key 'shared'"},
    {SMALL "partitions: [{name: Web}]\n", 4, 21, "found 'Web'"},
    {SMALL "partitions: [{name: a, memory: 2M}]\n", 4, 32, "a size from 4M"},
    {SMALL "partitions: [{name: a, cpus: [2]}]\n", 4, 31, "2 CPUs, found '2'"},
    {SMALL "partitions: [{name: a, cpus: [01]}]\n", 4, 31, "found '01'"},
    {SMALL "partitions: [{name: a, cpus: [0, 0]}]\n", 4, 34, "which partition 'a' owns"},
    {SMALL "partitions: [{name: a, buses: [0.0]}]\n", 4, 32, "SBB.IOP.BUS"},
    {SMALL "partitions: [{name: a, buses: [0.0.0.0]}]\n", 4, 32, "SBB.IOP.BUS"},
    {SMALL "partitions: [{name: a, buses: [0.0.00]}]\n", 4, 32, "SBB.IOP.BUS"},
    {SMALL "partitions: [{name: a, buses: [0.0.4294967296]}]\n", 4, 32, "SBB.IOP.BUS"},
    {SMALL "partitions: [{name: a, buses: [0.1.0]}]\n", 4, 32, "found '0.1.0'"},
    {SMALL "partitions: [{name: a, community: c}]\n", 4, 35, "found 'c'"},
    {SMALL "partitions: [{name: a, failover: {0: [a, b]}}]\n", 4, 42, "found 'b'"},
    {SMALL "partitions: [{name: a, failover: {0: stay}}]\n", 4, 38,
     "found 'stay'; of CPUs that stay it is 'a', their own"},
    {SMALL "partitions: [{name: a, failover: {0: [a, A]}}]\n", 4, 42, "found 'A'"},
    {SMALL "partitions: [{name: a, failover: {0: [a, a, a, a, a, a, a, a, a]}}]\n", 4, 63,
     "at most 8 targets"},
    {SMALL "partitions: [{name: a, failover: {0: b}}, {name: b}]\n", 4, 38,
     "expected partition 'a' in a community"},
    {SMALL "communities: [{name: c, shared: 2M}]\n"
	   "partitions: [{name: a, community: c, failover: {0: b}}, {name: b}]\n",
     5, 52, "a partition of community 'c'"},
    {SMALL "partitions: [{name: a, failover: {0: [a, a]}}]\n", 4, 42, "each target once"},
    {SMALL "communities: [{name: c, shared: 2M}]\n"
	   "partitions: [{name: a, community: c, failover: {0: [a, b]}}, "
	   "{name: b, community: c}]\n",
     5, 56, "nothing behind 'a', where the CPU stays, found 'b'"},
    {SMALL "partitions: [{name: a, autostart: [2]}]\n", 4, 36, "2 CPUs, found '2'"},
    {SMALL "partitions: [{name: a, autostart: some}]\n", 4, 35, "all, none or a list"},
    {SMALL "partitions: [{name: a, autostart: 0}]\n", 4, 35, "all, none or a list"},
    {SMALL "partitions: [{name: a, failover: {0: b}}]\n", 4, 38, "found 'b'"},
    {SMALL "partitions: [{name: a, failover: {0: a, 0: a}}]\n", 4, 41, "one rule for a CPU"},
    {SMALL "partitions: [{name: a, failover: {256: b}}, {name: b}]\n", 4, 35, "found '256'"},
    {SMALL "partitions: [{name: a, failover: {\"*\": ~}}]\n", 4, 40, "a name"},
    {SMALL "partitions: [{name: a, failover: [b]}]\n", 4, 34, "a mapping of CPUs"},
    {SMALL "partitions: [{name: a, failover: {*: b}}]\n", 4, 38, "write \"*\" in quotes"},
    {SMALL "partitions: [{name: a, boot: 'yes'}]\n", 4, 30, "yes or no"},
    {SMALL "partitions: [{name: a, cpus: *c}]\n", 4, 30, "found '*c'"},
    {SMALL "partitions: [{name: a, memory: 4M, cpus: [0], boot: yes}]\n", 4, 14, "a bus in"},
    {SMALL "partitions: [{name: a, cpus: [0], buses: [0.0.0], boot: yes}]\n", 4, 14, "memory"},
    {SMALL "partitions: [{name: a, memory: 4M, buses: [0.0.0], boot: yes}]\n", 4, 14, "a CPU in"},
    /* the rest */
    {SMALL "timing: {tick: 0ms}\n", 4, 16, "from 1us to 3600s"},
    {SMALL "timing: {stop: 3601s}\n", 4, 16, "from 1us to 3600s"},
    {SMALL "timing: {tick: 18446744073709551615s}\n", 4, 16, "from 1us to 3600s"},
    {SMALL "timing: {tick: 2}\n", 4, 16, "with us, ms or s"},
    {SMALL "timing: {suspect: 26}\n", 4, 9, "found '50ms', the default"},
    {SMALL "timing: {stop: 5ms}\n", 4, 16, "3 times 2ms is 6ms"},
    {SMALL "fence: Kill\n", 4, 8, "kill or bugcheck"},
    {SMALL "notice_exit: 1\n", 4, 14, "yes or no"},
    {SMALL "dump: maybe\n", 4, 7, "yes, no, or {limit: SIZE, keep: NUMBER}"},
    {SMALL "dump: [1]\n", 4, 7, "yes, no, or {limit: SIZE, keep: NUMBER}"},
    {SMALL "dump: {limit: 64K}\n", 4, 15, "from 1M to 64T"},
    {SMALL "dump: {limit: 65T}\n", 4, 15, "from 1M to 64T"},
    {SMALL "dump: {keep: 0}\n", 4, 14, "from 1 to 100"},
    {SMALL "dump: {keep: 3, of: alpha}\n", 4, 17, "found 'of'"},
    /* what follows from a mistake isn't another one */
    {SMALL "timing: {tick: 20ms, stop: x}\n", 4, 28, "found 'x'"},
    {SMALL "communities: [7]\npartitions: [{name: a, community: c}]\n", 4, 15, "found '7'"},
    {SMALL "partitions: [{name: a, community: C}]\n", 4, 35, "found 'C'"},
    {SMALL "partitions: [7, {name: a, failover: {0: b}}]\n", 4, 14, "found '7'"},
    {SMALL "partitions: [{name: a, cpus: [x], memory: 4M, buses: [0.0.0], boot: yes}]\n", 4, 31,
     "found 'x'"},
    {SMALL "partitions: [{name: a, cpus: [0], memory: 4M, buses: [x], boot: yes}]\n", 4, 55,
     "found 'x'"},
    {SMALL "partitions: [{name: a, cpus: [0], memory: 3M, buses: [0.0.0], boot: yes}]\n", 4, 43,
     "found '3M'"},
    {"machine: m\nhardware: [{sbb: x}, {sbb: 0}]\n", 2, 18, "found 'x'"},
    {"machine: m\nhardware: [{sbb: x, iops: [{buses: [{}]}]}]\n"
     "partitions: [{name: a, buses: [1.0.0]}]\n",
     2, 18, "found 'x'"},
};

START_TEST(test_bad)
{
	const struct bad *bad = &bad_table[_i];

	read_bad(bad->text, strlen(bad->text));
	if (errors.count != 1)
		apmp_machine_errors_print(&errors, stderr);
	ck_assert_msg(errors.count == 1, "%zu mistakes in:\n%s", errors.count, bad->text);
	ck_assert_msg(errors.list[0].line == bad->line && errors.list[0].column == bad->column &&
			  strstr(errors.list[0].sentence, bad->fragment),
		      "wanted %u:%u '%s', got %u:%u '%s' for:\n%s", bad->line, bad->column,
		      bad->fragment, errors.list[0].line, errors.list[0].column,
		      errors.list[0].sentence, bad->text);
}
END_TEST

START_TEST(test_nul)
{
	read_bad("machine: a\0b\n", 13);
	ck_assert_uint_eq(errors.list[0].column, 11);
	ck_assert_ptr_nonnull(strstr(errors.list[0].sentence, "the byte 0x00"));
}
END_TEST

/* Neither what does not follow from the mistakes is said, nor anything left out. */
START_TEST(test_all_at_once)
{
	static const char text[] =
	    "machine: M\n"
	    "hardware:\n"
	    "  - {sbb: 0, cpus: two, memory: 63M, iops: [{buses: [{}]}]}\n"
	    "partitions:\n"
	    "  - {name: a, cpus: [0], memory: 8M, buses: [0.0.0], boot: yes}\n"
	    "  - {name: a, cpus: [0], memory: 8G, buses: [0.0.1], boot: soon}\n"
	    "fence: none\n";
	static const uint32_t places[][2] = {{1, 10}, {3, 20}, {3, 33}, {6, 12},
					     {6, 22}, {6, 46}, {6, 60}, {7, 8}};
	const size_t count = sizeof(places) / sizeof(places[0]);

	read_bad(text, sizeof(text) - 1);
	apmp_machine_errors_print(&errors, stderr);
	ck_assert_uint_eq(errors.count, count);
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(errors.list[i].line, places[i][0]);
		ck_assert_uint_eq(errors.list[i].column, places[i][1]);
	}
}
END_TEST

/* The first hundred of the file are kept, the others counted. */
START_TEST(test_too_many)
{
	char text[4096] = SMALL, out[64] = "";
	FILE *print = fmemopen(NULL, 65536, "w+");
	size_t used = strlen(text), lines = 0;
	json_t *json;

	for (int i = 0; i < 150; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "k%d: 1\n", i);
	read_bad(text, used);
	ck_assert_uint_eq(errors.count, APMP_MACHINE_ERRORS);
	ck_assert_uint_eq(errors.more, 50);
	ck_assert_uint_eq(errors.list[99].line, 103);
	apmp_machine_errors_print(&errors, print);
	rewind(print);
	while (fgets(out, sizeof(out), print))
		lines++;
	fclose(print);
	ck_assert_uint_eq(lines, 101);
	json = apmp_machine_errors_to_json(&errors);
	ck_assert_str_eq(json_string_value(json_object_get(json, "file")), "bad");
	ck_assert_int_eq(json_integer_value(json_object_get(json, "more")), 50);
	ck_assert_int_eq(json_integer_value(json_object_get(at_path(json, "errors", 0), "line")),
			 4);
	json_decref(json);
}
END_TEST

static void repeat(const char *head, const char *item, size_t count, const char *tail,
		   const char *fragment)
{
	size_t length = strlen(item), used = strlen(head);
	char *text = malloc(used + length * count + strlen(tail) + 1);

	ck_assert_ptr_nonnull(text);
	memcpy(text, head, used);
	for (size_t i = 0; i < count; i++, used += length)
		memcpy(text + used, item, length);
	strcpy(text + used, tail);
	read_bad(text, used + strlen(tail));
	ck_assert_msg(strstr(errors.list[errors.count - 1].sentence, fragment), "got '%s'",
		      errors.list[errors.count - 1].sentence);
	free(text);
}

START_TEST(test_too_much)
{
	repeat("", "[", 500000, "", "Max depth");
	repeat("", "{a: ", 200000, "", "Max depth");
	repeat(SMALL "partitions: [", "{},", 65, "]", "at most 64 partitions");
	repeat(SMALL "communities: [", "{shared: 2M},", 65, "]", "at most 64 communities");
	repeat("machine: m\nhardware: [", "{},", 65, "]", "at most 64 SBBs");
	repeat(SMALL "partitions: [{name: a, failover: {", "0: b,", 258, "}}]", "");
	ck_assert_uint_gt(errors.more, 0);
	repeat("# ", "x", APMP_MACHINE_FILE_MAX, "", "at most 1M");
}
END_TEST

/* A list of ten aliases of a list of ten aliases of ... costs nothing; one in itself ends. */
START_TEST(test_alias_bombs)
{
	char text[4096] = SMALL "x0: &x0 [x]\n";
	static const char cycle[] = SMALL "partitions: &p [*p]\n";
	size_t used = strlen(text);

	for (int i = 1; i < 20; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "x%d: &x%d [", i, i);
		for (int j = 0; j < 10; j++)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "*x%d,", i - 1);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "]\n");
	}
	used += (size_t)snprintf(text + used, sizeof(text) - used, "partitions: *x19\n");
	ck_assert_uint_lt(used, sizeof(text));
	read_bad(text, used);
	ck_assert_uint_eq(errors.count, 30); /* 20 keys and 10 lists that are no partitions */
	read_bad(cycle, sizeof(cycle) - 1);
	ck_assert_uint_eq(errors.count, 1);
}
END_TEST

/* What a file says never reaches a terminal as it is. */
START_TEST(test_printable)
{
	static const char text[] = SMALL "fence: \"\\e[31m\\u009b\\0\\U0001F600\"\n";

	read_bad(text, sizeof(text) - 1);
	ck_assert_ptr_nonnull(
	    strstr(errors.list[0].sentence, "'\\x1b[31m\\xc2\\x9b\\x00\xf0\x9f\x98\x80'"));
}
END_TEST

/* ---- files ---- */

static void refused(const char *path, int want, const char *fragment)
{
	struct machine *machine = NULL;

	ck_assert_int_eq(apmp_machine_file_read(path, &errors, &machine), want);
	ck_assert_ptr_null(machine);
	ck_assert_uint_eq(errors.count, 1);
	ck_assert_uint_eq(errors.list[0].line, 0);
	ck_assert_ptr_nonnull(strstr(errors.list[0].sentence, fragment));
}

START_TEST(test_not_a_file)
{
	char dir[] = "/tmp/apmp-test-XXXXXX", path[64];
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	refused(path, -ENOENT, "No such file or directory");
	refused(dir, -EINVAL, "found a directory");
	refused("/dev/null", -EINVAL, "found a device");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refused(path, -EINVAL, "found a FIFO");
	ck_assert_int_eq(unlink(path), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, APMP_MACHINE_FILE_MAX + 1), 0);
	close(fd);
	refused(path, -EINVAL, "at most 1M");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink(path, path), 0);
	refused(path, -ELOOP, "can't open it");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Compares what is printed for a file with the "# expect" lines in its head, one for one. */
static void compare_with_head(const char *path)
{
	FILE *file = fopen(path, "r");
	struct machine *machine = NULL;
	size_t count = 0;
	char line[512];

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(apmp_machine_file_read(path, &errors, &machine), -EINVAL);
	while (fgets(line, sizeof(line), file)) {
		char got[512];

		if (strncmp(line, "# expect ", 9) != 0)
			continue;
		ck_assert_msg(count < errors.count, "%s: not reported: %s", path, line);
		snprintf(got, sizeof(got), "# expect %u:%u %s\n", errors.list[count].line,
			 errors.list[count].column, errors.list[count].sentence);
		ck_assert_msg(strcmp(line, got) == 0, "%s:\nwanted %sgot    %s", path, line, got);
		count++;
	}
	fclose(file);
	ck_assert_msg(count > 0 && count == errors.count, "%s: %zu expected, %zu reported", path,
		      count, errors.count);
}

START_TEST(test_data)
{
	DIR *dir = opendir(DATA);
	struct dirent *entry;
	size_t files = 0;

	ck_assert_msg(dir, "no " DATA ": run me from the top of the tree");
	while ((entry = readdir(dir))) {
		char path[512];
		const char *dot = strrchr(entry->d_name, '.');

		if (!dot || strcmp(dot, ".yaml") != 0)
			continue;
		snprintf(path, sizeof(path), DATA "/%s", entry->d_name);
		compare_with_head(path);
		files++;
	}
	closedir(dir);
	ck_assert_uint_ge(files, 20);
}
END_TEST

/* ---- mutations ---- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* One byte changed, removed or doubled; half of the new bytes are ones that YAML cares about. */
static size_t mutate(char *text, size_t size, size_t room, uint64_t *state)
{
	static const char spice[] = "[]{}:,-*&!|>'\"#%@ \n\t0159aMs.~?";
	size_t at = next_random(state) % size;
	uint64_t dice = next_random(state);

	switch (dice % 4) {
	case 0:
		text[at] = (char)(dice >> 8);
		return size;
	case 1:
		text[at] = spice[(dice >> 8) % (sizeof(spice) - 1)];
		return size;
	case 2:
		memmove(text + at, text + at + 1, size - at - 1);
		return size > 1 ? size - 1 : size;
	default:
		if (size == room)
			return size;
		memmove(text + at + 1, text + at, size - at);
		return size + 1;
	}
}

/* Whatever comes: a machine that becomes JSON, or a mistake that becomes JSON. */
static bool try_text(const char *text, size_t size)
{
	struct machine *machine = NULL;
	int err = apmp_machine_text_read("fuzz", text, size, &errors, &machine);
	json_t *json = err ? apmp_machine_errors_to_json(&errors) : apmp_machine_to_json(machine);

	ck_assert(err == 0 || err == -EINVAL);
	ck_assert((err == 0) == (errors.count == 0));
	ck_assert_ptr_nonnull(json);
	json_decref(json);
	apmp_machine_free(machine);
	return err == 0;
}

START_TEST(test_mutations)
{
	const char *rounds = getenv("FUZZ_ROUNDS"), *seed = getenv("FUZZ_SEED");
	uint64_t state = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15u;
	char original[8192], text[8192];
	FILE *file = fopen(TRIO, "r");
	size_t size, good = 0, count = rounds ? strtoul(rounds, NULL, 0) : 3000;

	ck_assert_ptr_nonnull(file);
	size = fread(original, 1, sizeof(original), file);
	fclose(file);
	ck_assert(size > 0 && size < sizeof(original));
	state = state ? state : 1;
	fprintf(stderr, "machine file mutations: seed %#llx, %zu rounds\n",
		(unsigned long long)state, count);
	for (size_t i = 0; i < count; i++) {
		size_t length = size;

		memcpy(text, original, size);
		for (uint64_t n = 1 + next_random(&state) % 4; n > 0; n--)
			length = mutate(text, length, sizeof(text), &state);
		good += try_text(text, length);
	}
	/* The mutations reach both ends: some only touch a comment, most do harm. */
	ck_assert(count < 1000 || (good > 0 && good < count));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine_file");
	TCase *good = tcase_create("good"), *bad = tcase_create("bad");
	TCase *fuzz = tcase_create("mutations");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(good, test_trio);
	tcase_add_test(good, test_defaults);
	tcase_add_test(good, test_unconfigured);
	tcase_add_test(good, test_json_input);
	tcase_add_test(good, test_aliases);
	tcase_add_test(good, test_edges);
	tcase_add_loop_test(bad, test_bad, 0, sizeof(bad_table) / sizeof(bad_table[0]));
	tcase_add_test(bad, test_nul);
	tcase_add_test(bad, test_all_at_once);
	tcase_add_test(bad, test_too_many);
	tcase_add_test(bad, test_too_much);
	tcase_add_test(bad, test_alias_bombs);
	tcase_add_test(bad, test_printable);
	tcase_add_test(bad, test_not_a_file);
	tcase_add_test(bad, test_data);
	tcase_add_test(fuzz, test_mutations);
	tcase_set_timeout(fuzz, 0); /* as long as FUZZ_ROUNDS wants; a hang shows in make check */
	suite_add_tcase(suite, good);
	suite_add_tcase(suite, bad);
	suite_add_tcase(suite, fuzz);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
