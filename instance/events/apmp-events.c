/*
 * apmp-events - prints who is a member of the sharing set, and each change of that.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "instance/app/connect.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

static const char usage[] = "usage: apmp-events [--now] [--json]\n";

static int refuse(int err)
{
	fprintf(stderr, "apmp-events: %s\n", apmp_app_explain(err));
	return REFUSED;
}

static const char *kind_of(const struct apmp_app_news *news)
{
	if (news->kind == APMP_APP_MEMBER_REMOVED)
		return "removed";
	return news->state ? "member" : "added";
}

static void print_json(const struct apmp_app_news *news)
{
	printf("{\"seq\": %" PRIu64 ", \"kind\": \"%s\", \"partition\": \"%s\", \"id\": %" PRIu32
	       ", \"incarnation\": %" PRIu64 ", \"self\": %s}\n",
	       news->seq, kind_of(news), news->partition.name, news->partition.id,
	       news->partition.incarnation, news->self ? "true" : "false");
}

static void print(const struct apmp_app_news *news, uint64_t missed)
{
	if (missed)
		printf("missed   %" PRIu64 "\n", missed);
	printf("%-8s %s %" PRIu64 "%s\n", kind_of(news), news->partition.name,
	       news->partition.incarnation, news->self ? " self" : "");
}

/* Until the partition ends; with now, until all that was so at the beginning is printed. */
static int follow(struct apmp_app_events *events, bool now, bool json)
{
	struct apmp_app_news news;
	uint64_t seq = 0;
	int n;

	for (;;) {
		n = apmp_app_events_next(events, -1, &news);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return refuse(n);
		if (news.kind == APMP_APP_STATE_TOLD) {
			if (now)
				return DONE;
			continue;
		}
		if (json)
			print_json(&news);
		else
			print(&news, news.seq - seq - 1);
		seq = news.seq;
		if (fflush(stdout) < 0)
			return REFUSED; /* whoever read it has gone */
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"json", no_argument, NULL, 'j'},
	    {"now", no_argument, NULL, 'n'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct apmp_app_events *events;
	bool now = false, json = false;
	int option, err;

	apmp__app_keep_standard();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return DONE;
		}
		if (option == '?')
			return fputs(usage, stderr), USAGE;
		now = now || option == 'n';
		json = json || option == 'j';
	}
	if (optind < argc)
		return fputs(usage, stderr), USAGE;
	err = apmp_app_events_open(&events);
	if (err)
		return refuse(err);
	err = follow(events, now, json);
	apmp_app_events_close(events);
	return err;
}
