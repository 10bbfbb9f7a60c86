/*
 * `apmp apply`: does the steps of a plan.
 *
 * WHAT      Each step is one method, and whole when it is answered. The first one that is refused,
 *           and still needed, ends it: what was done, what was not, and why is said. What is busy
 *           or bound is waited for as long as --wait says: at each event of the machine, and now
 *           and then, because not all that ends has an event, the plan is made anew, for it may
 *           not be needed any more.
 *           After a step that says so the plan is made anew (plan_diff.h).
 * STATES    A console that dies in the middle leaves open whether the step was done, or is still
 *           under way; so a new plan is made from what the machine is then, and that is gone on
 *           with, and made anew if it is refused soon. It halts nobody whom the first one did not.
 * SIGNALS   ^C and the like take effect where we wait: we stop after saying what was done, and end
 *           as who does not catch it. The step that was asked for may still be done.
 * CRASHES   Whom the plan boots is recorded before the first step (apply_record.h). The next apply
 *           boots them, unless they had another life since.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/apply_record.h"
#include "cli/plan.h"
#include "cli/several.h"
#include "cli/table.h"

enum {
	AGAIN_MS = 100,	  /* for what ends without an event */
	SETTLE_MS = 5000, /* what a dead console left under way is at its end by then */
	PLANS_MAX = 32,	  /* a console that dies more often in one apply needs somebody */
};

/* How a step, or all of them, ended. */
enum ended {
	ENDED_DONE,
	ENDED_REFUSED,
	ENDED_LOST,
	ENDED_STOPPED,
	ENDED_AGAIN, /* the plan is to be made anew, as it says */
	ENDED_EARLY, /* the same: what stood in the way may be gone */
};

struct applying {
	struct cli *cli;
	const char *file;
	json_t *want;
	struct machine machine;
	struct varlink_client *client;
	struct varlink_client *events; /* NULL: nothing had to be waited for yet */
	long long wait_ms;
	json_t *resume;
	int record;		/* descriptor of the file, locked */
	json_t *plan, *allowed; /* allowed: whom it may halt */
	json_t *done;		/* steps */
	size_t next;		/* index of the plan's next step */
	const json_t *step;	/* the last one that was asked for; NULL: none of this plan */
	struct varlink_reply refusal;
	long long patience_ms; /* what is busy or bound is tried again until then; 0: none is */
	long long settled_ms;  /* until then a refusal may come of what a dead console left */
	sigset_t waiting;      /* the signals that we take while we wait */
};

static volatile sig_atomic_t stopped_by;

static void on_signal(int signal)
{
	stopped_by = signal;
}

/* From here on signals are taken in wait_for() alone. */
static void take_signals(struct applying *a)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t ours;

	sigemptyset(&ours);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&ours, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &ours, &a->waiting);
	signal(SIGPIPE, SIG_IGN);
}

/* Until it is readable, so many milliseconds have passed (-1: never), or a signal came: then
 * false. */
static bool wait_for(const struct applying *a, int fd, long long ms)
{
	struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	(void)ppoll(&readable, 1, ms < 0 ? NULL : &limit, &a->waiting);
	return !stopped_by;
}

/* ---- one step ---- */

/* Whether it is this error of the machine's interface. */
static bool is_error(const char *error, const char *name)
{
	return strncmp(error, VARLINK_MACHINE ".", sizeof(VARLINK_MACHINE)) == 0 &&
	       strcmp(error + sizeof(VARLINK_MACHINE), name) == 0;
}

/* Waits for something to happen in the machine, at most until then. */
static void wait_for_event(struct applying *a, long long until)
{
	struct varlink_reply reply = {0};
	long long left = until - cli_now_ms();
	bool more = true;

	if (!a->events && cli_machine_connect(&a->machine, &a->events) == 0 &&
	    varlink_client_send(a->events, "Events", json_pack("{s:b}", "follow", 1), VARLINK_MORE,
				NULL, 0) < 0) {
		varlink_client_close(a->events);
		a->events = NULL;
	}
	left = left < 0 ? 0 : left > AGAIN_MS ? AGAIN_MS : left;
	(void)wait_for(a, a->events ? varlink_client_fd(a->events) : -1, left);
	/* All that there is says only: now. */
	while (a->events && more && !stopped_by) {
		struct pollfd readable = {.fd = varlink_client_fd(a->events), .events = POLLIN};

		if (poll(&readable, 1, 0) <= 0)
			break;
		more = varlink_client_receive(a->events, &reply) == 0 && reply.continues;
		varlink_reply_fini(&reply);
	}
	if (!more) { /* its console died, the next one is asked the next time */
		varlink_client_close(a->events);
		a->events = NULL;
	}
}

