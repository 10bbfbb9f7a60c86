/* plan_steps.c - a plan as it grows: one step, one sentence. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/plan_internal.h"

__attribute__((format(printf, 1, 0))) static char *text_of(const char *format, va_list list)
{
	char *text;

	if (vasprintf(&text, format, list) < 0)
		cli_out_of_memory();
	return text;
}

void plan_step(struct plan *plan, const char *method, json_t *parameters, const char *format, ...)
{
	va_list list;
	char *text;

	va_start(list, format);
	text = text_of(format, list);
	va_end(list);
	json_array_append_new(plan->steps,
			      json_pack("{s:s, s:o, s:s+}", "method", method, "parameters",
					parameters, "command", "apmp ", text));
	free(text);
}

json_t *plan_last_step(const struct plan *plan)
{
	return json_array_get(plan->steps, json_array_size(plan->steps) - 1);
}

void plan_because(struct plan *plan, const char *format, ...)
{
	va_list list;
	char *text;

	va_start(list, format);
	text = text_of(format, list);
	va_end(list);
	json_object_set_new(plan_last_step(plan), "because", json_string(text));
	free(text);
}

void plan_say(json_t *list, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = text_of(format, args);
	va_end(args);
	json_array_append_new(list, json_string(text));
	free(text);
}
