/* `apmp analyze FILE tasks`: the tasks of a failed partition, by their number. */
#include "cli/analyze.h"
#include "cli/table.h"
#include "shm/shared.h"

static json_t *state_json(uint32_t state)
{
	static const char *const names[] = {
#define X(name, value, text) [value] = text,
	    APMP_TASK_STATES(X)
#undef X
	};

	return core_state_json(names, sizeof(names) / sizeof(names[0]), state);
}

/* id + 1; 0: none. */
static json_t *cpu_json(uint32_t cpu)
{
	return cpu ? json_integer((json_int_t)cpu - 1) : json_null();
}

static json_t *task_json(const struct apmp_recorder_task *task, uint64_t number)
{
	return json_pack("{s:o,s:o,s:o,s:o,s:o}", "task", cli_view_number(number), "state",
			 state_json(apmp_load_relaxed(&task->state)), "cpu",
			 cpu_json(apmp_load_relaxed(&task->cpu)), "bound",
			 cpu_json(apmp_load_relaxed(&task->bound)), "program",
			 cli_view_name(task->program, sizeof(task->program)));
}

/* The one that began next after that number; NULL: none did. */
static const struct apmp_recorder_task *next_task(const struct apmp_recorder *rec, uint64_t after,
						  uint64_t *ret_number)
{
	const struct apmp_recorder_task *next = NULL;

	for (uint32_t i = 0; i < APMP_BEACON_TASKS; i++) {
		uint64_t number = apmp_load_relaxed(&rec->task[i].number);

		if (number > after && (!next || number < *ret_number)) {
			next = &rec->task[i];
			*ret_number = number;
		}
	}
	return next;
}

json_t *analyze_tasks(const struct post_mortem *pm)
{
	json_t *tasks = json_array();
	const struct apmp_recorder_task *task;
	uint64_t number = 0;

	while (pm->recorder && (task = next_task(pm->recorder, number, &number)))
		json_array_append_new(tasks, task_json(task, number));
	return tasks;
}

/* A number, or "-" for none. */
static void number_cell(struct table *table, const json_t *task, const char *key)
{
	if (json_is_null(json_object_get(task, key)))
		table_string(table, NULL, "-");
	else
		table_cell(table, NULL, cli_number_text(task, key));
}

void print_analyzed_tasks(struct cli *cli, const json_t *tasks)
{
	struct table *table = table_create(">TASK STATE >CPU >BOUND PROGRAM");
	const json_t *task;
	size_t i;

	json_array_foreach(tasks, i, task)
	{
		table_cell(table, NULL, cli_number_text(task, "task"));
		table_string(table, NULL, cli_string(task, "state"));
		number_cell(table, task, "cpu");
		number_cell(table, task, "bound");
		table_string(table, NULL, cli_string(task, "program"));
	}
	table_print(table, cli);
}
