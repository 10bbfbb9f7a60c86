/* follow_events.c - a program follows who is a member of its sharing set, and its CPUs. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/app/connect.h"

struct apmp_app_events {
	int sock;
	struct apmp_app_partition self;
	/* The names of members: who is gone may have no name any more. */
	char names[APMP_MAX_PARTITIONS][APMP_APP_NAME_SIZE];
};

int apmp_app_events_open_for(uint32_t what, struct apmp_app_events **ret_events)
{
	struct apmp_app_events *events = calloc(1, sizeof(*events));
	int err = events ? apmp__app_connect(APMP_APP_EVENTS, what, &events->sock, &events->self)
			 : -ENOMEM;

	if (err)
		free(events);
	else
		*ret_events = events;
	return err;
}

int apmp_app_events_open(struct apmp_app_events **ret_events)
{
	return apmp_app_events_open_for(0, ret_events);
}

void apmp_app_events_close(struct apmp_app_events *events)
{
	if (!events)
		return;
	close(events->sock);
	free(events);
}

const struct apmp_app_partition *apmp_app_events_self(const struct apmp_app_events *events)
{
	return &events->self;
}

int apmp_app_events_fd(const struct apmp_app_events *events)
{
	return events->sock;
}

int apmp_app_events_next(struct apmp_app_events *events, int timeout_ms,
			 struct apmp_app_news *ret_news)
{
	struct pollfd fd = {.fd = events->sock, .events = POLLIN};
	struct apmp_app_event event;
	char *name;
	int n = poll(&fd, 1, timeout_ms), err;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	err = apmp__app_receive(events->sock, &event, sizeof(event));
	if (err)
		return err;
	if (event.version != APMP_APP_VERSION || event.partition >= APMP_MAX_PARTITIONS)
		return -EPROTO;
	name = events->names[event.partition];
	if (event.kind == APMP_APP_MEMBER_ADDED)
		memcpy(name, event.name, APMP_APP_NAME_SIZE - 1);
	*ret_news = (struct apmp_app_news){
	    .seq = event.seq,
	    .kind = event.kind,
	    .state = event.flags & APMP_APP_EVENT_STATE,
	    .self = event.flags & APMP_APP_EVENT_SELF,
	    .failed = event.flags & APMP_APP_EVENT_FAILED,
	    .cpu = event.cpu,
	    .partition = {.id = event.partition, .incarnation = event.incarnation}};
	memcpy(ret_news->partition.name, name, APMP_APP_NAME_SIZE);
	return 1;
}
