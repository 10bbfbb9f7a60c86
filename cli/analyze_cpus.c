/*
 * `apmp analyze FILE cpus`: what the CPUs of a failed partition did.
 *
 * WHAT      A CPU is shown when its slot in the HWRPB was ever used in that life, or has a context.
 *           Addresses are shown with the place in the program that they are, which addr2line(1)
 *           takes: `addr2line -fe apmp-instance 0x...`, or of a task its own file.  That of a
 *           return address is the end of the call, one byte before it: behind a call that never
 *           returns another function begins.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/analyze.h"
#include "cli/table.h"
#include "shm/crash.h"
#include "shm/layout_intr.h"

enum { LAST_POINTS = 3 };

static json_t *hex_json(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%#" PRIx64, value);
	return json_string(text);
}

static json_t *slot_state_json(uint32_t state)
{
	static const char *const names[] = {[0] = "never seen",
#define X(name, value, text) [value] = text,
					    HWRPB_CPU_STATES(X)
#undef X
	};

	return core_state_json(names, sizeof(names) / sizeof(names[0]), state);
}

json_t *analyze_crash(const struct post_mortem *pm)
{
	struct apmp_crash crash;
	char *thread;
	json_t *json;

	if (!pm->hwrpb || apmp_crash_read(pm->hwrpb, &crash))
		return json_null();
	thread = core_thread_text(crash.thread);
	json = json_pack("{s:s,s:s,s:s,s:o,s:o}", "reason", apmp_crash_reason_text(crash.reason),
			 "text", crash.text, "thread", thread, "t_ns", cli_view_number(crash.t_ns),
			 "program_at", hex_json(crash.image));
	if (crash.reason == HWRPB_CRASH_SIGNAL) {
		json_object_set_new(json, "signal", json_integer(crash.signal));
		/* A signal that somebody has sent has none. */
		if (crash.address || strstr(crash.text, " at 0x0"))
			json_object_set_new(json, "address", hex_json(crash.address));
	}
	free(thread);
	return json;
}

/* An address, and where the instruction at `at` is in the instance or in the program of the task;
 * null: not behind where it begins. */
static json_t *address_json(uint64_t address, uint64_t at, uint64_t image,
			    const struct apmp_context *context)
{
	const uint64_t large = UINT64_C(1) << 32; /* no program of ours is */
	const bool in_task =
	    context->program && at >= context->program && at < context->program_end;
	const bool in_program = !in_task && image && at >= image && at - image < large;

	return json_pack("{s:o,s:o,s:o}", "address", hex_json(address), "in_program",
			 in_program ? hex_json(at - image) : json_null(), "in_task",
			 in_task ? hex_json(at - context->program) : json_null());
}

/* Of the program; null: it is not known. */
static json_t *task_name_json(const struct apmp_context *context)
{
	return context->task_name[0] ? json_string(context->task_name) : json_null();
}

static json_t *context_json(const struct post_mortem *pm, uint32_t cpu)
{
	struct apmp_context context;
	struct apmp_crash crash;
	json_t *registers = json_object(), *frames = json_array();
	uint64_t image = apmp_crash_read(pm->hwrpb, &crash) ? 0 : crash.image;

	if (apmp_context_read(pm->hwrpb, cpu, &context)) {
		json_decref(registers);
		json_decref(frames);
		return json_null();
	}
	for (uint32_t i = 0; i < context.register_count && i < HWRPB_REGISTERS; i++)
		if (apmp_context_register_name(i))
			json_object_set_new(registers, apmp_context_register_name(i),
					    hex_json(context.reg[i]));
	if (context.register_count > APMP_CONTEXT_PC) {
		uint64_t pc = context.reg[APMP_CONTEXT_PC];

		json_array_append_new(frames, address_json(pc, pc, image, &context));
	}
	for (uint32_t i = 0; i < context.frame_count && i < HWRPB_FRAMES; i++) {
		uint64_t address = context.frame[i];

		json_array_append_new(frames, address_json(address, address - 1, image, &context));
	}
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "task", cli_view_number(context.task),
			 "task_program", task_name_json(&context), "t_ns",
			 cli_view_number(context.t_ns), "registers", registers, "frames", frames);
}

