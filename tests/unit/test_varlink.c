/* The Varlink server and client, with the machine's own interface, against each other and others.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/wire/varlink.h"
#include "shm/wire/varlink_internal.h"
#include "tests/unit/mock_console.h"
#include "tests/unit/suite.h"

static struct mock mock;

static void setup(void)
{
	mock_start(&mock, "mock", NULL);
}

static void teardown(void)
{
	mock_stop(&mock);
}

static struct varlink_client *client_open(void)
{
	struct varlink_client *client;

	ck_assert_int_eq(varlink_client_connect(mock.control, &client), 0);
	return client;
}

/* Calls on a connection of its own; NULL: no error is wanted. Returns the parameters. */
static json_t *call(const char *method, json_t *parameters, const char *error)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply;
	json_t *answer;

	ck_assert_int_eq(varlink_client_call(client, method, parameters, &reply), 0);
	if (error)
		ck_assert_str_eq(reply.error ? reply.error : "no error", error);
	else
		ck_assert_ptr_null(reply.error);
	ck_assert(!reply.continues);
	answer = json_incref(reply.parameters);
	varlink_reply_fini(&reply);
	varlink_client_close(client);
	return answer;
}

static void expect_string(json_t *answer, const char *key, const char *value)
{
	const char *found = json_string_value(json_object_get(answer, key));

	ck_assert_str_eq(found ? found : "nothing", value);
	json_decref(answer);
}

/* ---- without a library: bytes on a socket ---- */

