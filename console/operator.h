/*
 * operator.h - what the files of the operator's methods share.
 *
 * A handler checks what it was given, does or begins it, and answers.
 */
#ifndef APMP_CONSOLE_OPERATOR_H
#define APMP_CONSOLE_OPERATOR_H

#include "console/console_configure.h"

struct console_method {
	const char *name; /* NULL ends a list */
	varlink_handler *handler;
};

/* settle.c: serves a method whose calls wait while a fenced partition is being reaped, and until
 * the dump of the partition that they name is copied, or written.  -ENOBUFS more than
 * CONSOLE_SETTLING_MAX; what varlink_server_method says. */
APMP_CHECK int console_serve_settled(struct console *c, const struct console_method *method,
				     bool until_written);

extern const struct console_method console_configure_methods[];
extern const struct console_method console_cpu_methods[];
extern const struct console_method console_wish_methods[];
extern const struct console_method console_cpu_changes[];
extern const struct console_method console_tables_methods[];
extern const struct console_method console_memory_methods[];
extern const struct console_method console_hardware_methods[];
extern const struct console_method console_view_methods[];
extern const struct console_method console_debug_methods[];

static inline const char *text_of(const json_t *parameters, const char *key)
{
	return json_string_value(json_object_get(parameters, key));
}

/* The partition that a parameter names; NULL after answering that there is none. */
struct partition *console_wanted(struct console *c, struct varlink_call *call,
				 const json_t *parameters, const char *key);
/* The CPU or bus, of those that are there; its handle, or GCT_NONE after answering. */
int32_t console_wanted_cpu(struct console *c, struct varlink_call *call, const json_t *parameters);
int32_t console_wanted_bus(struct console *c, struct varlink_call *call, const char *text);
/* The handle of a community; GCT_NONE: there is none. */
int32_t console_community(struct console *c, const char *name);
/* The same; GCT_NONE after answering. */
int32_t console_wanted_community(struct console *c, struct varlink_call *call, const char *name);
/* A partition or a community; its handle, or GCT_NONE after answering. */
int32_t console_wanted_owner(struct console *c, struct varlink_call *call, const char *name);

/* "SBB.IOP.BUS" as an id.  -EINVAL. */
APMP_CHECK int console_bus_id(const char *text, uint64_t *ret_id);

/* Carries out a request of the administrator; false after answering why it was refused. */
bool console_change(struct console *c, struct varlink_call *call, const struct apmp_call_request *r,
		    struct apmp_configured *ret);
/* Takes a component from its owner, and answers.  What an instance uses stays in use until it boots
 * the next time [0102]. */
void console_deassign(struct console *c, struct varlink_call *call, int32_t handle);
/* Answers a change that was refused with this reason. */
void console_refused(struct console *c, struct varlink_call *call,
		     const struct apmp_configured *why, int err);
/* Answers with parameters (stolen) once every permanent change so far is durable. */
void console_reply_durably(struct console *c, struct varlink_call *call, json_t *parameters);

#endif
