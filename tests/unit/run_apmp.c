#include "tests/unit/run_apmp.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"

struct mock mock;
char out[APMP_TEXT_MAX], err[APMP_TEXT_MAX];

void apmp_mock_setup(void)
{
	mock_start(&mock, "mock", NULL);
	setenv("XDG_RUNTIME_DIR", mock.directory, 1);
	unsetenv("APMP_MACHINE");
}

void apmp_mock_teardown(void)
{
	mock_stop(&mock);
}

static int split(char *line, char **argv)
{
	int argc = 0;

	for (char *word = strtok(line, " "); word && argc < APMP_WORDS_MAX;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	return argc;
}

static void take_text(int fd, char *text)
{
	ssize_t size = pread(fd, text, APMP_TEXT_MAX - 1, 0);

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

static int run(const char *input, int argc, char **argv)
{
	int fds[] = {text_file("in", input), text_file("out", ""), text_file("err", "")};
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			dup2(fds[i], i);
		exit(cli_main(argc, argv));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(fds[0]);
	take_text(fds[1], out);
	take_text(fds[2], err);
	ck_assert_msg(WIFEXITED(status), "%s %s ended with %#x: %s", argv[0],
		      argc > 1 ? argv[1] : "", status, err);
	return WEXITSTATUS(status);
}

int apmp_fed(const char *input, const char *line)
{
	char *copy = strdup(line), *argv[APMP_WORDS_MAX + 1];
	int argc = split(copy, argv), code = run(input, argc, argv);

	free(copy);
	return code;
}

int apmp(const char *line)
{
	return apmp_fed("", line);
}

int apmp_words(int argc, char **argv)
{
	return run("", argc, argv);
}

json_t *json_out(void)
{
	json_error_t error;
	json_t *value = json_loads(out, JSON_DECODE_ANY, &error);

	ck_assert_msg(value != NULL, "no JSON (%s): %.2000s", error.text, out);
	return value;
}
