/* The verbs of the configuration and of hot swap: what they ask the console, and what they say. */
#include "tests/unit/run_apmp.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/table.h"
#include "tests/unit/suite.h"

/* The mock answers with the parameters that it was given and more: this is all of it. */
static void expect_json(const char *line, const char *expected)
{
	json_t *said, *wanted = json_loads(expected, 0, NULL);

	ck_assert_msg(wanted != NULL, "%s", expected);
	ck_assert_msg(apmp(line) == CLI_DONE, "%s: %s", line, err);
	said = json_out();
	ck_assert_msg(json_equal(said, wanted), "%s: %s", line, out);
	json_decref(said);
	json_decref(wanted);
}

static void expect_text(const char *line, const char *said)
{
	ck_assert_msg(apmp(line) == CLI_DONE, "%s: %s", line, err);
	ck_assert_str_eq(out, said);
}

static void expect_refused(const char *line, const char *said)
{
	ck_assert_msg(apmp(line) == CLI_REFUSED, "%s", line);
	ck_assert_str_eq(err, said);
	ck_assert_str_eq(out, "");
}

START_TEST(partitions)
{
	expect_json("apmp --json partition create delta", "{\"name\": \"delta\", \"id\": 3}");
	expect_json("apmp --json partition create delta --community lab --boot",
		    "{\"name\": \"delta\", \"community\": \"lab\", \"boot\": true, \"id\": 3}");
	ck_assert_int_eq(apmp("apmp partition create delta"), CLI_DONE);
	expect(out, "partition \"delta\" is there and owns nothing yet: `apmp cpu assign`");
	expect_refused("apmp partition create alpha",
		       "apmp: creating partition \"alpha\": there is partition \"alpha\" already; "
		       "choose another name\n");
	expect_text("apmp partition delete delta", "partition \"delta\" is deleted\n");
	expect_refused("apmp partition delete alpha",
		       "apmp: deleting partition \"alpha\": partition \"alpha\" is initialized and "
		       "alone releases what it has; `apmp partition halt alpha` first\n");
	expect_json("apmp --json partition set beta --boot yes",
		    "{\"name\": \"beta\", \"boot\": true}");
	expect_text("apmp partition set beta --boot no",
		    "partition \"beta\" does not boot at power on\n");
}
END_TEST

START_TEST(communities)
{
	expect_json("apmp --json community create club", "{\"name\": \"club\", \"id\": 3}");
	expect_text("apmp community delete club", "community \"club\" is deleted\n");
	expect_json("apmp --json community add club beta",
		    "{\"name\": \"club\", \"partition\": \"beta\"}");
	expect_text("apmp community add club beta",
		    "partition \"beta\" is in community \"club\"\n");
	expect_text("apmp community remove club beta", "partition \"beta\" is in no community\n");
	expect_refused(
	    "apmp community add club no-such-one",
	    "apmp: there is no partition \"no-such-one\"; `apmp status` names those that "
	    "are\n");
}
END_TEST

START_TEST(components)
{
	expect_text("apmp cpu assign 5 6 --to beta",
		    "CPU 5 belongs to \"beta\"\nCPU 6 belongs to \"beta\"\n");
	expect_text("apmp cpu assign 5 --to alpha",
		    "CPU 5 belongs to \"alpha\", which gets it when it boots the next "
		    "time\n");
	expect_text("apmp cpu deassign 5",
		    "CPU 5 is nobody's, and still in use until who uses it boots or halts\n");
	expect_text("apmp bus assign 1.0.0 --to beta", "bus 1.0.0 belongs to \"beta\"\n");
	expect_json("apmp bus assign 1.0.0 --to beta --json",
		    "{\"done\": [{\"bus\": \"1.0.0\", \"to\": \"beta\", \"active\": true}]}");
	expect_json("apmp cpu deassign --json 4 5",
		    "{\"done\": [{\"cpu\": 4, \"in_use\": true}, {\"cpu\": 5, \"in_use\": true}]}");
}
END_TEST

/* Up to the first one that is refused; those before it are done, those behind it are not tried. */
START_TEST(several_things)
{
	json_t *said;

	ck_assert_int_eq(apmp("apmp cpu assign 5 9 6 7 --to beta"), CLI_REFUSED);
	ck_assert_str_eq(out, "CPU 5 belongs to \"beta\"\n");
	ck_assert_str_eq(err, "apmp: assigning CPU 9 to \"beta\": partition \"beta\" owns it or "
			      "still uses it; take it from there first, with `deassign` (memory: "
			      "`remove`), and boot or halt what uses it\n"
			      "apmp: not tried after that: 6 7\n");
	ck_assert_int_eq(apmp("apmp --json cpu deassign 5 9 6"), CLI_REFUSED);
	said = json_out();
	ck_assert_str_eq(cli_string(said, "error"), "org.apmp.machine.PrimaryCpu");
	ck_assert_int_eq(json_array_size(json_object_get(said, "done")), 1);
	json_decref(said);
	expect(err, "deassigning CPU 9: it is the primary CPU of partition \"beta\", which runs; "
		    "take another one, or `apmp partition halt beta` first");
	/* All words are read before the first is acted upon. */
	ck_assert_int_eq(apmp("apmp cpu assign 5 six --to beta"), CLI_USAGE);
	ck_assert_str_eq(out, "");
	expect_refused("apmp bus deassign 9.9.9",
		       "apmp: deassigning bus 9.9.9: nobody owns bus 9.9.9; `apmp hardware list` "
		       "shows what is whose\n");
}
END_TEST