static int raw_open(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", mock.control);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Each '|' of the text becomes the NUL that ends a message. */
static void raw_send(int fd, const char *text)
{
	size_t size = strlen(text);
	char *bytes = strdup(text);

	for (char *bar = bytes; (bar = strchr(bar, '|'));)
		*bar++ = 0;
	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
	free(bytes);
}

/* The next message is as expected; NULL: it is the end. */
static void raw_expect(int fd, const char *expected)
{
	char text[4096];
	size_t size = 0;
	ssize_t got;

	while ((got = recv(fd, text + size, 1, 0)) == 1 && text[size] && size < sizeof(text) - 1)
		size++;
	text[size] = 0;
	if (expected)
		ck_assert_str_eq(text, expected);
	else
		ck_assert_msg(got == 0 || (got < 0 && errno == ECONNRESET), "still there: %s",
			      text);
}

/* ---- the service itself ---- */

START_TEST(info_and_description)
{
	json_t *answer = call("org.varlink.service.GetInfo", NULL, NULL);

	ck_assert_uint_eq(json_array_size(json_object_get(answer, "interfaces")), 2);
	expect_string(answer, "version", APMP_VERSION);
	expect_string(call("org.varlink.service.GetInterfaceDescription",
			   json_pack("{s:s}", "interface", VARLINK_MACHINE), NULL),
		      "description", varlink_machine_text);
	expect_string(call("org.varlink.service.GetInterfaceDescription",
			   json_pack("{s:s}", "interface", VARLINK_SERVICE), NULL),
		      "description", varlink__service_text);
}
END_TEST

START_TEST(standard_errors)
{
	expect_string(call("com.example.Status", NULL, VARLINK_SERVICE ".InterfaceNotFound"),
		      "interface", "com.example");
	expect_string(call("org.varlink.service.GetInterfaceDescription",
			   json_pack("{s:s}", "interface", "a.b"),
			   VARLINK_SERVICE ".InterfaceNotFound"),
		      "interface", "a.b");
	expect_string(call("Nothing", NULL, VARLINK_SERVICE ".MethodNotFound"), "method",
		      VARLINK_MACHINE ".Nothing");
	expect_string(call("org.varlink.service.Nothing", NULL, VARLINK_SERVICE ".MethodNotFound"),
		      "method", "org.varlink.service.Nothing");
	expect_string(call("PartitionReset", json_pack("{s:s}", "name", "alpha"),
			   VARLINK_SERVICE ".MethodNotImplemented"),
		      "method", VARLINK_MACHINE ".PartitionReset");
	json_decref(call("Events", NULL, VARLINK_SERVICE ".ExpectedMore"));
	expect_string(call("ConsolePort", json_pack("{s:s}", "partition", "alpha"),
			   VARLINK_SERVICE ".InvalidParameter"),
		      "parameter", "upgrade");
	expect_string(call("PartitionBoot", json_pack("{s:s}", "name", "no-such"),
			   VARLINK_MACHINE ".NoSuchPartition"),
		      "partition", "no-such");
}
END_TEST

START_TEST(parameters_are_checked)
{
	static const struct {
		const char *method, *parameters, *bad;
	} cases[] = {
	    {"PartitionBoot", "{}", "name"},
	    {"PartitionBoot", "{\"name\": null}", "name"},
	    {"PartitionBoot", "{\"name\": 1}", "name"},
	    {"PartitionBoot", "{\"name\": \"a\", \"wait\": 1}", "wait"},
	    {"PartitionBoot", "{\"name\": \"a\", \"wiat\": true}", "wiat"},
	    {"PartitionBoot", "{\"name\": \"a\", \"wait\": null}", NULL},
	    {"CpuMigrate", "{\"cpu\": \"1\", \"to\": \"b\"}", "cpu"},
	    {"CpuMigrate", "{\"cpu\": 1.5, \"to\": \"b\"}", "cpu"},
	    {"CpuMigrate", "{\"cpu\": 1, \"to\": \"b\", \"loan\": true}", NULL},
	    {"Trace", "{\"who\": \"alpha\"}", "who"},
	    {"Trace", "{\"who\": [\"alpha\", 1, \"beta\"]}", "who"},
	    {"Trace", "{\"who\": []}", NULL},
	    {"Trace", "{\"who\": [\"alpha\", \"beta\"]}", NULL},
	    {"Inject", "{\"fault\": \"kill\", \"partition\": \"a\", \"arg\": []}", "arg"},
	    {"Inject", "{\"fault\": \"kill\", \"partition\": \"a\", \"arg\": {\"x\": 1}}", NULL},
	    {"Status", "{\"x\": 1}", "x"},
	    {"Status", "{}", NULL},
	};
	char buf[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *parameters = json_loads(cases[i].parameters, 0, NULL);
		const char *bad = varlink__parameters_check(varlink_machine_text, cases[i].method,
							    parameters, buf, sizeof(buf));

		ck_assert_msg(bad ? cases[i].bad && !strcmp(bad, cases[i].bad) : !cases[i].bad,
			      "%s %s: %s", cases[i].method, cases[i].parameters,
			      bad ? bad : "good");
		json_decref(parameters);
	}
	expect_string(call("PartitionBoot", NULL, VARLINK_SERVICE ".InvalidParameter"), "parameter",
		      "name");
}
END_TEST

START_TEST(every_definition_can_be_walked)
{
	static const char *const texts[] = {varlink_machine_text, varlink__service_text};
	char method[64], buf[64];
	json_t *odd = json_pack("{s:i}", "odd parameter", 1);
	int count = 0;

	for (int i = 0; i < 2; i++) {
		for (const char *at = texts[i]; (at = strstr(at, "\nmethod ")); at++, count++) {
			ck_assert_int_eq(sscanf(at, " method %63[A-Za-z]", method), 1);
			ck_assert(varlink__method_declared(texts[i], method));
			ck_assert_ptr_nonnull(
			    varlink__parameters_check(texts[i], method, odd, buf, sizeof(buf)));
		}
	}
	ck_assert_int_ge(count, 16);
	ck_assert(!varlink__method_declared(varlink_machine_text, "Stat"));
	json_decref(odd);
}
END_TEST

START_TEST(methods_are_those_of_the_interface)
{
	struct varlink_server *server;
	uv_loop_t loop;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	uv_loop_init(&loop);
	ck_assert_int_eq(varlink_server_create(&loop, -1, &server), -EBADF);
	ck_assert_int_eq(varlink_server_create(&loop, fd, &server), 0);
	ck_assert_int_eq(varlink_server_method(server, "Nothing", NULL, NULL), -ENOENT);
	ck_assert_int_eq(varlink_server_method(server, "Status", NULL, NULL), 0);
	ck_assert_int_eq(varlink_server_method(server, "Status", NULL, NULL), -EEXIST);
	varlink_server_destroy(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* ---- a loop that has other things to do ---- */

static char handled[64]; /* a letter for each call, in their order */

/* Takes longer than all calls of a turn should. */
static void slow(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	uv_loop_t *loop = ctx;

	(void)parameters;
	while (uv_hrtime() / 1000000 < uv_now(loop) + 5)
		continue;
	handled[strlen(handled)] = 's';
	varlink_call_reply(call, NULL);
}

static void quick(struct varlink_call *call, const json_t *parameters, void *ctx)
{
	(void)parameters;
	(void)ctx;
	handled[strlen(handled)] = 'q';
	varlink_call_reply(call, NULL);
}

static int listen_at(struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "/tmp/test_varlink.%d", getpid());
	ck_assert_int_eq(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	return fd;
}

/* One who asks for much does not keep the loop from what else there is. */
START_TEST(slow_calls_take_turns)
{
	struct varlink_client *greedy, *other;
	struct varlink_server *server;
	struct sockaddr_un address;
	int fd = listen_at(&address);
	uv_loop_t loop;

	uv_loop_init(&loop);
	ck_assert_int_eq(varlink_server_create(&loop, fd, &server), 0);
	ck_assert_int_eq(varlink_server_method(server, "Status", slow, &loop), 0);
	ck_assert_int_eq(varlink_server_method(server, "Points", quick, NULL), 0);
	ck_assert_int_eq(varlink_client_connect(address.sun_path, &greedy), 0);
	ck_assert_int_eq(varlink_client_connect(address.sun_path, &other), 0);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(varlink_client_send(greedy, "Status", NULL, 0, NULL, 0), 0);
	ck_assert_int_eq(varlink_client_send(other, "Points", NULL, 0, NULL, 0), 0);
	while (strlen(handled) < 9)
		uv_run(&loop, UV_RUN_ONCE);
	ck_assert_msg(strchr(handled, 'q') - handled <= 1, "in this order: %s", handled);
	varlink_client_close(greedy);
	varlink_client_close(other);
	varlink_server_destroy(server);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	unlink(address.sun_path);
}
END_TEST

/* ---- order, streams, ends ---- */

#define BOOT(name)                                                                                 \
	"{\"method\":\"org.apmp.machine.PartitionBoot\",\"parameters\":{\"name\":\"" name "\"}}|"

START_TEST(pipelined_calls_are_answered_in_order)
{
	int fd = raw_open();

	/* The second one is answered later, and the third waits for it. */
	raw_send(fd, BOOT("alpha") BOOT("later") BOOT("no-such"));
	raw_expect(fd, "{\"parameters\":{}}");
	raw_expect(fd, "{\"parameters\":{\"was\":\"later\"}}");
	raw_expect(fd, "{\"parameters\":{\"partition\":\"no-such\"},"
		       "\"error\":\"org.apmp.machine.NoSuchPartition\"}");
	close(fd);
}
END_TEST

START_TEST(a_message_may_come_in_pieces)
{
	int fd = raw_open();

	raw_send(fd, "{\"method\":\"org.apmp.mach");
	json_decref(call("Status", NULL, NULL)); /* surely seen by now */
	raw_send(fd, "ine.PartitionBoot\",\"parameters\":{\"name\":\"alpha\"}}");
	json_decref(call("Status", NULL, NULL));
	raw_send(fd, "|");
	raw_expect(fd, "{\"parameters\":{}}");
	close(fd);
}
END_TEST

START_TEST(oneway_calls_have_no_answer)
{
	int fd = raw_open();

	raw_send(fd, "{\"method\":\"org.apmp.machine.Nothing\",\"oneway\":true}|"
		     "{\"method\":\"org.apmp.machine.PartitionBoot\",\"oneway\":true,"
		     "\"parameters\":{\"name\":\"later\"}}|"
		     "{\"method\":\"org.apmp.machine.Events\",\"oneway\":true,\"more\":true}|" BOOT(
			 "alpha"));
	raw_expect(fd, "{\"parameters\":{}}");
	close(fd);
}
END_TEST

START_TEST(what_is_no_call_ends_its_connection_only)
{
	static const char *const bad[] = {
	    "|",
	    "{|",
	    "[]|",
	    "\"text\"|",
	    "{}|",
	    "{\"method\":1}|",
	    "{\"method\":\"a.b\",\"parameters\":[]}|",
	    "{\"method\":\"a.b\",\"more\":1}|",
	    "{\"method\":\"a.b\",\"method\":\"a.c\"}|",
	    "{\"method\":\"a.b\"} x|",
	    "\xff|",
	};
	int other = raw_open();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = raw_open();

		raw_send(fd, bad[i]);
		raw_expect(fd, NULL);
		close(fd);
	}
	raw_send(other, BOOT("alpha"));
	raw_expect(other, "{\"parameters\":{}}");
	close(other);
}
END_TEST

START_TEST(a_client_sends_nothing_that_is_too_long)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply;
	char *text = malloc(VARLINK_MESSAGE_MAX);

	memset(text, 'x', VARLINK_MESSAGE_MAX);
	ck_assert_int_eq(varlink_client_send(client, "Status",
					     json_pack("{s:s%}", "x", text, VARLINK_MESSAGE_MAX), 0,
					     NULL, 0),
			 -EMSGSIZE);
	ck_assert_int_eq(varlink_client_call(client, "Status", NULL, &reply), 0);
	varlink_reply_fini(&reply);
	varlink_client_close(client);
	free(text);
}
END_TEST

START_TEST(too_long_a_message_ends_its_connection)
{
	char *blanks = malloc(VARLINK_MESSAGE_MAX + 1);
	int fd = raw_open();
	size_t sent = 0;
	ssize_t n = 0;

	memset(blanks, ' ', VARLINK_MESSAGE_MAX + 1);
	/* Blanks before a value are JSON: only the length is wrong. */
	while (n >= 0 && sent <= VARLINK_MESSAGE_MAX) {
		n = send(fd, blanks, VARLINK_MESSAGE_MAX + 1 - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
	}
	raw_expect(fd, NULL);
	close(fd);
	free(blanks);
}
END_TEST

static json_int_t event_seq(struct varlink_client *client, bool continues)
{
	struct varlink_reply reply;
	json_int_t seq;

	ck_assert_int_eq(varlink_client_receive(client, &reply), 0);
	ck_assert_ptr_null(reply.error);
	ck_assert_int_eq(reply.continues, continues);
	seq =
	    json_integer_value(json_object_get(json_object_get(reply.parameters, "event"), "seq"));
	varlink_reply_fini(&reply);
	return seq;
}

START_TEST(a_stream_ends_and_the_connection_goes_on)
{
	struct varlink_client *client = client_open();

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(varlink_client_send(client, "Events",
						     json_pack("{s:i}", "since", 5), VARLINK_MORE,
						     NULL, 0),
				 0);
		ck_assert_int_eq(event_seq(client, true), 5);
		ck_assert_int_eq(event_seq(client, true), 6);
		ck_assert_int_eq(event_seq(client, false), 7);
	}
	varlink_client_close(client);
}
END_TEST

/* With follow: its stream goes on when all before is read, whatever else happens or not. */
START_TEST(a_slow_subscriber_is_bounded)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply = {0};
	bool continues = true;
	json_int_t count = 0, missed;

	ck_assert_int_eq(varlink_client_send(client, "Events",
					     json_pack("{s:i,s:b}", "since", 1000000, "follow", _i),
					     VARLINK_MORE, NULL, 0),
			 0);
	/* The mock has stopped when this is answered: nothing was read until then. */
	json_decref(call("Status", NULL, NULL));
	while (continues) {
		ck_assert_int_eq(varlink_client_receive(client, &reply), 0);
		continues = reply.continues;
		missed = json_integer_value(
		    json_object_get(json_object_get(reply.parameters, "event"), "missed"));
		varlink_reply_fini(&reply);
		count++;
	}
	ck_assert_int_ge(count, VARLINK_QUEUE_MAX / 1100);
	/* All but the one that was refused came; the end came in its place. */
	ck_assert_int_eq(missed, count);
	varlink_client_close(client);
}
END_TEST

