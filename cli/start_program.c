/*
 * Starting the programs that do some of apmp's verbs.
 *
 * WHAT      Without --json apmp becomes the program. `up --json` needs a document of what apmpd
 *           says in sentences: there apmp stays, passes standard error on, and writes the document
 *           when the first line of standard output comes ("machine NAME is on: ..."), or when the
 *           program has ended without one.
 * SIGNALS   The one that stays passes SIGTERM and SIGHUP on, and leaves ^C to the program, which
 *           gets it from the terminal too.
 */
#include "cli/start_program.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/table.h"

/* ---- becoming it ---- */

int cli_become(const struct cli *cli, char **argv)
{
	const char *program = argv[0];
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	fflush(stdout);
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
	return cli_refuse(cli, CLI_REFUSED, "org.apmp.cli.NoProgram",
			  json_pack("{s:s, s:s}", "program", program, "reason", strerror(errno)));
}

/* ---- watching it ---- */

enum { SAID_MAX = 64 << 10 };

/* What came through a pipe so far; what is over SAID_MAX is passed on and forgotten. */
struct said {
	int fd;
	size_t size;
	char text[SAID_MAX + 1];
};

static pid_t child;

static void pass_on(int signal)
{
	kill(child, signal);
}

static void pass_signals_on(void)
{
	const struct sigaction forward = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

	sigaction(SIGTERM, &forward, NULL);
	sigaction(SIGHUP, &forward, NULL);
	signal(SIGINT, SIG_IGN);
}

/* Takes what there is; false: there will be no more. */
static bool take(struct said *said, bool copy)
{
	char bytes[4096];
	ssize_t size = read(said->fd, bytes, sizeof(bytes));
	size_t room = SAID_MAX - said->size, kept;

	if (size < 0 && errno == EINTR)
		return true;
	if (size <= 0)
		return false;
	if (copy)
		fwrite(bytes, 1, (size_t)size, stderr);
	kept = (size_t)size < room ? (size_t)size : room;
	memcpy(said->text + said->size, bytes, kept);
	said->size += kept;
	said->text[said->size] = 0;
	return true;
}

static char *first_line(const char *text)
{
	return cli_text("%.*s", (int)strcspn(text, "\n"), text);
}

/* {"machine": "trio", "state": "on", "said": "machine trio is on: ..."} */
static void print_on(const char *text, const char *machine)
{
	char *line = first_line(text);
	char name[64] = "";
	json_t *document;

	if (!machine && sscanf(line, "machine %63s is on", name) == 1)
		machine = name;
	document = json_pack("{s:s?, s:s, s:s}", "machine", machine, "state", "on", "said", line);
	cli_print_json(document);
	json_decref(document);
	free(line);
}

/* All that it said on standard error, which stands there already. */
static int print_failed(const struct cli *cli, const char *text, const char *machine, int code)
{
	struct cli silent = *cli;
	size_t size = strlen(text);
	json_t *parameters;

	for (size_t i = 0; i < 2; i++) {
		static const char *const prefixes[] = {"apmp: ", "apmpd: "};
		size_t length = strlen(prefixes[i]);

		if (strncmp(text, prefixes[i], length) == 0) {
			text += length;
			size -= length;
		}
	}
	size -= size > 0 && text[size - 1] == '\n';
	parameters = json_pack("{s:s#}", "reason", text, (int)size);
	if (machine && parameters)
		json_object_set_new(parameters, "machine", json_string(machine));
	silent.sentence_said = true;
	return cli_refuse(&silent, code, "org.apmp.cli.NotOn", parameters);
}

/* Until the pipes are closed or the program has ended; whether it said that the machine is on. */
static bool watch(struct said *out, struct said *err, int pidfd, const char *machine)
{
	struct pollfd fds[] = {{.fd = out->fd, .events = POLLIN},
			       {.fd = err->fd, .events = POLLIN},
			       {.fd = pidfd, .events = POLLIN}};
	bool on = false;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 3, -1) < 0)
			continue;
		/* Its pipes before its end: nothing that it said is missed. */
		if (fds[0].revents && !take(out, false))
			fds[0].fd = -1;
		if (fds[1].revents && !take(err, true))
			fds[1].fd = -1;
		if (!on && strchr(out->text, '\n')) {
			print_on(out->text, machine);
			on = true;
		}
		if (!fds[0].revents && !fds[1].revents && fds[2].revents)
			break;
	}
	return on;
}

int cli_up_document(const struct cli *cli, char **argv, const char *machine)
{
	static struct said out, err;
	int out_pipe[2], err_pipe[2], status, pidfd;
	bool on;

	if (pipe(out_pipe) < 0 || pipe(err_pipe) < 0 || (child = fork()) < 0)
		return cli_refuse(
		    cli, CLI_REFUSED, "org.apmp.cli.Host",
		    json_pack("{s:s, s:s}", "what", "starting apmpd", "reason", strerror(errno)));
	if (child == 0) {
		struct cli plain = *cli;

		dup2(out_pipe[1], STDOUT_FILENO);
		dup2(err_pipe[1], STDERR_FILENO);
		plain.json = false;
		_exit(cli_become(&plain, argv));
	}
	pass_signals_on();
	close(out_pipe[1]);
	close(err_pipe[1]);
	out.fd = out_pipe[0];
	err.fd = err_pipe[0];
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	on = watch(&out, &err, pidfd, machine);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : CLI_REFUSED;
	return on ? status : print_failed(cli, err.text, machine, status);
}