START_TEST(memory)
{
	expect_text("apmp memory assign 24M --to beta",
		    "memory for \"beta\", which gets it when it boots the next time: "
		    "16M at 0x8000000, 8M at 0xa000000\n");
	expect_text("apmp memory remove 24M --from beta",
		    "memory taken from \"beta\": 16M at 0x8000000, 8M at 0xa000000\n");
	expect_json("apmp --json memory assign 24M --to lab --at 0x8000000",
		    "{\"size\": 25165824, \"to\": \"lab\", \"pa\": 134217728, \"active\": false,"
		    "\"fragments\": [{\"pa\": 134217728, \"size\": 16777216},"
		    "{\"pa\": 167772160, \"size\": 8388608}]}");
	expect_refused("apmp memory assign 64M --to full",
		       "apmp: assigning 64M of memory to \"full\": 64M wanted, 2560K there; "
		       "`apmp memory list` shows what is whose\n");
	expect_text("apmp memory list",
		    "       PA  SIZE  KIND     OWNER  CURRENT-OWNER  SBB  BASE  BOX\n"
		    "      0x0   24M  private  alpha  beta             0  base  in\n"
		    "0x1800000    2M  unowned  -      -                0  -     in\n"
		    "\n26M in the box, 2M of it unowned\n");
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		json_int_t bytes;
	} good[] = {{"24M", 24 << 20},
		    {"8K", 8192},
		    {"1G", 1 << 30},
		    {"4096", 4096},
		    {"0x1000", 4096},
		    {"7T", (json_int_t)7 << 40},
		    {"9223372036854775807", INT64_MAX}};
	static const char *const bad[] = {
	    "M", "24MB", "24m", "9223372036854775808", "9007199254740992K", "0x", "1.5M"};
	char line[128], answer[128];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(line, sizeof(line), "apmp --json hardware add memory %s --sbb 1",
			 good[i].text);
		snprintf(answer, sizeof(answer),
			 "{\"kind\": \"memory\", \"sbb\": 1, \"size\": %lld, \"id\": \"6\"}",
			 (long long)good[i].bytes);
		expect_json(line, answer);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "apmp hardware add memory %s --sbb 1", bad[i]);
		ck_assert_msg(apmp(line) == CLI_USAGE, "%s: %s", line, out);
		expect(err, "SIZE is a number of bytes as 24M or 0x1000000, not \"");
	}
}
END_TEST

START_TEST(hardware)
{
	expect_json("apmp --json hardware add cpu --sbb 1",
		    "{\"kind\": \"cpu\", \"sbb\": 1, \"id\": \"6\"}");
	expect_json("apmp --json hardware add cpu --sbb 1 --id 12 --type 3 --revision 2 "
		    "--secondary-only",
		    "{\"kind\": \"cpu\", \"sbb\": 1, \"id\": \"12\", \"type\": 3, \"revision\": 2,"
		    " \"primary\": false}");
	expect_text("apmp hardware add bus --sbb 0 --id 0.0.2",
		    "bus 0.0.2 is in the box and nobody's; `apmp bus assign` gives it to a "
		    "partition\n");
	expect_refused("apmp hardware add cpu --sbb 0 --id 0",
		       "apmp: putting CPU into SBB 0: CPU 0 is there already; leave --id out to "
		       "take the next one\n");
	expect_text("apmp hardware remove cpu 6 7",
		    "CPU 6 is out of the box\nCPU 7 is out of the box\n");
	expect_json("apmp --json hardware remove memory 0x8000000",
		    "{\"done\": [{\"kind\": \"memory\", \"id\": \"0x8000000\"}]}");
	ck_assert_int_eq(apmp("apmp hardware remove cpu 9 6"), CLI_REFUSED);
	expect(err, "taking CPU 9 out of the box: CPU 9 is \"beta\"'s; take it back first");
	expect(err, "apmp: not tried after that: 6\n");
	expect_text("apmp bus list", "BUS    SBB  OWNER  CURRENT-OWNER  BOX  HOT-SWAP\n"
				     "0.0.0    0  -      -              in   yes\n"
				     "1.0.0    1  -      -              out  yes\n");
	ck_assert_int_eq(apmp("apmp hardware list"), CLI_DONE);
	expect(out, "\nmemory  0x8000000    0  -      -              in   no\n");
}
END_TEST

/* ---- points ---- */

/* The list is the same with and without a machine; a machine that is named must be there. */
START_TEST(points_need_no_machine)
{
	json_t *points;

	ck_assert_int_eq(apmp("apmp --json chaos points"), CLI_DONE);
	expect(out, "\"passed\":17");
	points = json_out();
	ck_assert_int_gt(json_array_size(points), 70);
	json_decref(points);
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	ck_assert_int_eq(apmp("apmp --json chaos points"), CLI_DONE);
	ck_assert_ptr_null(strstr(out, "\"passed\""));
	ck_assert_int_eq(apmp("apmp chaos points"), CLI_DONE);
	ck_assert_str_eq(err, "");
	expect(out, "update_store      console    [0117] ");
	expect(out, "join_812          instance   Fig. 8B step 812");
	ck_assert_int_eq(apmp("apmp --name nobody chaos points"), CLI_NO_MACHINE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli_configure");
	TCase *mocked = suite_case(suite, "mocked");

	tcase_add_checked_fixture(mocked, apmp_mock_setup, apmp_mock_teardown);
	tcase_add_test(mocked, partitions);
	tcase_add_test(mocked, communities);
	tcase_add_test(mocked, components);
	tcase_add_test(mocked, several_things);
	tcase_add_test(mocked, memory);
	tcase_add_test(mocked, sizes);
	tcase_add_test(mocked, hardware);
	tcase_add_test(mocked, points_need_no_machine);
	return suite_run(suite);
}
