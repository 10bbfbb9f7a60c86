/* The command line: the whole of `apmp` but main(), against the mock console. */
#include <check.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/table.h"
#include "shm/wire/varlink.h"
#include "tests/unit/mock_console.h"

enum { WORDS_MAX = 16, TEXT_MAX = 16384 };

static struct mock mock;
static char out[TEXT_MAX], err[TEXT_MAX];

static void setup(void)
{
	mock_start(&mock, "mock", NULL);
	setenv("XDG_RUNTIME_DIR", mock.directory, 1);
	unsetenv("APMP_MACHINE");
}

static void teardown(void)
{
	mock_stop(&mock);
}

/* ---- running it ---- */

static int split(char *line, char **argv)
{
	int argc = 0;

	for (char *word = strtok(line, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	return argc;
}

static void take_text(int fd, char *text)
{
	ssize_t size = pread(fd, text, TEXT_MAX - 1, 0);

	ck_assert_int_ge(size, 0);
	text[size] = 0;
	close(fd);
}

static int text_file(const char *name, const char *text)
{
	int fd = memfd_create(name, 0);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Runs "apmp ..." with that standard input; its exit code; out and err have what it said. */
static int apmp_fed(const char *input, const char *line)
{
	int fds[] = {text_file("in", input), text_file("out", ""), text_file("err", "")};
	char *copy = strdup(line), *argv[WORDS_MAX + 1];
	int status, argc = split(copy, argv);
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			dup2(fds[i], i);
		exit(cli_main(argc, argv));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "%s: ended with %#x", line, status);
	close(fds[0]);
	take_text(fds[1], out);
	take_text(fds[2], err);
	free(copy);
	return WEXITSTATUS(status);
}

static int apmp(const char *line)
{
	return apmp_fed("", line);
}

#define expect(text, part)                                                                         \
	ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text)

static json_t *json_out(void)
{
	json_error_t error;
	json_t *value = json_loads(out, JSON_DECODE_ANY, &error);

	ck_assert_msg(value != NULL, "no JSON (%s): %s", error.text, out);
	return value;
}

/* ---- usage ---- */

START_TEST(usage_mistakes)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
	    {"apmp", ""},
	    {"apmp nonsense", "no verb \"nonsense\""},
	    {"apmp cpu", "apmp cpu migrate CPU..."},
	    {"apmp cpu nonsense", "no verb \"cpu nonsense\""},
	    {"apmp --nonsense status", "no option --nonsense"},
	    {"apmp status --nonsense", "no option --nonsense; see `apmp status --help`"},
	    {"apmp status --name", "--name wants a value"},
	    {"apmp status alpha", "\"alpha\" is too much"},
	    {"apmp partition boot", "partition boot wants PARTITION"},
	    {"apmp cpu migrate 2", "wants --to PARTITION"},
	    {"apmp cpu migrate two --to beta", "CPU is a number, not \"two\""},
	    {"apmp cpu migrate 2 -1 --to beta", "-1"},
	    {"apmp cpu migrate 2 --to beta --wait soon", "not \"soon\""},
	    {"apmp events --since yesterday", "--since is a number"},
	    {"apmp run alpha", "run wants PARTITION -- COMMAND..."},
	    {"apmp chaos inject kill", "chaos inject wants"},
	    {"apmp chaos inject kill alpha --at join:x", "is a number, not \"x\""},
	    {"apmp chaos", "wants to know what"},
	    {"apmp --name ../x status", "\"../x\" can't be the name"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(apmp(cases[i].line) == CLI_USAGE, "%s", cases[i].line);
		expect(err, cases[i].says);
	}
}
END_TEST

/* The verb of one line of the help: small letters, ended by its arguments or two blanks. */
static bool verb_of(const char *line, char *verb, size_t size)
{
	size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz ");
	char *gap;

	snprintf(verb, size, "%.*s", (int)length, line);
	gap = strstr(verb, "  ");
	if (gap)
		*gap = 0;
	return line[length] != '|'; /* "chaos run|...": those pages are apmp-chaos' */
}