START_TEST(half_a_close_keeps_the_stream)
{
	int fd = raw_open();

	raw_send(fd, "{\"method\":\"org.apmp.machine.Events\",\"more\":true}|" BOOT("later"));
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (int i = 0; i < 3; i++) {
		char text[160];

		snprintf(text, sizeof(text),
			 "{\"parameters\":{\"event\":{\"seq\":%d,\"t_ns\":%d,\"kind\":"
			 "\"member.joined\",\"partition\":\"alpha\"}}%s}",
			 i, i * 1500000, i < 2 ? ",\"continues\":true" : "");
		raw_expect(fd, text);
	}
	raw_expect(fd, "{\"parameters\":{\"was\":\"later\"}}");
	raw_expect(fd, NULL);
	close(fd);
}
END_TEST

/* PartitionHalt "never" is answered when the other caller has hung up, and not before. */
START_TEST(a_hangup_is_told)
{
	struct varlink_client *client = client_open();
	static const char *const methods[] = {"PartitionBoot", "Events"};
	int fd = raw_open();

	if (_i == 0) {
		ck_assert_int_eq(varlink_client_send(client, methods[_i],
						     json_pack("{s:s}", "name", "never"), 0, NULL,
						     0),
				 0);
	} else {
		/* Two replies are never read: the close is then a reset. */
		ck_assert_int_eq(varlink_client_send(client, methods[_i],
						     json_pack("{s:b}", "follow", 1), VARLINK_MORE,
						     NULL, 0),
				 0);
	}
	raw_send(fd, "{\"method\":\"org.apmp.machine.PartitionHalt\","
		     "\"parameters\":{\"name\":\"never\"}}|");
	json_decref(call("Status", NULL, NULL));
	ck_assert_int_eq(recv(fd, &(char){0}, 1, MSG_DONTWAIT), -1);
	varlink_client_close(client);
	raw_expect(fd, "{\"parameters\":{}}");
	close(fd);
}
END_TEST

