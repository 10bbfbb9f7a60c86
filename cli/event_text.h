#ifndef APMP_CLI_EVENT_TEXT_H
#define APMP_CLI_EVENT_TEXT_H

#include <jansson.h>

/* An event as a sentence; fields that the sentence does not name stand behind it, as all of them do
 * of an event of a kind that is not known. The caller frees it. */
char *event_text(const json_t *event);

#endif