START_TEST(help_is_everywhere)
{
	char all[TEXT_MAX], line[128], verb[64];
	int verbs = 0;

	ck_assert_int_eq(apmp("apmp --help"), CLI_DONE);
	strcpy(all, out);
	for (char *at = all; (at = strstr(at, "\n  ")) && at[3] != '-'; at++, verbs++) {
		if (!verb_of(at + 3, verb, sizeof(verb)))
			continue;
		snprintf(line, sizeof(line), "apmp %s --help", verb);
		ck_assert_msg(apmp(line) == CLI_DONE, "%s", line);
		expect(out, "example:\n  apmp ");
	}
	ck_assert_int_ge(verbs, 20);
	ck_assert_int_eq(apmp("apmp help cpu migrate"), CLI_DONE);
	expect(out, "--to PARTITION");
	ck_assert_int_eq(apmp("apmp cpu --help"), CLI_DONE);
	expect(out, "apmp cpu migrate CPU...");
	ck_assert_int_eq(apmp("apmp --version"), CLI_DONE);
}
END_TEST

/* ---- which machine ---- */

START_TEST(the_machine_is_chosen)
{
	struct mock other = {0};

	ck_assert_int_eq(apmp("apmp status"), CLI_DONE); /* the only one */
	mock_start(&other, "other", &mock);
	ck_assert_int_eq(apmp("apmp status"), CLI_USAGE);
	expect(err, "2 machines are running (mock other)");
	ck_assert_int_eq(apmp("apmp --name other status"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp status --name other"), CLI_DONE);
	setenv("APMP_MACHINE", "mock", 1);
	ck_assert_int_eq(apmp("apmp status"), CLI_DONE);
	setenv("APMP_MACHINE", "third", 1);
	ck_assert_int_eq(apmp("apmp status"), CLI_NO_MACHINE);
	expect(err, "no machine \"third\" is running");
	unsetenv("APMP_MACHINE");
	ck_assert_int_eq(apmp("apmp list"), CLI_DONE);
	expect(out, "MACHINE");
	expect(out, "other");
	mock_stop(&other);
}
END_TEST

START_TEST(down_waits_for_the_box)
{
	ck_assert_int_eq(apmp("apmp down"), CLI_DONE);
	expect(out, "machine \"mock\" is off");
	mock_wait(&mock);
	/* The mock, unlike apmpd, leaves its directory: a dead machine. */
	ck_assert_int_eq(apmp("apmp status"), CLI_NO_MACHINE);
	expect(err, "no machine is running; `apmp up FILE` starts one");
	ck_assert_int_eq(apmp("apmp --name mock --json status"), CLI_NO_MACHINE);
	expect(err, "machine \"mock\" is dead");
	expect(out,
	       "{\"error\":\"org.apmp.cli.DeadMachine\",\"parameters\":{\"machine\":\"mock\"}}");
	ck_assert_int_eq(apmp("apmp --json list"), CLI_DONE);
	expect(out, "[{\"name\":\"mock\",\"state\":\"dead\"}]");
}
END_TEST

START_TEST(a_console_that_does_not_answer)
{
	char away[200];
	int status;

	snprintf(away, sizeof(away), "%s.away", mock.control);
	ck_assert_int_eq(rename(mock.control, away), 0);
	ck_assert_int_eq(apmp("apmp status"), CLI_REFUSED);
	expect(err, "the console of machine \"mock\" does not answer");
	ck_assert_int_eq(apmp("apmp down"), CLI_REFUSED);
	expect(err, "down --force");
	ck_assert_int_eq(apmp("apmp list"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp down --force"), CLI_DONE);
	ck_assert_int_eq(waitpid(mock.pid, &status, 0), mock.pid);
	ck_assert_int_eq(WTERMSIG(status), SIGTERM);
	mock.pid = 0;
	ck_assert_int_eq(unlink(away), 0);
}
END_TEST

START_TEST(a_directory_of_others_is_not_trusted)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/apmp", mock.directory);
	ck_assert_int_eq(chmod(path, 0777), 0);
	ck_assert_int_eq(apmp("apmp status"), CLI_REFUSED);
	expect(err, "others can write it");
	ck_assert_int_eq(chmod(path, 0700), 0);
}
END_TEST

/* ---- what is shown ---- */

START_TEST(status_and_cpus)
{
	json_t *status;

	ck_assert_int_eq(apmp("apmp status"), CLI_DONE);
	expect(out, "machine mock is on");
	expect(out, "alpha");
	expect(out, "0-2,5");
	expect(out, "24M");
	expect(out, "operational");
	ck_assert_int_eq(apmp("apmp status --json"), CLI_DONE);
	status = json_out();
	ck_assert_str_eq(cli_string(status, "machine"), "mock");
	json_decref(status);
	ck_assert_int_eq(apmp("apmp cpu list"), CLI_DONE);
	expect(out, "CPU  OWNER  CURRENT-OWNER  STATE       PRIMARY  HOST-CPU\n"
		    "  0  alpha  beta           active      primary         1\n"
		    "  4  -      -              unassigned  -               -\n");
}
END_TEST

START_TEST(tree)
{
	ck_assert_int_eq(apmp("apmp tree"), CLI_DONE);
	expect(out, "root mock ");
	expect(out, "\n    partition al\"pha ");
	expect(out, "\n  cpu 2 ");
	expect(out, "alpha -> beta");
	ck_assert_int_eq(apmp("apmp tree --dot"), CLI_DONE);
	expect(out, "digraph");
	expect(out, "n64 -> n256;");
	expect(out, "partition al\\\"pha");
}
END_TEST

START_TEST(events_and_trace)
{
	ck_assert_int_eq(apmp("apmp events --since 3"), CLI_DONE);
	expect(out, "     3        0.004500  member.joined          partition=alpha\n");
	expect(out, "     5        0.007500  member.joined");
	ck_assert_int_eq(apmp("apmp events --json"), CLI_DONE);
	expect(out, "{\"seq\":2,\"t_ns\":3000000,");
	ck_assert_int_eq(apmp("apmp trace alpha beta"), CLI_DONE);
	expect(out, "2.500 us  beta");
	expect(out, "8A 812");
	ck_assert_int_eq(apmp("apmp --json trace"), CLI_DONE);
	expect(out, "\"point\":\"join_813\"");
}
END_TEST

/* ---- what changes something ---- */

START_TEST(partitions)
{
	ck_assert_int_eq(apmp("apmp partition boot alpha"), CLI_DONE);
	expect(out, "partition \"alpha\" is a member");
	ck_assert_int_eq(apmp("apmp partition boot alpha --no-wait"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp partition halt no-such-one"), CLI_REFUSED);
	expect(err, "there is no partition \"no-such-one\"");
	ck_assert_int_eq(apmp("apmp partition crash beta"), CLI_REFUSED);
	expect(err, "partition \"beta\" is not running: it is off; `apmp partition boot beta`");
	ck_assert_int_eq(apmp("apmp --json partition crash beta"), CLI_REFUSED);
	expect(out, "{\"error\":\"org.apmp.machine.NotRunning\",\"parameters\":{\"partition\":"
		    "\"beta\",\"state\":\"off\"}}\n");
	ck_assert_int_eq(apmp("apmp partition reset beta"), CLI_REFUSED);
	expect(err, "can't do org.apmp.machine.PartitionReset yet");
}
END_TEST

START_TEST(cpus)
{
	ck_assert_int_eq(apmp("apmp cpu migrate 2 3 --to beta"), CLI_DONE);
	expect(out, "CPU 2 went from \"alpha\" to \"beta\" in 1.25 ms\nCPU 3 went");
	ck_assert_int_eq(apmp("apmp cpu migrate --to beta 2 --dry-run"), CLI_DONE);
	expect(out, "  2. hand over\n");
	ck_assert_int_eq(apmp("apmp cpu migrate 0 2 --to beta"), CLI_REFUSED);
	expect(err, "CPU 0 is the primary of partition \"alpha\"");
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(apmp("apmp cpu migrate 1 --to beta"), CLI_REFUSED);
	expect(err, "another change of CPU 1 is on its way");
	ck_assert_int_eq(apmp("apmp cpu migrate 1 --to beta --wait 10s"), CLI_DONE);
}
END_TEST

START_TEST(programs)
{
	ck_assert_int_eq(apmp("apmp run alpha -- true --detach"), 7);
	ck_assert_str_eq(out, "true");
	ck_assert_str_eq(err, "grumble\n");
	ck_assert_int_eq(apmp("apmp run alpha true --unknown"), 7);
	ck_assert_int_eq(apmp_fed("fed ", "apmp run alpha cat"), 7);
	ck_assert_str_eq(out, "fed cat");
	ck_assert_int_eq(apmp("apmp run alpha -- signal"), 128 + SIGKILL);
	ck_assert_int_eq(apmp("apmp run alpha -- reset"), 128 + SIGKILL);
	expect(err, "reset in partition \"alpha\" was ended: the partition was reset");
	ck_assert_int_eq(apmp("apmp run alpha --detach -- true"), CLI_DONE);
	ck_assert_str_eq(out, "4711\n");
	ck_assert_int_eq(apmp("apmp run --detach --json alpha true"), CLI_DONE);
	expect(out, "{\"pid\":4711,\"fds\":0}");
}
END_TEST

START_TEST(consoles)
{
	ck_assert_int_eq(apmp_fed("typed", "apmp console alpha"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp console no-such"), CLI_REFUSED);
	expect(err, "there is no partition \"no-such\"");
}
END_TEST

/* Waits until the terminal has said it. */
static void read_until(int terminal, const char *part)
{
	char text[1024] = "";
	size_t size = 0;
	ssize_t got;

	while (!strstr(text, part)) {
		got = read(terminal, text + size, sizeof(text) - 1 - size);
		ck_assert_msg(got > 0, "\"%s\" did not come: %s", part, text);
		size += (size_t)got;
		text[size] = 0;
	}
}

START_TEST(a_console_on_a_terminal)
{
	int terminal, status;
	pid_t pid;

	fflush(NULL);
	pid = forkpty(&terminal, NULL, NULL, NULL);
	if (pid == 0) {
		char line[] = "apmp console alpha", *argv[WORDS_MAX + 1];
		int argc = split(line, argv);

		exit(cli_main(argc, argv));
	}
	read_until(terminal, "^] leaves");
	/* ^C is a byte like any other; only ^] is ours, and what stands before it is still sent. */
	ck_assert_int_eq(write(terminal, "typed\3", 6), 6);
	read_until(terminal, "typed\3");
	ck_assert_int_eq(write(terminal, "x\x1d", 2), 2);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	close(terminal);
}
END_TEST

/* What apmpd and apmp-chaos do themselves: they get their part of the command line. */
START_TEST(other_programs)
{
	static const char *const names[] = {"apmpd", "apmp-chaos"};
	char path[128],
	    script[] = "#!/bin/sh\necho ${0##*/} \"$@\" ${APMP_MACHINE:-none}; exit 5\n";

	setenv("PATH", mock.directory, 1);
	ck_assert_int_eq(apmp("apmp check trio.yaml"), CLI_REFUSED);
	expect(err, "the program apmpd can't be started");
	for (int i = 0; i < 2; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", mock.directory, names[i]);
		file = fopen(path, "w");
		ck_assert(file && fputs(script, file) >= 0 && fclose(file) == 0);
		ck_assert_int_eq(chmod(path, 0700), 0);
	}
	ck_assert_int_eq(apmp("apmp --name trio up trio.yaml --foreground"), 5);
	ck_assert_str_eq(out, "apmpd up trio.yaml --foreground --name trio none\n");
	ck_assert_int_eq(apmp("apmp check trio.yaml --json"), 5);
	ck_assert_str_eq(out, "apmpd check trio.yaml --json none\n");
	ck_assert_int_eq(apmp("apmp doctor --fix"), 5);
	ck_assert_str_eq(out, "apmpd doctor --fix none\n");
	ck_assert_int_eq(apmp("apmp clean"), 5);
	ck_assert_str_eq(out, "apmpd clean none\n");
	ck_assert_int_eq(apmp("apmp --name trio chaos run plan.yaml --seed 7"), 5);
	ck_assert_str_eq(out, "apmp-chaos run plan.yaml --seed 7 trio\n");
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", mock.directory, names[i]);
		unlink(path);
	}
}
END_TEST

START_TEST(faults)
{
	ck_assert_int_eq(apmp("apmp chaos list"), CLI_DONE);
	expect(out, "kill ");
	ck_assert_int_eq(apmp("apmp chaos inject kill beta"), CLI_DONE);
	expect(out, "fault kill struck partition \"beta\"");
	ck_assert_int_eq(apmp("apmp chaos inject kill beta --at join_812:3 --json"), CLI_DONE);
	expect(out,
	       "{\"fault\":\"kill\",\"partition\":\"beta\",\"point\":\"join_812\",\"count\":3}");
	ck_assert_int_eq(apmp("apmp chaos inject kill beta --at nowhere"), CLI_REFUSED);
	expect(err, "there is no point \"nowhere\"; `apmp chaos points` lists them");
}
END_TEST

/* ---- sentences, texts ---- */

/* Every error of the interface definition has a sentence that uses each of its parameters. */
START_TEST(every_error_has_a_sentence)
{
	int count = 0;

	for (const char *at = varlink_machine_text; (at = strstr(at, "\nerror ")); count++) {
		char name[64], full[128], key[64], *sentence;
		json_t *parameters = json_object();
		int used;

		ck_assert_int_eq(sscanf(at, " error %63[A-Za-z] (%n", name, &used), 1);
		at += used;
		while (sscanf(at, " %63[a-z_] : %*[a-z?]%n", key, &used) == 1) {
			char *value = cli_text("<%s>", key);

			json_object_set_new(parameters, key, json_string(value));
			free(value);
			at += used;
			at += *at == ',';
		}
		snprintf(full, sizeof(full), "%s.%s", VARLINK_MACHINE, name);
		sentence = cli_sentence(full, parameters);
		ck_assert_msg(!strstr(sentence, "refused: org."), "no sentence: %s", sentence);
		for (void *i = json_object_iter(parameters); i;
		     i = json_object_iter_next(parameters, i))
			ck_assert_msg(
			    strstr(sentence, json_string_value(json_object_iter_value(i))),
			    "%s: no %s in: %s", name, json_object_iter_key(i), sentence);
		free(sentence);
		json_decref(parameters);
	}
	ck_assert_int_ge(count, 15);
}
END_TEST

static void expect_text(char *text, const char *expected)
{
	ck_assert_str_eq(text, expected);
	free(text);
}

START_TEST(small_texts)
{
	json_t *numbers = json_pack("[i,i,i,i,i,i]", 0, 1, 2, 4, 6, 7);
	json_t *memory = json_pack("{s:s, s:s, s:I, s:I}", "partition", "web", "what", "memory",
				   "wanted", (json_int_t)25165824, "had", (json_int_t)1000);

	expect_text(cli_numbers_text(numbers), "0-2,4,6-7");
	expect_text(cli_numbers_text(NULL), "-");
	expect_text(cli_size_text(0), "0");
	expect_text(cli_size_text(1536), "1536");
	expect_text(cli_size_text(1ULL << 31), "2G");
	expect_text(cli_duration_text(999), "999 ns");
	expect_text(cli_duration_text(2500000000), "2.5 s");
	expect_text(cli_sentence("org.apmp.machine.NotEnough", memory),
		    "not enough memory for partition \"web\": 24M wanted, 1000 there");
	expect_text(cli_sentence("org.apmp.machine.New", memory),
		    "the console refused: org.apmp.machine.New {\"partition\":\"web\","
		    "\"what\":\"memory\",\"wanted\":25165824,\"had\":1000}");
	json_decref(numbers);
	json_decref(memory);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli");
	TCase *mocked = tcase_create("mocked"), *alone = tcase_create("alone");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(mocked, setup, teardown);
	tcase_set_timeout(mocked, 30);
	suite_add_tcase(suite, mocked);
	suite_add_tcase(suite, alone);
	tcase_add_test(mocked, usage_mistakes);
	tcase_add_test(mocked, help_is_everywhere);
	tcase_add_test(mocked, the_machine_is_chosen);
	tcase_add_test(mocked, down_waits_for_the_box);
	tcase_add_test(mocked, a_console_that_does_not_answer);
	tcase_add_test(mocked, a_directory_of_others_is_not_trusted);
	tcase_add_test(mocked, status_and_cpus);
	tcase_add_test(mocked, tree);
	tcase_add_test(mocked, events_and_trace);
	tcase_add_test(mocked, partitions);
	tcase_add_test(mocked, cpus);
	tcase_add_test(mocked, programs);
	tcase_add_test(mocked, consoles);
	tcase_add_test(mocked, a_console_on_a_terminal);
	tcase_add_test(mocked, other_programs);
	tcase_add_test(mocked, faults);
	tcase_add_test(alone, every_error_has_a_sentence);
	tcase_add_test(alone, small_texts);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
