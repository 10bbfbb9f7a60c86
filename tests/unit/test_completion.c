/* `apmp completion words`: what a word may become, from the table of verbs and a living machine. */
#include "tests/unit/run_apmp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "tests/unit/suite.h"

/* The candidates for the last word of a line, joined by blanks; "_" stands for an empty word. */
static void expect_words(const char *line, const char *expected)
{
	char copy[256], *argv[APMP_WORDS_MAX], words[4096] = "", *save = NULL;
	char name[] = "apmp", verb[] = "completion", noun[] = "words", dashes[] = "--";
	int argc = 0;

	argv[argc++] = name;
	argv[argc++] = verb;
	argv[argc++] = noun;
	argv[argc++] = dashes;
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
	argv[argc] = NULL;
	ck_assert_int_eq(apmp_words(argc, argv), CLI_DONE);
	ck_assert_str_eq(err, "");
	for (char *at = strtok_r(out, "\n", &save); at; at = strtok_r(NULL, "\n", &save)) {
		size_t used = strlen(words);

		snprintf(words + used, sizeof(words) - used, "%s%.*s", used ? " " : "",
			 (int)strcspn(at, "\t"), at);
	}
	ck_assert_msg(strcmp(words, expected) == 0, "%s: \"%s\", expected \"%s\"", line, words,
		      expected);
}

START_TEST(verbs)
{
	expect_words("st", "status");
	expect_words("partition _", "create delete set boot halt crash reset");
	expect_words("hardware _", "list add remove");
	expect_words("hardware add _", "cpu bus memory");
	expect_words("--json hardware remove m", "memory");
	expect_words("chaos _", "list points inject kills joins migrations quiet sim");
	expect_words("chaos q", "quiet");
	expect_words("help cpu m", "migrate");
	expect_words("nonsense _", "");
	expect_words("status _", "");
	expect_words("completion _", "words bash zsh fish");
}
END_TEST

START_TEST(options)
{
	expect_words("--", "--name --json --help --version");
	expect_words("cpu migrate 2 --by _", "pal halt deassign");
	expect_words("cpu migrate --", "--to --loan --by --dry-run --wait --name --json --help");
	expect_words("cpu migrate 2 --l", "--loan");
	expect_words("partition set beta --boot _", "yes no");
	expect_words("partition set beta --boot=n", "--boot=no");
	expect_words("events --since _", "");
	expect_words("run --det", "--detach");
	expect_words("chaos joins --", "--count --seed --name --json --help");
	expect_words("chaos quiet --l", "--load");
	expect_words("chaos kills --c", "--console --count");
	expect_words("chaos sim --exhaust", "--exhaust-kills --exhaust-switches");
	expect_words("chaos sim --policy _", "random pct");
}
END_TEST

START_TEST(live_names)
{
	expect_words("partition boot _", "alpha beta");
	expect_words("partition boot b", "beta");
	expect_words("partition boot beta _", "");
	expect_words("cpu failover _", "alpha beta");
	expect_words("cpu failover alpha _", "all 0 4");
	expect_words("cpu failover alpha 0 _", "all 4 stay none beta");
	expect_words("cpu autostart beta 4 _", "all none 0");
	expect_words("cpu migrate 4 --to al", "alpha");
	expect_words("cpu migrate 4 --to=al", "--to=alpha");
	expect_words("cpu migrate _", "0 4");
	expect_words("cpu migrate 4 _", "0");
	expect_words("memory assign 8M --to _", "alpha beta lab");
	expect_words("community add _", "lab");
	expect_words("community add lab _", "alpha beta");
	expect_words("bus deassign 0", "0.0.0");
	expect_words("hardware remove memory _", "0x8000000");
	expect_words("hardware add cpu --sbb _", "0 1");
	expect_words("chaos inject kill _", "alpha beta console box");
	expect_words("chaos inject garbage _", "lab");
	expect_words("chaos inject page-bad _", "lab");
	expect_words("trace _", "alpha beta console box");
	expect_words("--name _", "mock");
	expect_words("--name mock partition halt a", "alpha");
	expect_words("--name=mock partition halt a", "alpha");
	expect_words("partition halt --name mock a", "alpha");
	expect_words("--name nobody partition halt _", "");
}
END_TEST

START_TEST(what_needs_no_machine)
{
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
	expect_words("partition boot _", "");
	expect_words("chaos inject _", "kill stop cont segv assert page-bad garbage");
	expect_words("chaos inject kill beta --at join_81", "join_810 join_812 join_814 join_816 "
							    "join_818");
	expect_words("up _", ":files");
	expect_words("up machine.yaml _", "");
}
END_TEST

/* Behind the command of `run` nothing is ours. */
START_TEST(words_of_others)
{
	expect_words("run _", "alpha beta");
	expect_words("run alpha _", "--");
	expect_words("run alpha --c", "--confined");
	expect_words("run alpha -- _", ":commands");
	expect_words("run alpha -- make _", ":files");
	expect_words("run alpha -- make --de", ":files");
	expect_words("run alpha make --de", ":files");
}
END_TEST

/* A console that does not answer costs a second, and has no names. */
START_TEST(a_silent_console)
{
	ck_assert_int_eq(kill(mock.pid, SIGSTOP), 0);
	expect_words("partition boot _", "");
	ck_assert_int_eq(kill(mock.pid, SIGCONT), 0);
}
END_TEST

START_TEST(as_json)
{
	json_t *said;

	ck_assert_int_eq(apmp("apmp --json completion words -- sta"), CLI_DONE);
	said = json_out();
	ck_assert_ptr_nonnull(json_object_get(said, "status"));
	json_decref(said);
	ck_assert_int_eq(apmp("apmp completion bash"), CLI_DONE);
	expect(out, "complete -F _apmp apmp");
	ck_assert_int_eq(apmp("apmp --json completion zsh"), CLI_DONE);
	said = json_out();
	json_decref(said);
	ck_assert_int_eq(apmp("apmp completion tcsh"), CLI_USAGE);
	expect(err, "bash, zsh and fish, not for \"tcsh\"");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("completion");
	TCase *mocked = suite_case(suite, "mocked");

	tcase_add_checked_fixture(mocked, apmp_mock_setup, apmp_mock_teardown);
	tcase_add_test(mocked, verbs);
	tcase_add_test(mocked, options);
	tcase_add_test(mocked, live_names);
	tcase_add_test(mocked, what_needs_no_machine);
	tcase_add_test(mocked, words_of_others);
	tcase_add_test(mocked, a_silent_console);
	tcase_add_test(mocked, as_json);
	return suite_run(suite);
}
