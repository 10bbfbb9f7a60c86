/* The commands that the box program (apmpd) or the injector (apmp-chaos) does itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/find_machine.h"
#include "cli/table.h"

enum { WORDS_MAX = 16 };

/* Beside our own program, then where `make install` puts it, then PATH. Returns -errno. */
static int exec_program(const char *program, char **argv)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	self[length > 0 ? length : 0] = 0;
	slash = strrchr(self, '/');
	if (slash) {
		*slash = 0;
		path = cli_text("%s/%s", self, program);
		execv(path, argv);
		free(path);
		path = cli_text("%s/../libexec/apmp/%s", self, program);
		execv(path, argv);
		free(path);
	}
	execvp(program, argv);
	return -errno;
}

static int start(const struct cli *cli, char **argv)
{
	const char *program = argv[0];
	int r;

	fflush(stdout);
	r = exec_program(program, argv);
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoProgram",
			  json_pack("{s:s, s:s}", "program", program, "reason", strerror(-r)));
}

/* apmpd VERB ARGS... with the options that it knows for that verb. */
static int start_box(const struct cli *cli, const char *verb, const struct cli_args *args,
		     const char *flag, bool named, bool json)
{
	char *argv[WORDS_MAX];
	int count = 0;

	argv[count++] = cli_text("apmpd");
	argv[count++] = cli_text("%s", verb);
	for (int i = 0; i < args->count && i < 2; i++)
		argv[count++] = args->args[i];
	if (flag && cli_option(args, flag))
		argv[count++] = cli_text("--%s", flag);
	if (named && cli->name) {
		argv[count++] = cli_text("--name");
		argv[count++] = cli_text("%s", cli->name);
	}
	if (json && cli->json)
		argv[count++] = cli_text("--json");
	argv[count] = NULL;
	return start(cli, argv);
}

int cli_up(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, "up", args, "foreground", true, false);
}

/* In the child: its standard output is the pipe. */
static _Noreturn void check_file(const struct cli *cli, const char *file, int out)
{
	char *argv[] = {cli_text("apmpd"), cli_text("check"), cli_text("--json"),
			cli_text("%s", file), NULL};

	if (dup2(out, STDOUT_FILENO) < 0)
		_exit(CLI_REFUSED);
	_exit(start(&(struct cli){.json = false, .color = cli->color}, argv));
}

static void print_mistakes(const json_t *checked)
{
	const json_t *errors = json_object_get(checked, "errors");
	json_int_t more = json_integer_value(json_object_get(checked, "more"));

	for (size_t i = 0; i < json_array_size(errors); i++) {
		const json_t *one = json_array_get(errors, i);

		fprintf(stderr, "%s:%lld:%lld: %s\n", cli_string(checked, "file"),
			(long long)json_integer_value(json_object_get(one, "line")),
			(long long)json_integer_value(json_object_get(one, "column")),
			cli_string(one, "message"));
	}
	if (more > 0)
		fprintf(stderr, "%s: and %lld more\n", cli_string(checked, "file"),
			(long long)more);
}

int cli_machine_file(const struct cli *cli, const char *file, json_t **ret_machine)
{
	int pipe_fds[2], status;
	json_t *checked;
	FILE *from;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return cli_refuse(
		    cli, CLI_REFUSED, "org.apmp.cli.Host",
		    json_pack("{s:s, s:s}", "what", "a pipe", "reason", strerror(errno)));
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		check_file(cli, file, pipe_fds[1]);
	close(pipe_fds[1]);
	from = fdopen(pipe_fds[0], "r");
	if (!from || pid < 0)
		cli_out_of_memory();
	checked = json_loadf(from, JSON_DISABLE_EOF_CHECK, NULL);
	fclose(from);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	*ret_machine = json_incref(json_object_get(checked, "machine"));
	if (!*ret_machine && cli->json && checked)
		cli_print_json(checked);
	else if (!*ret_machine && checked)
		print_mistakes(checked);
	json_decref(checked);
	/* Without an answer the child has said why. */
	return *ret_machine ? CLI_DONE : CLI_REFUSED;
}

int cli_check(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, "check", args, NULL, false, true);
}

int cli_doctor(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, "doctor", args, "fix", false, true);
}

int cli_clean(struct cli *cli, const struct cli_args *args)
{
	return start_box(cli, "clean", args, NULL, true, true);
}

int cli_chaos(struct cli *cli, const struct cli_args *args)
{
	char **argv = args->args - 1; /* "chaos" stands in front of its arguments */

	if (args->count == 0)
		return cli_usage(args, "chaos wants to know what");
	if (cli->name && setenv("APMP_MACHINE", cli->name, 1) < 0)
		cli_out_of_memory();
	/* A campaign is about a machine that runs; its help is not. */
	if (strcmp(args->args[0], "kills") == 0 &&
	    !(args->count > 1 && strcmp(args->args[1], "--help") == 0)) {
		struct machine machine;
		int code = cli_choose(cli, &machine);

		if (code != CLI_DONE)
			return code;
		if (setenv("APMP_MACHINE", machine.name, 1) < 0)
			cli_out_of_memory();
	}
	argv[0] = cli_text("apmp-chaos");
	return start(cli, argv);
}
