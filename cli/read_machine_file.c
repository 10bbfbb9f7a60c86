/* A machine file as JSON: apmpd is who reads them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/start_program.h"
#include "cli/table.h"

/* In the child: its standard output is the pipe. */
static _Noreturn void check_file(const struct cli *cli, const char *file, int out)
{
	char *argv[] = {cli_text("apmpd"), cli_text("check"), cli_text("--json"),
			cli_text("%s", file), NULL};

	if (dup2(out, STDOUT_FILENO) < 0)
		_exit(CLI_REFUSED);
	_exit(cli_become(&(struct cli){.color = cli->color}, argv));
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