static json_t *flags_json(uint64_t flags)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} bits[] = {{HWRPB_PP, "present"},	  {HWRPB_PA, "available"},
		    {HWRPB_PRIMARY, "primary"},	  {HWRPB_COMPATIBLE, "compatible"},
		    {HWRPB_PRIMARY_OK, "may be"}, {HWRPB_CONSOLE, "console mode"}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (flags & bits[i].bit && bits[i].bit != HWRPB_PRIMARY_OK)
			json_array_append_new(list, json_string(bits[i].name));
		flags &= ~bits[i].bit;
	}
	if (flags)
		json_array_append_new(list, hex_json(flags));
	return list;
}

/* Who had it by the tree, and who executed on it. */
static void add_owners(const struct post_mortem *pm, uint32_t cpu, json_t *json)
{
	const struct image *image = &pm->view.image;
	const struct apmp_intr_line *line =
	    image_at(image, image->lines_pa + cpu * sizeof(*line), sizeof(*line));

	json_object_set_new(json, "runner",
			    line ? cli_view_life(&pm->view, line->runner) : json_null());
	json_object_set_new(json, "pending", line ? hex_json(line->pending) : json_null());
}

static json_t *cpu_json(const struct post_mortem *pm, uint32_t cpu)
{
	const struct hwrpb_slot *slot = &pm->hwrpb->slot[cpu];
	json_t *json = json_pack(
	    "{s:i,s:o,s:o,s:b,s:o,s:o,s:o}", "id", (int)cpu, "state", slot_state_json(slot->state),
	    "flags", flags_json(slot->flags), "primary", pm->hwrpb->primary == cpu, "parked",
	    cli_view_life(&pm->view, slot->context), "context", context_json(pm, cpu), "last",
	    analyze_trace(pm, cpu, LAST_POINTS));

	add_owners(pm, cpu, json);
	return json;
}

json_t *analyze_cpus(const struct post_mortem *pm)
{
	uint32_t count = pm->hwrpb ? pm->hwrpb->cpu_count : 0;
	json_t *cpus = json_array();

	for (uint32_t cpu = 0; cpu < count && cpu < APMP_MAX_CPUS; cpu++)
		if (pm->hwrpb->slot[cpu].state || pm->hwrpb->saved[cpu].state)
			json_array_append_new(cpus, cpu_json(pm, cpu));
	return cpus;
}

static void print_context(const json_t *context)
{
	const json_t *frame;
	const char *name;
	json_t *value;
	size_t i = 0;

	if (!json_is_object(context)) {
		printf("  no context was saved\n");
		return;
	}
	json_object_foreach(json_object_get(context, "registers"), name, value)
	{
		printf("%s%7s %-18s",
		       i % 4 ? " "
		       : i   ? "\n  "
			     : "  ",
		       name, json_string_value(value));
		i++;
	}
	printf("\n");
	json_array_foreach(json_object_get(context, "frames"), i, frame)
	{
		const char *inside = json_string_value(json_object_get(frame, "in_program"));
		const char *in_task = json_string_value(json_object_get(frame, "in_task"));

		if (in_task)
			printf("  #%-3zu %-18s %s %s\n", i, cli_string(frame, "address"),
			       cli_string(context, "task_program"), in_task);
		else
			printf("  #%-3zu %-18s%s%s\n", i, cli_string(frame, "address"),
			       inside ? " apmp-instance " : "", inside ? inside : "");
	}
}

static void print_last(const json_t *points)
{
	const json_t *point;
	size_t i;

	json_array_foreach(points, i, point)
	{
		printf("%s%s", i ? ", " : "  last points: ", cli_string(point, "point"));
	}
	printf("%s", json_array_size(points) ? "\n" : "");
}

void print_analyzed_cpus(struct cli *cli, const json_t *cpus)
{
	const json_t *cpu;
	size_t i;

	(void)cli;
	json_array_foreach(cpus, i, cpu)
	{
		char *flags = cli_names_text(json_object_get(cpu, "flags"));

		printf("%sCPU %lld: %s (%s); it was executed by %s\n", i ? "\n" : "",
		       (long long)json_integer_value(json_object_get(cpu, "id")),
		       cli_string(cpu, "state"), flags,
		       json_is_null(json_object_get(cpu, "runner")) ? "nobody"
								    : cli_string(cpu, "runner"));
		print_context(json_object_get(cpu, "context"));
		print_last(json_object_get(cpu, "last"));
		free(flags);
	}
}
