#ifndef APMP_CLI_PLAN_H
#define APMP_CLI_PLAN_H

/* What `apmp plan` and `apmp apply` share: from a file and a machine to the steps. */

#include "cli/find_machine.h"

/* Reads the file, chooses the machine (without --name and APMP_MACHINE the one that the file names)
 * and connects: 0, or an exit code after saying why not. *ret_want is the file as JSON. */
int plan_begin(struct cli *cli, const char *file, json_t **ret_want, struct machine *ret_machine,
	       struct varlink_client **ret_client);

/*
 * Asks the machine what it is and plans, see plan_diff(). resume is the record of an apply that was
 * cut off (apply_record.h); of those the ones that had no other life since boot in the end. 0, or
 * -errno of the connection, or 1 after ret_error (to be finished) was filled with the console's
 * refusal.
 */
int plan_make(struct varlink_client *client, const json_t *want, const json_t *resume,
	      json_t **ret_plan, struct varlink_reply *ret_error);

/* The steps for people, numbered; what needs a power cycle; what else is to be known. */
void plan_print(const struct cli *cli, const struct machine *machine, const char *file,
		const json_t *a_plan);

/* What needs a power cycle alone. */
void plan_print_rest(const char *file, const json_t *a_plan);

#endif
