/* crash.c - the end of an instance that fails. */
#include "instance/crash.h"

#include <unistd.h>

#include "instance/instance.h"

void instance_crash(struct instance *in, enum hwrpb_crash_reason reason, const char *text)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_EXIT, .arg = {APMP_EXIT_CRASH}}};

	instance_say(in, "bugcheck: %s", text);
	if (reason == HWRPB_CRASH_INSTRUCTION)
		(void)in->env.call(&in->env, &call); /* the box sees the end in any case */
	_exit(INSTANCE_EXIT_BUGCHECK);
}