/* Calls once: ENDED_DONE with the reply (an error reply too), ENDED_LOST or ENDED_STOPPED. */
static enum ended call(struct applying *a, const json_t *step, struct varlink_reply *ret_reply)
{
	json_t *parameters = json_object_get(step, "parameters");
	int r = varlink_client_send(a->client, cli_string(step, "method"), json_incref(parameters),
				    0, NULL, 0);

	if (r == 0 && !wait_for(a, varlink_client_fd(a->client), -1))
		return ENDED_STOPPED;
	if (r == 0)
		r = varlink_client_receive(a->client, ret_reply);
	return r < 0 ? ENDED_LOST : ENDED_DONE;
}

/* Whether a later step boots a partition of this name, or, for a community, any. */
static bool boots_later(const struct applying *a, const char *name)
{
	const json_t *steps = json_object_get(a->plan, "steps");
	bool community = true;

	for (size_t i = 0; i < json_array_size(json_object_get(a->plan, "partitions")); i++)
		community &=
		    strcmp(cli_string(json_array_get(json_object_get(a->plan, "partitions"), i),
				      "name"),
			   name) != 0;
	for (size_t i = a->next; i < json_array_size(steps); i++) {
		const json_t *step = json_array_get(steps, i);
		const json_t *parameters = json_object_get(step, "parameters");

		if (strcmp(cli_string(step, "method"), "PartitionBoot") == 0 &&
		    (community || strcmp(cli_string(parameters, "name"), name) == 0))
			return true;
	}
	return false;
}

static void step_done(struct applying *a, const json_t *step, const json_t *answer)
{
	const char *to = cli_string(json_object_get(step, "parameters"), "to");
	json_t *one = json_deep_copy(step);

	json_object_set(one, "answer", (json_t *)(uintptr_t)answer);
	json_array_append_new(a->done, one);
	a->patience_ms = 0;
	if (!a->cli->json && json_is_false(json_object_get(answer, "active")) &&
	    !boots_later(a, to))
		printf("        %s has it from its next boot on\n", to);
}

/* Whether what was refused now may be granted soon: then that is waited for. */
static bool is_patient(struct applying *a, const char *error)
{
	long long now = cli_now_ms();

	if (!a->patience_ms)
		a->patience_ms = now + a->wait_ms;
	if (now < a->settled_ms)
		wait_for_event(a, a->settled_ms);
	else if (cli_may_pass(error) && now < a->patience_ms)
		wait_for_event(a, a->patience_ms);
	else
		return false;
	return true;
}

static enum ended do_step(struct applying *a, const json_t *step)
{
	struct varlink_reply reply = {0};
	enum ended ended = call(a, step, &reply);

	if (ended == ENDED_DONE && !reply.error) {
		step_done(a, step, reply.parameters);
	} else if (ended == ENDED_DONE && is_error(reply.error, "Storage")) {
		step_done(a, step, reply.parameters); /* it is, but not for ever */
		a->next++;
		ended = ENDED_REFUSED;
	} else if (ended == ENDED_DONE) {
		ended = is_patient(a, reply.error) ? ENDED_EARLY : ENDED_REFUSED;
	}
	if (ended == ENDED_REFUSED)
		a->refusal = reply;
	else
		varlink_reply_fini(&reply);
	return ended == ENDED_EARLY && stopped_by ? ENDED_STOPPED : ended;
}

/* ---- all of them ---- */

static enum ended do_steps(struct applying *a)
{
	const json_t *steps = json_object_get(a->plan, "steps");
	enum ended ended = ENDED_DONE;

	for (a->next = 0; a->next < json_array_size(steps); a->next++) {
		const json_t *step = json_array_get(steps, a->next);

		if (!a->cli->json && !a->patience_ms)
			printf("%3zu/%zu  %s\n", a->next + 1, json_array_size(steps),
			       cli_string(step, "command"));
		fflush(stdout);
		a->step = step;
		ended = do_step(a, step);
		if (ended == ENDED_DONE && json_is_true(json_object_get(step, "again")))
			ended = ENDED_AGAIN;
		if (ended != ENDED_DONE)
			break;
	}
	return ended;
}

static bool among(const json_t *names, const json_t *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(names, i, one)
	{
		if (json_equal(one, name))
			return true;
	}
	return false;
}

/* Whom the plan halts is among those who may be; else it is refused by name. */
static bool halts_are_allowed(struct applying *a)
{
	const json_t *name;
	size_t i;

	json_array_foreach(json_object_get(a->plan, "halts"), i, name)
	{
		if (among(a->allowed, name))
			continue;
		a->refusal = (struct varlink_reply){
		    .error = cli_text("org.apmp.cli.NeedsRestart"),
		    .parameters =
			json_pack("{s:o, s:s}", "partitions",
				  json_incref((json_t *)(uintptr_t)name), "file", a->file)};
		return false;
	}
	return true;
}

