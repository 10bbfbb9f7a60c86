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
#include "cli/event_text.h"
#include "cli/table.h"
#include "shm/wire/varlink.h"
#include "tests/unit/run_apmp.h"
#include "tests/unit/suite.h"

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
	    {"apmp status --json=yes", "--json takes no value"},
	    {"apmp hardware add memory -1M --sbb 1", "there is no option -1;"},
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
	    {"apmp cpu --json list",
	     "--json stands in the midst of a verb; options stand before all of its words, or "
	     "behind them; see `apmp cpu --help`"},
	    {"apmp chaos", "chaos wants one of these verbs; see `apmp chaos --help`"},
	    {"apmp chaos foo", "no verb \"chaos foo\"; see `apmp chaos --help`\n"},
	    {"apmp chaos quiet foo", "\"foo\" is too much"},
	    {"apmp chaos quiet --seed 4", "no option --seed"},
	    {"apmp chaos quiet --load -1", "N of --load is a number, not \"-1\""},
	    {"apmp chaos joins --load 3", "no option --load; see `apmp chaos joins --help`"},
	    {"apmp chaos joins --count x", "N of --count is a number, not \"x\""},
	    {"apmp chaos joins --count 0", "N of --count is at least 1"},
	    {"apmp chaos inject kill beta --page 1", "--page goes with page-bad and garbage"},
	    {"apmp chaos inject stop beta --pfn 1", "--pfn goes with page-bad and garbage"},
	    {"apmp chaos inject page-bad lab --page 1 --pfn 2", "give one of them"},
	    {"apmp chaos inject garbage lab --page 1 --at join_812", "leave --at out"},
	    {"apmp --name ../x status", "\"../x\" can't be the name"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(apmp(cases[i].line) == CLI_USAGE, "%s", cases[i].line);
		expect(err, cases[i].says);
	}
}
END_TEST