START_TEST(power_off_is_a_hangup_for_the_others)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply;

	ck_assert_int_eq(varlink_client_send(client, "PartitionBoot",
					     json_pack("{s:s}", "name", "never"), 0, NULL, 0),
			 0);
	json_decref(call("Status", NULL, NULL));
	json_decref(call("PowerOff", NULL, NULL));
	ck_assert_int_eq(varlink_client_receive(client, &reply), -EPIPE);
	varlink_client_close(client);
	mock_wait(&mock);
}
END_TEST

START_TEST(connections_beyond_the_limit_wait)
{
	int fds[VARLINK_CONN_MAX + 4];
	int count = sizeof(fds) / sizeof(fds[0]);

	for (int i = 0; i < count; i++) {
		fds[i] = raw_open();
		raw_send(fds[i], BOOT("alpha"));
	}
	/* Each that goes lets one more in. */
	for (int i = 0; i < count; i++) {
		raw_expect(fds[i], "{\"parameters\":{}}");
		close(fds[i]);
	}
}
END_TEST

/* Whoever has connections and asks for nothing for long loses them to others; who waits for an
 * answer does not. */
START_TEST(idle_connections_make_room)
{
	int fds[VARLINK_CONN_MAX + 4], asked = raw_open(), count = sizeof(fds) / sizeof(fds[0]);
	char byte;

	raw_send(asked, "{\"method\":\"org.apmp.machine.PartitionBoot\","
			"\"parameters\":{\"name\":\"never\"}}|");
	for (int i = 0; i < count; i++)
		fds[i] = raw_open();
	json_decref(call("Status", NULL, NULL));
	ck_assert_int_eq(recv(fds[0], &byte, 1, 0), 0);
	ck_assert_int_eq(recv(fds[count - 1], &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(recv(asked, &byte, 1, MSG_DONTWAIT), -1);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	close(asked);
}
END_TEST

/* Many who follow leave room for who wants an answer. */
START_TEST(there_is_an_end_of_streams)
{
	static const char follow[] = "{\"method\":\"org.apmp.machine.Events\",\"more\":true,"
				     "\"parameters\":{\"follow\":true}}|";
	int fds[VARLINK_STREAMS_MAX], more = raw_open(), count = sizeof(fds) / sizeof(fds[0]);
	char byte;

	for (int i = 0; i < count; i++) {
		fds[i] = raw_open();
		raw_send(fds[i], follow);
		ck_assert_int_eq(recv(fds[i], &byte, 1, 0), 1);
	}
	raw_send(more, follow);
	raw_expect(more, "{\"parameters\":{\"reason\":\"as many callers as there is room for wait "
			 "for programs or follow events; try again when one of them has ended\"},"
			 "\"error\":\"org.apmp.machine.Refused\"}");
	json_decref(call("Status", NULL, NULL));
	close(fds[0]);
	json_decref(
	    call("PartitionHalt", json_pack("{s:s}", "name", "never"), NULL)); /* it is gone */
	raw_send(more, follow);
	for (int i = 0; i < 2; i++) { /* all that it says */
		char text[160];

		snprintf(text, sizeof(text),
			 "{\"parameters\":{\"event\":{\"seq\":%d,\"t_ns\":%d,\"kind\":"
			 "\"member.joined\",\"partition\":\"alpha\"}},\"continues\":true}",
			 i, i * 1500000);
		raw_expect(more, text);
	}
	for (int i = 1; i < count; i++)
		close(fds[i]);
	close(more);
}
END_TEST

START_TEST(others_are_turned_away)
{
	static const char *const inner[] = {"", "/apmp", "/apmp/mock"};
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return; /* only root can be somebody else */
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s%s", mock.directory, inner[i]);
		ck_assert_int_eq(chmod(path, 0711), 0);
	}
	pid = fork();
	if (pid == 0) {
		int fd;

		ck_assert_int_eq(setuid(65534), 0);
		fd = raw_open();
		raw_expect(fd, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- descriptors, upgrade ---- */

static void send_run(struct varlink_client *client, const char *program, const int *fds,
		     unsigned count)
{
	ck_assert_int_eq(varlink_client_send(client, "Run",
					     json_pack("{s:s, s:[s], s:[], s:s}", "partition",
						       "alpha", "argv", program, "env", "cwd", "/"),
					     0, fds, count),
			 0);
}

static json_int_t receive_fds(struct varlink_client *client)
{
	struct varlink_reply reply;
	json_int_t count;

	ck_assert_int_eq(varlink_client_receive(client, &reply), 0);
	ck_assert_ptr_null(reply.error);
	count = json_integer_value(json_object_get(reply.parameters, "fds"));
	varlink_reply_fini(&reply);
	return count;
}

START_TEST(descriptors_come_with_their_call)
{
	struct varlink_client *client = client_open();
	static const char *const programs[] = {"one", "two", "three"};
	int pipes[3][2], many[VARLINK_FDS_MAX + 1] = {0};
	char text[64];

	/* Three calls are under way before the first one is read; one of them has none. */
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(pipe2(pipes[i], O_CLOEXEC), 0);
		send_run(client, programs[i], (int[]){pipes[i][0], pipes[i][1], pipes[i][1]},
			 i == 1 ? 0 : 3);
		close(pipes[i][1]);
	}
	for (int i = 0; i < 3; i++) {
		ssize_t size;

		ck_assert_int_eq(receive_fds(client), i == 1 ? 0 : 3);
		size = read(pipes[i][0], text, sizeof(text) - 1);
		text[size] = 0;
		if (i == 1)
			ck_assert_int_eq(size, 0);
		else
			ck_assert_int_eq(strncmp(text, programs[i], strlen(programs[i])), 0);
		/* The mock closed its copies, or this would block. */
		while (read(pipes[i][0], text, sizeof(text)) > 0)
			continue;
		close(pipes[i][0]);
	}
	ck_assert_int_eq(varlink_client_send(client, "Status", NULL, 0, many, VARLINK_FDS_MAX + 1),
			 -EINVAL);
	send_run(client, "many", many, VARLINK_FDS_MAX);
	ck_assert_int_eq(receive_fds(client), VARLINK_FDS_MAX);
	varlink_client_close(client);
}
END_TEST

START_TEST(descriptors_that_nobody_takes_are_closed)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply;
	int ends[2];
	char byte;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(varlink_client_send(client, "Status", NULL, 0, &ends[1], 1), 0);
	close(ends[1]);
	ck_assert_int_eq(varlink_client_receive(client, &reply), 0);
	varlink_reply_fini(&reply);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	varlink_client_close(client);
}
END_TEST

START_TEST(an_upgrade_hands_over_every_byte)
{
	int fd = raw_open();
	char text[16] = "";

	/* The raw bytes are there before the answer is. */
	raw_send(fd, "{\"method\":\"org.apmp.machine.ConsolePort\",\"upgrade\":true,"
		     "\"parameters\":{\"partition\":\"alpha\"}}|raw bytes");
	raw_expect(fd, "{\"parameters\":{}}");
	ck_assert_int_eq(recv(fd, text, 9, MSG_WAITALL), 9);
	ck_assert_str_eq(text, "raw bytes");
	raw_send(fd, "!");
	raw_expect(fd, NULL);
	close(fd);
}
END_TEST

START_TEST(a_client_is_released_after_an_upgrade)
{
	struct varlink_client *client = client_open();
	struct varlink_reply reply;
	char byte;
	int fd;

	ck_assert_int_eq(varlink_client_send(client, "ConsolePort",
					     json_pack("{s:s}", "partition", "alpha"),
					     VARLINK_UPGRADE, NULL, 0),
			 0);
	ck_assert_int_eq(varlink_client_receive(client, &reply), 0);
	ck_assert_ptr_null(reply.error);
	varlink_reply_fini(&reply);
	fd = varlink_client_release(client);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	ck_assert_int_eq(byte, 'x');
	close(fd);
}
END_TEST

/* ---- the client alone ---- */

START_TEST(client_errors)
{
	struct varlink_client *client;
	char path[200] = "/";

	ck_assert_int_eq(varlink_client_connect("/nowhere/control", &client), -ENOENT);
	memset(path, '/', sizeof(path) - 1);
	ck_assert_int_eq(varlink_client_connect(path, &client), -ENAMETOOLONG);
	varlink_client_close(NULL);
}
END_TEST

/* A server that says one thing and ends. */
static int reply_of(const char *bytes, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char path[] = "/tmp/apmp-reply-XXXXXX";
	struct varlink_client *client;
	struct varlink_reply reply;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int fd, r;

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", path);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(varlink_client_connect(address.sun_path, &client), 0);
	ck_assert_int_eq(varlink_client_send(client, "Status", NULL, 0, NULL, 0), 0);
	fd = accept(listener, NULL, NULL); /* and never reads: its end is a reset */
	ck_assert_int_eq(send(fd, bytes, size, 0), (ssize_t)size);
	close(fd);
	r = varlink_client_receive(client, &reply);
	if (r == 0)
		varlink_reply_fini(&reply);
	varlink_client_close(client);
	close(listener);
	unlink(address.sun_path);
	rmdir(path);
	return r;
}

START_TEST(odd_replies)
{
	ck_assert_int_eq(reply_of("{}", 3), 0);
	ck_assert_int_eq(reply_of("", 0), -EPIPE);
	ck_assert_int_eq(reply_of("{\"parameters\"", 13), -EPIPE);
	ck_assert_int_eq(reply_of("nonsense", 9), -EBADMSG);
	ck_assert_int_eq(reply_of("[]", 3), -EBADMSG);
	ck_assert_int_eq(reply_of("{\"parameters\": 1}", 18), 0);
}
END_TEST

/* ---- somebody else's client ---- */

static const char foreign[] =
    "import json, socket, sys\n"
    "s = socket.socket(socket.AF_UNIX)\n"
    "s.connect(sys.argv[1])\n"
    "f = s.makefile('rb')\n"
    "def read():\n"
    "    data = b''\n"
    "    while not data.endswith(b'\\0'):\n"
    "        data += f.read(1) or sys.exit('end')\n"
    "    return json.loads(data[:-1])\n"
    "def call(method, more=False, **parameters):\n"
    "    message = {'method': 'org.apmp.machine.' + method, 'parameters': parameters,\n"
    "               'more': more}\n"
    "    s.sendall(json.dumps(message).encode() + b'\\0')\n"
    "call('Status')\n"
    "assert read()['parameters']['status']['machine'] == 'mock'\n"
    "call('CpuMigrate', cpu=0, to='beta')\n"
    "assert read()['error'] == 'org.apmp.machine.PrimaryCpu'\n"
    "call('Events', more=True, since=3)\n"
    "s.shutdown(socket.SHUT_WR)\n"
    "replies = [read() for _ in range(3)]\n"
    "assert [r.get('continues', False) for r in replies] == [True, True, False]\n"
    "assert [r['parameters']['event']['seq'] for r in replies] == [3, 4, 5]\n"
    "assert f.read() == b''\n";

START_TEST(a_foreign_client)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "-c", foreign, mock.control, NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static TCase *with_mock(Suite *suite, const char *name)
{
	TCase *tcase = suite_case(suite, name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	return tcase;
}

int main(void)
{
	Suite *suite = suite_create("varlink");
	TCase *service = with_mock(suite, "service"), *order = with_mock(suite, "order");
	TCase *extra = with_mock(suite, "descriptors and upgrade"),
	      *alone = suite_case(suite, "alone");

	tcase_add_test(service, info_and_description);
	tcase_add_test(service, standard_errors);
	tcase_add_test(service, parameters_are_checked);
	tcase_add_test(service, a_foreign_client);
	tcase_add_test(service, others_are_turned_away);
	tcase_add_test(order, pipelined_calls_are_answered_in_order);
	tcase_add_test(order, a_message_may_come_in_pieces);
	tcase_add_test(order, oneway_calls_have_no_answer);
	tcase_add_test(order, what_is_no_call_ends_its_connection_only);
	tcase_add_test(order, a_client_sends_nothing_that_is_too_long);
	tcase_add_test(order, too_long_a_message_ends_its_connection);
	tcase_add_test(order, a_stream_ends_and_the_connection_goes_on);
	tcase_add_loop_test(order, a_slow_subscriber_is_bounded, 0, 2);
	tcase_add_test(order, half_a_close_keeps_the_stream);
	tcase_add_loop_test(order, a_hangup_is_told, 0, 2);
	tcase_add_test(order, power_off_is_a_hangup_for_the_others);
	tcase_add_test(order, connections_beyond_the_limit_wait);
	tcase_add_test(order, idle_connections_make_room);
	tcase_add_test(order, there_is_an_end_of_streams);
	tcase_add_test(extra, descriptors_come_with_their_call);
	tcase_add_test(extra, descriptors_that_nobody_takes_are_closed);
	tcase_add_test(extra, an_upgrade_hands_over_every_byte);
	tcase_add_test(extra, a_client_is_released_after_an_upgrade);
	tcase_add_test(alone, every_definition_can_be_walked);
	tcase_add_test(alone, methods_are_those_of_the_interface);
	tcase_add_test(alone, slow_calls_take_turns);
	tcase_add_test(alone, client_errors);
	tcase_add_test(alone, odd_replies);
	return suite_run(suite);
}