/* Makes the plan anew, with a new connection; why is what came before. */
static enum ended plan_again(struct applying *a, enum ended why)
{
	json_t *plan;
	int r;

	varlink_client_close(a->client);
	a->client = NULL;
	r = cli_machine_connect(&a->machine, &a->client);
	if (r == 0)
		r = plan_make(a->client, a->want, a->resume, &plan, &a->refusal);
	if (r < 0)
		return ENDED_LOST;
	if (r > 0)
		return ENDED_REFUSED;
	json_decref(a->plan);
	a->plan = plan;
	a->next = 0;
	a->step = NULL;
	if (!halts_are_allowed(a))
		return ENDED_REFUSED;
	apply_record_write(a->record, a->resume, a->plan);
	if (!a->cli->json && why != ENDED_EARLY)
		printf("%s: %zu steps are left\n",
		       why == ENDED_LOST ? "the console was restarted" : "planned again",
		       json_array_size(json_object_get(plan, "steps")));
	return ENDED_DONE;
}

/* Whether the step that was refused is not needed any more: somebody else has done it meanwhile.
 * Otherwise the refusal stands. */
static bool is_done_by_others(struct applying *a)
{
	struct varlink_reply refusal = a->refusal;
	bool done = false;
	char *command;

	if (!a->step || is_error(refusal.error, "Storage"))
		return false;
	command = cli_text("%s", cli_string(a->step, "command"));
	a->refusal = (struct varlink_reply){0};
	if (plan_again(a, ENDED_EARLY) == ENDED_DONE) {
		a->step = json_array_get(json_object_get(a->plan, "steps"), 0);
		done = !a->step || strcmp(cli_string(a->step, "command"), command) != 0;
	}
	varlink_reply_fini(done ? &refusal : &a->refusal);
	a->refusal = done ? (struct varlink_reply){0} : refusal;
	free(command);
	return done;
}

/* ENDED_DONE: there is a new plan to do. */
static enum ended go_on(struct applying *a, enum ended why)
{
	if (why == ENDED_REFUSED)
		return is_done_by_others(a) ? ENDED_DONE : ENDED_REFUSED;
	if (why == ENDED_LOST)
		a->settled_ms = cli_now_ms() + SETTLE_MS;
	return plan_again(a, why);
}

static enum ended apply_all(struct applying *a)
{
	enum ended ended = do_steps(a);

	for (int plans = 0; ended != ENDED_DONE && ended != ENDED_STOPPED && plans < PLANS_MAX;) {
		enum ended why = ended;

		ended = go_on(a, why);
		if (ended == ENDED_REFUSED)
			break;
		if (ended == ENDED_DONE)
			ended = do_steps(a);
		plans += why != ENDED_EARLY;
	}
	return ended;
}

/* ---- what is said in the end ---- */

/* Steps that were not done. */
static json_t *left_over(const struct applying *a)
{
	const json_t *steps = json_object_get(a->plan, "steps");
	json_t *left = json_array();

	for (size_t i = a->next; i < json_array_size(steps); i++)
		json_array_append(left, json_array_get(steps, i));
	return left;
}

static void print_left(const struct applying *a, const json_t *left)
{
	const json_t *step;
	size_t i;

	fflush(stdout);
	fprintf(stderr, "apmp: %zu steps were done, these were not:\n", json_array_size(a->done));
	json_array_foreach(left, i, step) fprintf(stderr, "  %s\n", cli_string(step, "command"));
	fprintf(stderr, "`apmp apply %s` goes on from here\n", a->file);
}

static void say_refusal(struct applying *a, enum ended ended)
{
	char *asked = cli_text("`%s`", a->step ? cli_string(a->step, "command") : "apmp apply");
	char *sentence;

	if (ended == ENDED_LOST)
		a->refusal = (struct varlink_reply){
		    .error = cli_text("org.apmp.cli.NoAnswer"),
		    .parameters = json_pack("{s:s, s:s}", "machine", a->machine.name, "reason",
					    "the connection was lost")};
	if (ended == ENDED_STOPPED)
		a->refusal = (struct varlink_reply){
		    .error = cli_text("org.apmp.cli.Stopped"),
		    .parameters = json_pack("{s:s}", "signal", strsignal(stopped_by))};
	sentence = cli_sentence(a->refusal.error, a->refusal.parameters, asked);
	fflush(stdout);
	fprintf(stderr, "apmp: %s\n", sentence);
	free(sentence);
	free(asked);
}

