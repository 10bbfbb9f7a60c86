/*
 * apmp-events - prints who is a member of the sharing set, which CPUs work here, and each change.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "instance/app/connect.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

static const char usage[] = "usage: apmp-events [--cpus] [--now] [--json]\n";

static const char options_text[] =
    "\n"
    "Prints who is a member of the sharing set, and each change from then on.\n"
    "\n"
    "options:\n"
    "  --cpus  also the CPUs that work in this partition (members alone)\n"
    "  --now   print what is so now, and end (go on with changes until the partition ends)\n"
    "  --json  one JSON object per line (words)\n"
    "  --help  this\n";

static int refuse(int err)
{
	fprintf(stderr, "apmp-events: %s\n", apmp_app_explain(err));
	return REFUSED;
}

static const char *kind_of(const struct apmp_app_news *news)
{
	switch (news->kind) {
	case APMP_APP_MEMBER_REMOVED:
		return "removed";
	case APMP_APP_CPU_ADDED:
		return news->state ? "cpu" : "cpu-added";
	case APMP_APP_CPU_REMOVED:
		return "cpu-removed";
	default:
		return news->state ? "member" : "added";
	}
}

static bool is_of_cpu(const struct apmp_app_news *news)
{
	return news->kind == APMP_APP_CPU_ADDED || news->kind == APMP_APP_CPU_REMOVED;
}

static void print_json(const struct apmp_app_news *news)
{
	printf("{\"seq\": %" PRIu64 ", \"kind\": \"%s\", \"partition\": \"%s\", \"id\": %" PRIu32
	       ", \"incarnation\": %" PRIu64 ", \"self\": %s",
	       news->seq, kind_of(news), news->partition.name, news->partition.id,
	       news->partition.incarnation, news->self ? "true" : "false");
	if (news->kind == APMP_APP_MEMBER_REMOVED)
		printf(", \"failed\": %s", news->failed ? "true" : "false");
	if (is_of_cpu(news))
		printf(", \"cpu\": %" PRIu32, news->cpu);
	printf("}\n");
}

static void print(const struct apmp_app_news *news, uint64_t missed)
{
	if (missed)
		printf("missed   %" PRIu64 "\n", missed);
	if (is_of_cpu(news))
		printf("%-8s %" PRIu32 "\n", kind_of(news), news->cpu);
	else
		printf("%-8s %s %" PRIu64 "%s%s\n", kind_of(news), news->partition.name,
		       news->partition.incarnation, news->self ? " self" : "",
		       news->failed ? " failed" : "");
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
	    {"cpus", no_argument, NULL, 'c'},
	    {"json", no_argument, NULL, 'j'},
	    {"now", no_argument, NULL, 'n'},
	    {"help", no_argument, NULL, 'h'},
	    {0},
	};
	struct apmp_app_events *events;
	bool now = false, json = false, cpus = false;
	int option, err;

	apmp__app_keep_standard();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			printf("%s%s", usage, options_text);
			return DONE;
		}
		if (option == '?')
			return fputs(usage, stderr), USAGE;
		now = now || option == 'n';
		json = json || option == 'j';
		cpus = cpus || option == 'c';
	}
	if (optind < argc)
		return fputs(usage, stderr), USAGE;
	err = apmp_app_events_open_for(cpus ? APMP_APP_TELL_CPUS : 0, &events);
	if (err)
		return refuse(err);
	err = follow(events, now, json);
	apmp_app_events_close(events);
	return err;
}
