/* What the multiplexer shows of the bytes of several ports, and what events say. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/event_text.h"
#include "cli/multiplexer_screen.h"
#include "tests/unit/suite.h"

static struct screen screen;
static struct screen_line alpha, beta;
static int out;

static void setup(void)
{
	screen = (struct screen){.width = 5};
	alpha = (struct screen_line){.name = "alpha", .color = 0};
	beta = (struct screen_line){.name = "beta", .color = 1};
	out = memfd_create("out", 0);
	ck_assert(dup2(out, STDOUT_FILENO) >= 0);
}

static void teardown(void)
{
	close(out);
}

/* What was printed since the last look. */
static void expect(const char *text)
{
	char is[8192] = "";

	fflush(stdout);
	ck_assert_int_ge(pread(out, is, sizeof(is) - 1, 0), 0);
	ck_assert_int_eq(ftruncate(out, 0), 0);
	lseek(out, 0, SEEK_SET);
	ck_assert_str_eq(is, text);
}

static void say(struct screen_line *line, const char *bytes)
{
	screen_bytes(&screen, line, bytes, strlen(bytes));
}

/* ---- lines ---- */

START_TEST(whole_lines_with_names)
{
	say(&alpha, "one\r\ntw");
	say(&beta, "three\r\n");
	say(&alpha, "o\r\n\n");
	expect("alpha | one\nbeta  | three\nalpha | two\nalpha | \n");
	say(&beta, "no newline");
	expect("");
	screen_end(&screen, &beta);
	expect("beta  | no newline\n");
}
END_TEST

START_TEST(what_moves_the_cursor)
{
	say(&alpha, "10%\r20%\r\n");
	say(&alpha, "tyq\bpo\b\b\b\b\b\bzz\n");
	say(&alpha, "\033[1;31mred\033[0m \033Mup\033[2J \a\177done\t!\n");
	expect("alpha | 20%\nalpha | zz\nalpha | red up \177done\t!\n");
}
END_TEST

START_TEST(lines_without_end)
{
	char bytes[SCREEN_LINE_MAX + 11], wanted[SCREEN_LINE_MAX + 64];

	memset(bytes, 'x', sizeof(bytes) - 1);
	bytes[sizeof(bytes) - 1] = 0;
	say(&alpha, bytes);
	say(&alpha, "\n");
	snprintf(wanted, sizeof(wanted), "alpha | %.*s\nalpha | xxxxxxxxxx\n", SCREEN_LINE_MAX,
		 bytes);
	expect(wanted);
}
END_TEST

START_TEST(colours)
{
	screen.color = true;
	say(&beta, "text\n");
	expect("\033[32mbeta  |\033[0m text\n");
}
END_TEST

/* ---- the open line of the chosen port ---- */

START_TEST(a_prompt_is_shown_at_once)
{
	screen.terminal = true;
	screen_choose(&screen, &alpha);
	say(&alpha, "login: ");
	expect("alpha | login: ");
	say(&alpha, "ro");
	expect("ro");
	say(&beta, "not chosen: ");
	expect("");
	say(&alpha, "ot\r\n");
	expect("ot\n");
}
END_TEST

START_TEST(it_gives_way_to_lines_of_others)
{
	screen.terminal = true;
	screen_choose(&screen, &alpha);
	say(&alpha, "$ ls");
	say(&beta, "panic\n");
	expect("alpha | $ ls\r\033[Kbeta  | panic\nalpha | $ ls");
	screen_note(&screen, "help");
	expect("\r\033[K-- help\nalpha | $ ls");
	say(&alpha, "\b\bcd\n");
	expect("\r\033[Kalpha | $ cd\n");
}
END_TEST

START_TEST(another_one_is_chosen)
{
	screen.terminal = true;
	say(&beta, "> ");
	screen_choose(&screen, &alpha);
	say(&alpha, "$ ");
	expect("alpha | $ ");
	screen_choose(&screen, &beta);
	expect("\r\033[Kbeta  | > ");
	screen_end(&screen, &beta);
	expect("\n");
}
END_TEST

/* ---- JSON ---- */

START_TEST(lines_as_json)
{
	screen.json = true;
	say(&alpha, "sm\303\266rg\303\245s \"x\"\n");
	say(&alpha, "\377\376 odd\n");
	screen_note(&screen, "nothing");
	expect("{\"partition\":\"alpha\",\"line\":\"sm\303\266rg\303\245s \\\"x\\\"\"}\n"
	       "{\"partition\":\"alpha\",\"line\":\"?? odd\"}\n");
}
END_TEST

/* ---- events ---- */

static void expect_event(const char *event, const char *text)
{
	json_t *object = json_loads(event, 0, NULL);
	char *is = event_text(object);

	ck_assert_str_eq(is, text);
	free(is);
	json_decref(object);
}

START_TEST(events_as_sentences)
{
	expect_event("{\"kind\": \"member.removed\", \"partition\": \"beta\", \"by\": \"alpha\"}",
		     "alpha removed beta from the sharing set");
	expect_event("{\"kind\": \"member.removed\", \"partition\": \"beta\", \"by\": \"alpha\","
		     " \"incarnation\": 3}",
		     "alpha removed beta from the sharing set, incarnation 3");
	expect_event("{\"seq\": 7, \"t_ns\": 1, \"kind\": \"cpu.migrated\", \"cpu\": 0,"
		     " \"from\": \"alpha\", \"partition\": \"beta\", \"elapsed_ns\": 1250000}",
		     "CPU 0 went from alpha to beta in 1.25 ms");
	expect_event("{\"kind\": \"tree.changed\", \"change\": \"create_partition\","
		     " \"what\": \"delta\", \"by\": \"administrator\"}",
		     "the configuration was changed by administrator: create partition delta");
	expect_event("{\"kind\": \"console.restarted\", \"restarts\": 2, \"last\": \"\","
		     " \"deaths\": 0, \"delay_ms\": 0}",
		     "the console was restarted, restart number 2");
	expect_event("{\"kind\": \"partition.held\", \"partition\": \"web\", \"what\":"
		     " \"bytes of memory\", \"wanted\": 4194304, \"had\": 0}",
		     "web is held until it has enough to run: 4M of memory wanted, 0 there");
}
END_TEST

START_TEST(nothing_of_an_event_is_lost)
{
	expect_event("{\"kind\": \"member.left\", \"partition\": \"beta\", \"new\": [1, 2]}",
		     "beta left the sharing set new=1-2");
	expect_event("{\"seq\": 1, \"kind\": \"of.tomorrow\", \"partition\": \"beta\", \"n\": 5}",
		     " partition=beta n=5");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("screen");
	TCase *lines = suite_case(suite, "lines"), *events = suite_case(suite, "events");

	tcase_add_checked_fixture(lines, setup, teardown);
	tcase_add_test(lines, whole_lines_with_names);
	tcase_add_test(lines, what_moves_the_cursor);
	tcase_add_test(lines, lines_without_end);
	tcase_add_test(lines, colours);
	tcase_add_test(lines, a_prompt_is_shown_at_once);
	tcase_add_test(lines, it_gives_way_to_lines_of_others);
	tcase_add_test(lines, another_one_is_chosen);
	tcase_add_test(lines, lines_as_json);
	tcase_add_test(events, events_as_sentences);
	tcase_add_test(events, nothing_of_an_event_is_lost);
	return suite_run(suite);
}