static void print_end(struct applying *a, enum ended ended)
{
	json_t *left = left_over(a);

	if (ended != ENDED_DONE)
		say_refusal(a, ended);
	if (a->cli->json) {
		json_t *answer =
		    json_pack("{s:s, s:O, s:O, s:O}", "machine", a->machine.name, "done", a->done,
			      "left", left, "power_cycle", json_object_get(a->plan, "power_cycle"));

		if (ended != ENDED_DONE) {
			json_object_set_new(answer, "error", json_string(a->refusal.error));
			json_object_set(answer, "parameters", a->refusal.parameters);
		}
		cli_print_json(answer);
		json_decref(answer);
	} else if (ended != ENDED_DONE) {
		print_left(a, left);
	} else {
		printf("done: machine \"%s\" is what %s says\n", a->machine.name, a->file);
		plan_print_rest(a->file, a->plan);
	}
	json_decref(left);
}

/* ---- may it ---- */

/* On a terminal somebody is asked; whether he says yes. */
static bool asked(const struct applying *a)
{
	char answer[16] = "";

	if (a->cli->json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return false;
	plan_print(a->cli, &a->machine, a->file, a->plan);
	printf("\nhalt them, and do all of this? [y/N] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int refuse_restart(const struct applying *a)
{
	char *names = cli_names_text(json_object_get(a->plan, "halts"));
	int code = cli_refuse(a->cli, CLI_REFUSED, "org.apmp.cli.NeedsRestart",
			      json_pack("{s:s, s:s}", "partitions", names, "file", a->file));

	free(names);
	return code;
}

static int run(struct applying *a, const struct cli_args *args)
{
	const json_t *halts = json_object_get(a->plan, "halts");
	const json_t *why = json_array_get(json_object_get(a->plan, "impossible"), 0);
	enum ended ended;

	if (why)
		return cli_refuse(a->cli, CLI_REFUSED, "org.apmp.cli.Impossible",
				  json_pack("{s:s, s:O}", "file", a->file, "reason", why));
	if (json_array_size(halts) > 0 && !cli_option(args, "restart") &&
	    !cli_option(args, "yes") && !asked(a))
		return refuse_restart(a);
	a->allowed = json_incref((json_t *)(uintptr_t)halts);
	if (json_array_size(json_object_get(a->plan, "steps")) > 0)
		apply_record_write(a->record, a->resume, a->plan);
	take_signals(a);
	ended = apply_all(a);
	if (ended == ENDED_DONE)
		apply_record_clear(a->record);
	print_end(a, ended);
	if (ended != ENDED_STOPPED)
		return ended == ENDED_DONE ? CLI_DONE : CLI_REFUSED;
	fflush(stdout);
	signal(stopped_by, SIG_DFL);
	raise(stopped_by);
	sigprocmask(SIG_SETMASK, &a->waiting, NULL);
	return CLI_REFUSED;
}

/* Nobody else applies meanwhile. */
static int lock(struct applying *a)
{
	a->record = apply_record_lock(&a->machine);
	a->resume = apply_record_read(&a->machine);
	if (a->record >= 0)
		return CLI_DONE;
	if (a->record == -EWOULDBLOCK)
		return cli_refuse(a->cli, CLI_REFUSED, "org.apmp.cli.Applying",
				  json_pack("{s:s}", "machine", a->machine.name));
	return cli_refuse(a->cli, CLI_REFUSED, "org.apmp.cli.Host",
			  json_pack("{s:s, s:s}", "what", "the record of this apply", "reason",
				    strerror(-a->record)));
}

/* Plans; and with nothing to do says so. */
static int begin(struct applying *a, const struct cli_args *args)
{
	int r = plan_make(a->client, a->want, a->resume, &a->plan, &a->refusal);

	if (r < 0)
		return cli_no_answer(a->cli, &a->machine, r);
	if (r > 0)
		return cli_refuse(a->cli, CLI_REFUSED, a->refusal.error,
				  json_incref(a->refusal.parameters));
	if (json_array_size(json_object_get(a->plan, "steps")) > 0 || a->cli->json)
		return run(a, args);
	apply_record_clear(a->record);
	plan_print(a->cli, &a->machine, a->file, a->plan);
	return CLI_DONE;
}

int cli_apply(struct cli *cli, const struct cli_args *args)
{
	struct applying a = {.cli = cli, .file = args->args[0], .record = -1, .done = json_array()};
	int code = CLI_DONE;

	if (cli_option(args, "wait"))
		code = cli_time(args, "--wait", cli_option(args, "wait"), &a.wait_ms);
	if (code == CLI_DONE)
		code = plan_begin(cli, a.file, &a.want, &a.machine, &a.client);
	if (code == CLI_DONE)
		code = lock(&a);
	if (code == CLI_DONE)
		code = begin(&a, args);
	if (a.record >= 0)
		close(a.record);
	varlink_client_close(a.client);
	varlink_client_close(a.events);
	varlink_reply_fini(&a.refusal);
	json_decref(a.want);
	json_decref(a.resume);
	json_decref(a.plan);
	json_decref(a.allowed);
	json_decref(a.done);
	return code;
}