START_TEST(help_is_everywhere)
{
	json_t *all, *verb;
	char line[128];
	size_t i;

	ck_assert_int_eq(apmp("apmp --help"), CLI_DONE);
	expect(out, "\n  cpu migrate CPU... --to PARTITION ");
	ck_assert_int_eq(apmp("apmp --json --help"), CLI_DONE);
	all = json_out();
	ck_assert_int_ge(json_array_size(json_object_get(all, "verbs")), 45);
	json_array_foreach(json_object_get(all, "verbs"), i, verb)
	{
		snprintf(line, sizeof(line), "apmp %s --help", cli_string(verb, "verb"));
		ck_assert_msg(apmp(line) == CLI_DONE, "%s", line);
		snprintf(line, sizeof(line), "usage: apmp %s", cli_string(verb, "usage"));
		expect(out, line);
		expect(out, "example:\n  ");
		ck_assert_str_eq(err, "");
	}
	json_decref(all);
	ck_assert_int_eq(apmp("apmp help cpu migrate"), CLI_DONE);
	expect(out,
	       "usage: apmp cpu migrate CPU... --to PARTITION [--loan] [--by pal|halt|deassign]");
	ck_assert_int_eq(apmp("apmp run --help"), CLI_DONE);
	expect(out, "usage: apmp run PARTITION [--detach] [--confined] -- COMMAND...\n");
	ck_assert_int_eq(apmp("apmp up --help"), CLI_DONE);
	expect(out, "./machine.yaml");
	ck_assert_int_eq(apmp("apmp partition reset --help"), CLI_DONE);
	expect(out, "boot it again");
	ck_assert_int_eq(apmp("apmp --version"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp --version --json"), CLI_DONE);
	json_decref(json_out());
}
END_TEST

/* The first words of verbs alone: those verbs, with what they take. */
START_TEST(families)
{
	static const char *const asked[] = {"apmp cpu --help", "apmp help cpu", "apmp --help cpu"};
	json_t *verbs;

	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(apmp(asked[i]), CLI_DONE);
		expect(out, "  apmp cpu migrate CPU... --to PARTITION");
		ck_assert_ptr_null(strstr(out, "apmp bus"));
	}
	ck_assert_int_eq(apmp("apmp partition"), CLI_USAGE);
	expect(err, "apmp: partition wants one of these verbs");
	expect(err, "  apmp partition create NAME");
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(apmp("apmp hardware add"), CLI_USAGE);
	expect(err, "  apmp hardware add memory SIZE --sbb SBB");
	ck_assert_ptr_null(strstr(err, "hardware list"));
	ck_assert_int_eq(apmp("apmp hardware add disk"), CLI_USAGE);
	ck_assert_str_eq(err,
			 "apmp: there is no verb \"hardware add disk\"; see `apmp hardware add "
			 "--help`\n");
	ck_assert_int_eq(apmp("apmp cpu --help --json"), CLI_DONE);
	verbs = json_out();
	ck_assert_int_eq(json_array_size(verbs), 9);
	json_decref(verbs);
	ck_assert_int_eq(apmp("apmp chaos --help"), CLI_DONE);
	expect(out, "  apmp chaos quiet");
	expect(out, "  apmp chaos inject FAULT PARTY");
}
END_TEST

/* Wrong words are told as one document, too; --json may stand behind them. */
START_TEST(usage_mistakes_as_json)
{
	static const char *const lines[] = {"apmp --json",
					    "apmp --json nonsense",
					    "apmp nonsense --json",
					    "apmp --json cpu",
					    "apmp --nonsense --json",
					    "apmp --json cpu migrate 2",
					    "apmp cpu migrate --json",
					    "apmp status x --json",
					    "apmp --json events --since x",
					    "apmp --json --name",
					    "apmp --json chaos",
					    "apmp completion --json tcsh"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		json_t *said;

		ck_assert_msg(apmp(lines[i]) == CLI_USAGE, "%s", lines[i]);
		said = json_out();
		ck_assert_str_eq(cli_string(said, "error"), "org.apmp.cli.Usage");
		ck_assert_str_ne(cli_string(json_object_get(said, "parameters"), "reason"), "-");
		json_decref(said);
		expect(err, "--help`");
	}
	/* It is the program's. */
	ck_assert_int_eq(apmp("apmp run -- --json"), CLI_USAGE);
	ck_assert_str_eq(out, "");
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

/* As by a console that dies when it has answered and not yet told the box. */
START_TEST(down_asks_again)
{
	ck_assert_int_eq(apmp("apmp partition halt forgetful"), CLI_DONE);
	ck_assert_int_eq(apmp("apmp down"), CLI_DONE);
	expect(out, "machine \"mock\" is off");
	mock_wait(&mock);
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
	expect(out, "\"capacity\":0.333,");
	json_decref(status);
	ck_assert_int_eq(apmp("apmp cpu list"), CLI_DONE);
	expect(out,
	       "CPU  OWNER  CURRENT-OWNER  STATE       PRIMARY  HOST-CPU  AUTOSTART  FAILOVER\n"
	       "  0  alpha  beta           active      primary         1  yes        stays\n"
	       "  4  -      -              unassigned  -               -  -          -\n");
}
END_TEST

/* A whole line of what was printed. */
static void expect_line(const char *command, const char *line)
{
	ck_assert_int_eq(apmp(command), CLI_DONE);
	ck_assert_str_eq(out, line);
}

static void expect_sent(const char *command, const char *wanted)
{
	json_t *document, *want = json_loads(wanted, 0, NULL);

	ck_assert_int_eq(apmp(command), CLI_DONE);
	document = json_out();
	ck_assert_ptr_nonnull(want);
	ck_assert_msg(json_equal(document, want), "%s: %s", command, out);
	json_decref(document);
	json_decref(want);
}

/* shows: FAIL-02, CPU-12 */
START_TEST(rules_of_cpus)
{
	expect_line(
	    "apmp cpu failover alpha 1 2 beta,gamma",
	    "CPUs 1-2 of \"alpha\": when it fails, to beta, or gamma if that does not run\n");
	expect_line("apmp cpu failover alpha 1 beta",
		    "CPU 1 of \"alpha\": when it fails, to beta\n");
	expect_line("apmp cpu failover alpha all stay",
		    "all CPUs of \"alpha\": when it fails, each stays\n");
	expect_line("apmp cpu failover alpha 1 alpha",
		    "CPU 1 of \"alpha\": when it fails, it stays\n");
	expect_line(
	    "apmp cpu failover alpha all beta,stay",
	    "all CPUs of \"alpha\": when it fails, to beta, or stays if that does not run\n");
	expect_line("apmp cpu failover alpha all none",
		    "all CPUs of \"alpha\": when it fails, nowhere else\n");
	expect_line("apmp cpu autostart alpha 3", "autostart set of \"alpha\": CPU 3\n");
	expect_line("apmp cpu autostart alpha none",
		    "autostart set of \"alpha\": none; CPUs that come wait for `apmp cpu start`\n");
	expect_sent(
	    "apmp --json cpu failover alpha 1 2 beta,stay",
	    "{\"partition\": \"alpha\", \"cpus\": [1, 2], \"targets\": [\"beta\", \"alpha\"]}");
	expect_sent("apmp --json cpu failover alpha all none",
		    "{\"partition\": \"alpha\", \"targets\": []}");
	expect_sent("apmp --json cpu autostart alpha none",
		    "{\"partition\": \"alpha\", \"cpus\": []}");
	expect_sent("apmp --json cpu autostart alpha all", "{\"partition\": \"alpha\"}");
	ck_assert_int_eq(apmp("apmp cpu failover alpha all 1 beta"), CLI_USAGE);
	expect(err, "\"all\" stands alone");
	ck_assert_int_eq(apmp("apmp cpu failover alpha all beta gamma"), CLI_USAGE);
	expect(err, "targets are one word, with commas and no blanks between them: "
		    "\"beta,gamma\"?");
	expect_sent("apmp --json cpu autostart alpha 1 2 1 2",
		    "{\"partition\": \"alpha\", \"cpus\": [1, 2]}");
	expect_line("apmp cpu autostart alpha 1 1", "autostart set of \"alpha\": CPU 1\n");
	ck_assert_int_eq(apmp("apmp cpu start 99999999999999999999"), CLI_USAGE);
	expect(err, "CPU is a number up to 9223372036854775807");
	ck_assert_int_eq(apmp("apmp cpu autostart alpha all 1"), CLI_USAGE);
	expect(err, "\"all\" stands alone");
	ck_assert_int_eq(apmp("apmp cpu failover alpha beta"), CLI_USAGE);
	ck_assert_int_eq(apmp("apmp cpu autostart alpha none 1"), CLI_USAGE);
	ck_assert_int_eq(apmp("apmp cpu failover no-such 1 beta"), CLI_REFUSED);
	expect(err, "there is no partition \"no-such\"");
}
END_TEST

/* shows: FAIL-02 */
START_TEST(targets_that_make_no_sense)
{
	static const struct {
		const char *targets, *said;
	} wrong[] = {{",", "a target without a name"},
		     {"beta,", "a target without a name"},
		     {"beta,beta", "\"beta\" is named twice"},
		     {"stay,beta", "CPUs that stay go nowhere else"},
		     {"alpha,beta", "CPUs that stay go nowhere else"},
		     {"stay,alpha", "that CPUs stay is said twice"},
		     {"beta,none", "\"none\" stands alone"}};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char *command = cli_text("apmp cpu failover alpha all %s", wrong[i].targets);

		ck_assert_int_eq(apmp(command), CLI_USAGE);
		expect(err, wrong[i].said);
		free(command);
	}
}
END_TEST

START_TEST(start_and_stop)
{
	expect_line("apmp cpu stop 1 2",
		    "CPU 1 waits in console mode in \"alpha\", 1.25 ms later\n"
		    "CPU 2 waits in console mode in \"alpha\", 1.25 ms later\n");
	expect_line("apmp cpu start 1", "CPU 1 works in \"alpha\", 1.25 ms later\n");
	expect_sent(
	    "apmp --json cpu start 1",
	    "{\"done\": [{\"cpu\": 1, \"partition\": \"alpha\", \"elapsed_ns\": 1250000}]}");
	ck_assert_int_eq(apmp("apmp cpu stop 0 1"), CLI_REFUSED);
	expect(err, "CPU 0 is the primary");
	expect(err, "not tried after that: 1");
	ck_assert_int_eq(apmp("apmp cpu migrate 2 --to beta --by mail"), CLI_USAGE);
	expect(err, "--by is pal, halt or deassign, not \"mail\"");
}
END_TEST

START_TEST(tree)
{
	ck_assert_int_eq(apmp("apmp tree"), CLI_DONE);
	expect(out, "\nroot ");
	expect(out, "\n    partition al\"pha ");
	expect(out, "\n  cpu 2 ");
	expect(out, " alpha  beta           hardware primary");
	expect(out, "\nconfiguration level 7, at rest\n");
	ck_assert_int_eq(apmp("apmp tree --dot"), CLI_DONE);
	expect(out, "digraph");
	expect(out, "n64 -> n256 [arrowhead=none");
	expect(out, "partition al\\\"pha");
}
END_TEST

START_TEST(events_and_trace)
{
	ck_assert_int_eq(apmp("apmp events --since 3"), CLI_DONE);
	expect(out,
	       "     3        0.004500  member.joined          alpha joined the sharing set\n");
	expect(out, "     5        0.007500  member.joined");
	ck_assert_int_eq(apmp("apmp events --json"), CLI_DONE);
	expect(out, "{\"seq\":2,\"t_ns\":3000000,");
	ck_assert_int_eq(apmp("apmp trace beta alpha"), CLI_DONE);
	expect(out, "2.500 us  beta");
	expect(out, "3.000 us  alpha");
	ck_assert(strstr(out, "8A 812") < strstr(out, "8A 813"));
	ck_assert(strstr(out, "8A 813") < strstr(out, "8A 814"));
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
	expect(err, "can't do org.apmp.machine.PartitionReset: it is of another version");
}
END_TEST

START_TEST(cpus)
{
	ck_assert_int_eq(apmp("apmp cpu migrate 2 3 --to beta"), CLI_DONE);
	expect(out, "CPU 2 went from \"alpha\" to \"beta\" in 1.25 ms\nCPU 3 went");
	ck_assert_int_eq(apmp("apmp --json cpu migrate --to beta 2 --dry-run"), CLI_DONE);
	expect(out, "\"dry_run\":true");
	expect(out, "\"would\":[{");
	ck_assert_ptr_null(strstr(out, "elapsed_ns"));
	ck_assert_ptr_null(strstr(out, "\"done\""));
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
		char words[][8] = {"apmp", "console", "alpha"};
		char *argv[] = {words[0], words[1], words[2], NULL};

		exit(cli_main(3, argv));
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
	ck_assert_int_eq(apmp("apmp --json check --dump trio.dump"), 5);
	ck_assert_str_eq(out, "apmp-chaos check --dump trio.dump --json none\n");
	ck_assert_int_eq(apmp("apmp chaos sim --twice --seed 7 --json"), 5);
	ck_assert_str_eq(out, "apmp-chaos sim --seed 7 --twice --json none\n");
	ck_assert_int_eq(apmp("apmp --name mock chaos kills --seed 7 --console"), 5);
	ck_assert_str_eq(out, "apmp-chaos kills --console --seed 7 --name mock none\n");
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

static void expect_text(char *text, const char *expected)
{
	ck_assert_str_eq(text, expected);
	free(text);
}

static void expect_sentence(const char *error, json_t *parameters, const char *expected)
{
	char *full = cli_text("%s.%s", VARLINK_MACHINE, error);

	expect_text(cli_sentence(full, parameters, "deleting it"), expected);
	json_decref(parameters);
	free(full);
}

/* The error that begins at *at in the interface definition: its name, and its parameters, each with
 * its name in <> as value. */
static json_t *read_error(const char **at, char *full, size_t size)
{
	json_t *parameters = json_object();
	char name[64], key[64];
	int used;

	ck_assert_int_eq(sscanf(*at, " error %63[A-Za-z] (%n", name, &used), 1);
	*at += used;
	while (sscanf(*at, " %63[a-z_] : %*[a-z?]%n", key, &used) == 1) {
		json_object_set_new(parameters, key, json_sprintf("<%s>", key));
		*at += used;
		*at += **at == ',';
	}
	snprintf(full, size, "%s.%s", VARLINK_MACHINE, name);
	return parameters;
}

static void check_sentence(const char *error, const json_t *parameters, const char *key)
{
	char *sentence = cli_sentence(error, parameters, "<asked>");

	ck_assert_msg(!strstr(sentence, "refused: org."), "no sentence: %s", sentence);
	ck_assert_msg(!strpbrk(sentence, "{}"), "%s: not filled: %s", error, sentence);
	if (key)
		ck_assert_msg(strstr(sentence, key), "%s: no %s in: %s", error, key, sentence);
	free(sentence);
}

/* Every error of the interface definition has a sentence that uses each of its parameters. Those of
 * the rules, which know what stood in the way and whose it is, or not, say what was wanted. */
START_TEST(every_error_has_a_sentence)
{
	int count = 0, rules = 0;

	for (const char *at = varlink_machine_text; (at = strstr(at, "\nerror ")); count++) {
		char full[128], *text;
		json_t *parameters = read_error(&at, full, sizeof(full));

		if (json_object_get(parameters, "owner") && json_object_get(parameters, "reason")) {
			json_object_del(parameters, "cpu");
			text = cli_sentence(full, parameters, "<asked>");
			ck_assert_msg(strncmp(text, "<asked>: ", 9) == 0, "%s: %s", full, text);
			ck_assert_msg(strcmp(text, "<asked>: <reason>") != 0, "%s says no more",
				      full);
			free(text);
			json_object_set_new(parameters, "owner", json_null());
			check_sentence(full, parameters, "<asked>");
			json_object_set_new(parameters, "what", json_null());
			check_sentence(full, parameters, "<asked>");
			rules++;
		}
		for (void *i = json_object_iter(parameters); rules == 0 && i;
		     i = json_object_iter_next(parameters, i))
			check_sentence(full, parameters,
				       json_string_value(json_object_iter_value(i)));
		json_decref(parameters);
	}
	ck_assert_int_ge(count, 45);
	ck_assert_int_ge(rules, 34);
}
END_TEST

/* The same error tells of a migration and of a rule. */
START_TEST(sentences_of_two_kinds)
{
	json_t *unassigned = json_pack("{s:i, s:s, s:n}", "cpu", 8, "partition", "beta", "owner");
	json_t *running = json_pack("{s:s, s:n}", "what", "partition \"beta\"", "owner");
	json_t *component = json_pack("{s:s, s:s}", "what", "CPU 3", "owner", "beta");
	json_t *halted = json_pack("{s:s, s:s}", "partition", "beta", "state", "console");

	expect_sentence("NotOwner", unassigned,
			"CPU 8 can't migrate: nobody has it; `apmp cpu assign 8 --to beta` gives "
			"it to \"beta\"");
	expect_sentence("Initialized", running,
			"deleting it: partition \"beta\" is initialized and alone releases what it "
			"has; `apmp partition halt beta` first");
	expect_text(cli_sentence("org.apmp.machine.Initialized", component, NULL),
		    "partition \"beta\" is initialized and alone releases what it has; "
		    "`apmp partition halt beta` first");
	expect_sentence("Initialized", component,
			"deleting it: partition \"beta\" is initialized and alone releases what it "
			"has; `apmp partition halt beta` first");
	expect_sentence("NotRunning", halted,
			"partition \"beta\" is not running: it is halted, in its console; "
			"`apmp partition boot beta` starts it");
}
END_TEST

/* What an instance calls a lock begins no line, and is nothing for the terminal. */
START_TEST(events_are_one_line)
{
	json_t *event =
	    json_pack("{s:s, s:s, s:s, s:s}", "kind", "lock.broken", "partition", "beta", "by",
		      "alpha", "lock", "a\n   9 forged\033[2J\177\302\233b");

	expect_text(event_text(event), "alpha broke the lock a?   9 forged?[2J???b: its holder in "
				       "beta was lost");
	json_object_clear(event);
	json_object_set_new(event, "new\rkey", json_string("\r"));
	expect_text(event_text(event), " new?key=?");
	json_decref(event);
	event = json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", "fault.injected", "fault", "kill",
			  "partition", "beta", "point", "join_812", "count", 1);
	expect_text(event_text(event), "fault kill in beta is armed at join_812, passing 1");
	json_decref(event);
}
END_TEST

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
	expect_text(cli_size_about(5 << 19, false), "2560K");
	expect_text(cli_size_about((1ULL << 30) + 1, false), "1G");
	expect_text(cli_size_about((1ULL << 30) + 1, true), "1.1G");
	expect_text(cli_size_about((64 << 20) - 4096, false), "63.9M");
	expect_text(cli_size_about((64 << 20) - 4096, true), "64M");
	expect_text(cli_sentence("org.apmp.machine.NotEnough", memory, NULL),
		    "not enough memory for partition \"web\": 24M wanted, 1000 there");
	json_object_set_new(memory, "what", json_string("bytes of memory"));
	expect_text(cli_sentence("org.apmp.machine.NotEnough", memory, NULL),
		    "not enough memory for partition \"web\": 24M wanted, 1000 there");
	json_object_set_new(memory, "what", json_string("memory"));
	expect_text(cli_sentence("org.apmp.machine.New", memory, NULL),
		    "the console refused: org.apmp.machine.New {\"partition\":\"web\","
		    "\"what\":\"memory\",\"wanted\":25165824,\"had\":1000}");
	json_decref(numbers);
	json_decref(memory);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli");
	TCase *mocked = suite_case(suite, "mocked"), *alone = suite_case(suite, "alone");

	tcase_add_checked_fixture(mocked, apmp_mock_setup, apmp_mock_teardown);
	tcase_add_test(mocked, usage_mistakes);
	tcase_add_test(mocked, help_is_everywhere);
	tcase_add_test(mocked, families);
	tcase_add_test(mocked, usage_mistakes_as_json);
	tcase_add_test(mocked, the_machine_is_chosen);
	tcase_add_test(mocked, down_waits_for_the_box);
	tcase_add_test(mocked, down_asks_again);
	tcase_add_test(mocked, a_console_that_does_not_answer);
	tcase_add_test(mocked, a_directory_of_others_is_not_trusted);
	tcase_add_test(mocked, status_and_cpus);
	tcase_add_test(mocked, rules_of_cpus);
	tcase_add_test(mocked, start_and_stop);
	tcase_add_test(mocked, targets_that_make_no_sense);
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
	tcase_add_test(alone, sentences_of_two_kinds);
	tcase_add_test(alone, small_texts);
	tcase_add_test(alone, events_are_one_line);
	return suite_run(suite);
}
