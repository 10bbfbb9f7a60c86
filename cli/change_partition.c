/* `apmp partition ...` and `apmp community ...`: they come, live and go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/find_machine.h"
#include "cli/table.h"

/* Calls a method; line says what is true afterwards. parameters, asked and line are stolen. */
static int change(struct cli *cli, const char *method, json_t *parameters, char *asked, char *line)
{
	json_t *answer;
	int code = cli_call_asked(cli, method, parameters, asked, &answer);

	if (code == CLI_DONE) {
		if (cli->json)
			cli_print_json(answer);
		else
			printf("%s\n", line);
		json_decref(answer);
	}
	free(asked);
	free(line);
	return code;
}

/* ---- the life of an instance ---- */

static int live(struct cli *cli, const struct cli_args *args, const char *method,
		const char *wanted, const char *outcome)
{
	const char *name = args->args[0];

	return change(cli, method, json_pack("{s:s}", "name", name),
		      cli_text("%s partition \"%s\"", wanted, name),
		      cli_text("partition \"%s\" %s", name, outcome));
}

int cli_partition_boot(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0];
	bool wait = !cli_option(args, "no-wait");
	char *asked = cli_text("booting partition \"%s\"", name);
	json_t *answer, *member;
	int code =
	    cli_call_asked(cli, "PartitionBoot", json_pack("{s:s,s:b}", "name", name, "wait", wait),
			   asked, &answer);

	free(asked);
	if (code != CLI_DONE)
		return code;
	member = json_object_get(answer, "member");
	if (cli->json)
		cli_print_json(answer);
	else
		printf("partition \"%s\" %s\n", name,
		       !wait		       ? "is booting"
		       : json_is_false(member) ? "is up; it is in no community"
					       : "is a member");
	json_decref(answer);
	return code;
}

int cli_partition_halt(struct cli *cli, const struct cli_args *args)
{
	return live(cli, args, "PartitionHalt", "halting", "is halted");
}

int cli_partition_crash(struct cli *cli, const struct cli_args *args)
{
	return live(cli, args, "PartitionCrash", "crashing", "has crashed, as it was told to");
}

int cli_partition_reset(struct cli *cli, const struct cli_args *args)
{
	return live(cli, args, "PartitionReset", "resetting",
		    "was taken from its instance, and boots again");
}

int cli_debug(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0];
	bool off = args->count > 1, was;
	json_t *answer;
	char *asked;
	int code;

	if (off && strcmp(args->args[1], "off") != 0)
		return cli_usage(args, "\"off\" or nothing stands behind the partition, not \"%s\"",
				 args->args[1]);
	asked = cli_text("letting a debugger hold partition \"%s\"", name);
	code = cli_call_asked(cli, "PartitionDebug",
			      json_pack("{s:s, s:b}", "name", name, "off", off), asked, &answer);
	free(asked);
	if (code != CLI_DONE)
		return code;
	was = json_is_true(json_object_get(answer, "was"));
	if (cli->json)
		cli_print_json(answer);
	else if (off)
		printf("partition \"%s\" is watched%s\n", name,
		       was ? " again" : ", as before: no debugger held it");
	else
		printf("nobody counts the silence of partition \"%s\" until it ends, or "
		       "`apmp debug %s off`\n",
		       name, name);
	json_decref(answer);
	return code;
}

/* ---- partitions ---- */

int cli_partition_create(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0], *community = cli_option(args, "community");
	json_t *parameters = json_pack("{s:s}", "name", name);

	if (community)
		json_object_set_new(parameters, "community", json_string(community));
	if (cli_option(args, "boot"))
		json_object_set_new(parameters, "boot", json_true());
	return change(cli, "PartitionCreate", parameters,
		      cli_text("creating partition \"%s\"", name),
		      cli_text("partition \"%s\" is there and owns nothing yet: "
			       "`apmp cpu assign`, `apmp memory assign` and `apmp bus assign` give "
			       "it what it needs, then `apmp partition boot %s`",
			       name, name));
}

int cli_partition_delete(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0];

	return change(cli, "PartitionDelete", json_pack("{s:s}", "name", name),
		      cli_text("deleting partition \"%s\"", name),
		      cli_text("partition \"%s\" is deleted", name));
}

int cli_partition_set(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0], *boot = cli_option(args, "boot");
	bool yes = strcmp(boot, "yes") == 0;

	if (!yes && strcmp(boot, "no") != 0)
		return cli_usage(args, "--boot is yes or no, not \"%s\"", boot);
	return change(
	    cli, "PartitionSet", json_pack("{s:s, s:b}", "name", name, "boot", yes),
	    cli_text("setting partition \"%s\"", name),
	    cli_text("partition \"%s\" %s at power on", name, yes ? "boots" : "does not boot"));
}

/* ---- communities ---- */

int cli_community_create(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0];

	return change(cli, "CommunityCreate", json_pack("{s:s}", "name", name),
		      cli_text("creating community \"%s\"", name),
		      cli_text("community \"%s\" is there; `apmp memory assign SIZE --to %s` gives "
			       "it shared memory, `apmp community add %s PARTITION` members",
			       name, name, name));
}

int cli_community_delete(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0];

	return change(cli, "CommunityDelete", json_pack("{s:s}", "name", name),
		      cli_text("deleting community \"%s\"", name),
		      cli_text("community \"%s\" is deleted", name));
}

static json_t *membership(const struct cli_args *args)
{
	return json_pack("{s:s, s:s}", "name", args->args[0], "partition", args->args[1]);
}

int cli_community_add(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0], *partition = args->args[1];

	return change(cli, "CommunityAdd", membership(args),
		      cli_text("adding partition \"%s\" to community \"%s\"", partition, name),
		      cli_text("partition \"%s\" is in community \"%s\"", partition, name));
}

int cli_community_remove(struct cli *cli, const struct cli_args *args)
{
	const char *name = args->args[0], *partition = args->args[1];

	return change(cli, "CommunityRemove", membership(args),
		      cli_text("removing partition \"%s\" from community \"%s\"", partition, name),
		      cli_text("partition \"%s\" is in no community", partition));
}
