/* The verbs of apmp: one table, which usage, help, completion and dispatch go by. */
#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "cli/table.h"

/* clang-format off */
const struct cli_command cli_commands[] = {
	{.about = "machines"},
	{"up", "[FILE]", "power on the machine of FILE; without it ./machine.yaml",
	 "apmp up examples/01-trio/machine.yaml", 0, 1, 0,
	 {{"foreground", NULL, "stay, and end with the machine"},
	  {"bare", NULL, "no console yet: the first one who asks for it has it form the system"},
	  {"fresh", NULL, "configure it as FILE says, whatever non-volatile memory holds"}},
	 cli_up},
	{"down", "", "power off", "apmp --name trio down", 0, 0, 0,
	 {{"force", NULL, "end the box itself if its console does not answer"}}, cli_down},
	{"list", "", "the machines of this user", "apmp list", 0, 0, 0, {{0}}, cli_list},
	{"check", "[FILE]", "judge one of these: a machine file, a machine (--live), a --dump",
	 "apmp check --live --save machine.dump", 0, 1, 0,
	 {{"live", NULL, "in place of FILE: does all that must hold of the running machine hold?"},
	  {"save", "FILE", "with --live: write down the memory that was judged"},
	  {"dump", "FILE", "in place of FILE: judge what --save has written"}}, cli_check},
	{"doctor", "", "what this host offers, what of it is used, and why",
	 "apmp doctor", 0, 0, 0,
	 {{"fix", NULL, "mend what can be mended; on a terminal it asks first"},
	  {"yes", NULL, "with --fix: don't ask"},
	  {"user", "USER", "with --fix, as root: make a cpuset group for him"}}, cli_doctor},
	{"clean", "", "remove what dead machines left on this host, and say what that was",
	 "apmp clean", 0, 0, 0,
	 {{"state", NULL, "also what machines that are off keep: NVRAM and dumps"}}, cli_clean},

	{.about = "views"},
	{"status", "", "partitions, instances, CPUs, memory, sharing sets",
	 "apmp status --json | jq '.partitions[].instance.state'", 0, 0, 0, {{0}}, cli_status},
	{"tree", "", "the configuration tree with owners and current owners",
	 "apmp tree --dot | dot -Tsvg > tree.svg", 0, 0, 0,
	 {{"dot", NULL, "as a graph for graphviz"}}, cli_tree},
	{"events", "", "what happened", "apmp events --since 40 --follow", 0, 0, 0,
	 {{"follow", NULL, "go on with what happens from now on"},
	  {"since", "N", "from event number N on"}}, cli_events},
	{"trace", "[PARTY...]", "the flight recorders, merged by time",
	 "apmp trace alpha beta", 0, CLI_REST, 0, {{0}}, cli_trace},
	{"db show", "[COMMUNITY]", "the database of a sharing set, as it stands in its memory",
	 "apmp db show lab", 0, 1, 0, {{0}}, cli_db_show},
	{"lock list", "[COMMUNITY]", "the named locks of sharing sets: holder, rank, who broke it",
	 "apmp lock list --json | jq '.[].holder'", 0, 1, 0, {{0}}, cli_lock_list},

	{.about = "the machine as a file says"},
	{"plan", "FILE", "the steps that make the machine what FILE says",
	 "apmp plan machine.yaml", 1, 1, 0, {{0}}, cli_plan},
	{"apply", "FILE", "do what `plan` says, step by step",
	 "apmp apply machine.yaml --restart --wait 5s", 1, 1, 0,
	 {{"wait", "TIME", "try that long while something is busy or bound: 500ms, 2s"},
	  {"restart", NULL, "halt and boot running partitions where a step needs it"},
	  {"yes", NULL, "ask nothing"}}, cli_apply},

	{.about = "partitions and communities"},
	{"partition create", "NAME", "make a partition; it owns nothing yet",
	 "apmp partition create delta --community lab --boot", 1, 1, 0,
	 {{"community", "COMMUNITY", "the community that it is in"},
	  {"boot", NULL, "it boots at power on"}}, cli_partition_create},
	{"partition delete", "PARTITION", "delete a partition that is halted",
	 "apmp partition delete delta", 1, 1, 0, {{0}}, cli_partition_delete},
	{"partition set", "PARTITION --boot yes|no", "change what a partition does at power on",
	 "apmp partition set beta --boot no", 1, 1, 0,
	 {{"boot", "yes|no", "whether it boots at power on"}}, cli_partition_set},
	{"partition boot", "PARTITION", "boot; returns when the instance is a member",
	 "apmp partition boot beta", 1, 1, 0,
	 {{"no-wait", NULL, "return when the boot was started"}}, cli_partition_boot},
	{"partition halt", "PARTITION", "let the instance leave and halt",
	 "apmp partition halt beta", 1, 1, 0, {{0}}, cli_partition_halt},
	{"partition crash", "PARTITION", "make the instance bugcheck",
	 "apmp partition crash beta", 1, 1, 0, {{0}}, cli_partition_crash},
	{"partition reset", "PARTITION",
	 "take it from its instance, unasked; boot it again",
	 "apmp partition reset beta", 1, 1, 0, {{0}}, cli_partition_reset},
	{"debug", "PARTITION [off]", "a debugger holds it: nobody counts its silence",
	 "apmp debug beta", 1, 2, 0, {{0}}, cli_debug},
	{"community create", "NAME", "make a community",
	 "apmp community create lab", 1, 1, 0, {{0}}, cli_community_create},
	{"community delete", "COMMUNITY", "delete a community without partitions",
	 "apmp community delete lab", 1, 1, 0, {{0}}, cli_community_delete},
	{"community add", "COMMUNITY PARTITION", "put a halted partition into a community",
	 "apmp community add lab delta", 2, 2, 0, {{0}}, cli_community_add},
	{"community remove", "COMMUNITY PARTITION", "take a halted partition out of its community",
	 "apmp community remove lab delta", 2, 2, 0, {{0}}, cli_community_remove},

	{.about = "CPUs, buses, memory"},
	{"cpu list", "", "CPUs with owner, current owner and host CPU", "apmp cpu list", 0, 0, 0,
	 {{0}}, cli_cpu_list},
	{"cpu migrate", "CPU... --to PARTITION", "move CPUs from who has them to another partition",
	 "apmp cpu migrate 2 --to beta", 1, CLI_REST, 0,
	 {{"to", "PARTITION", "where they go"},
	  {"loan", NULL, "the owner stays, only the current owner changes"},
	  {"by", "pal|halt|deassign", "PAL MIGRATE (the default), HALT, or by way of nobody"},
	  {"dry-run", NULL, "say the steps, do nothing; the instance (a bound task) isn't asked"},
	  {"wait", "TIME", "try that long while a CPU is busy or bound: 500ms, 2s"}},
	 cli_cpu_migrate},
	{"cpu start", "CPU...", "CPUs that wait in console mode begin to work where they are",
	 "apmp cpu start 2", 1, CLI_REST, 0,
	 {{"dry-run", NULL, "say the steps, do nothing; the instance (a bound task) isn't asked"},
	  {"wait", "TIME", "try that long while a CPU is busy: 500ms, 2s"}}, cli_cpu_start},
	{"cpu stop", "CPU...", "CPUs leave SMP, and wait in console mode where they are",
	 "apmp cpu stop 2", 1, CLI_REST, 0,
	 {{"dry-run", NULL, "say the steps, do nothing; the instance (a bound task) isn't asked"},
	  {"wait", "TIME", "try that long while a CPU is busy or bound: 500ms, 2s"}},
	 cli_cpu_stop},
	{"cpu failover", "PARTITION all|CPU... stay|none|TARGET[,TARGET]",
	 "where CPUs go when the partition fails: the first that runs",
	 "apmp cpu failover alpha 1 2 beta,gamma", 3, CLI_REST, 0, {{0}}, cli_cpu_failover},
	{"cpu autostart", "PARTITION all|none|CPU...",
	 "the CPUs that begin to work when they come; others wait; at boot all work",
	 "apmp cpu autostart beta 1 2", 2, CLI_REST, 0, {{0}}, cli_cpu_autostart},
	{"cpu wish", "N --to PARTITION", "have a partition ask all members for CPUs",
	 "apmp cpu wish 2 --to beta", 1, 1, 0,
	 {{"to", "PARTITION", "who asks, and gets what the others can spare"},
	  {"wait", "TIME", "try that long while the partition is busy: 500ms, 2s"}},
	 cli_cpu_wish},
	{"cpu assign", "CPU... --to PARTITION", "give CPUs that nobody owns to a partition",
	 "apmp cpu assign 6 7 --to delta", 1, CLI_REST, 0,
	 {{"to", "PARTITION", "their new owner"}}, cli_cpu_assign},
	{"cpu deassign", "CPU...", "take CPUs from their owner: nobody's from then on",
	 "apmp cpu deassign 6 7", 1, CLI_REST, 0,
	 {{"wait", "TIME", "try that long while a CPU is busy or bound: 500ms, 2s"}},
	 cli_cpu_deassign},
	{"bus list", "", "I/O buses with owner and current owner", "apmp bus list", 0, 0, 0,
	 {{0}}, cli_bus_list},
	{"bus assign", "BUS... --to PARTITION", "give buses that nobody owns to a partition",
	 "apmp bus assign 1.0.1 --to delta", 1, CLI_REST, 0,
	 {{"to", "PARTITION", "their new owner"}}, cli_bus_assign},
	{"bus deassign", "BUS...", "take buses from their owner: nobody's from then on",
	 "apmp bus deassign 1.0.1", 1, CLI_REST, 0, {{0}}, cli_bus_deassign},
	{"memory list", "", "all memory, piece by piece, and whose it is",
	 "apmp memory list", 0, 0, 0, {{0}}, cli_memory_list},
	{"memory assign", "SIZE --to PARTITION|COMMUNITY",
	 "give unowned memory to a partition, or to a community",
	 "apmp memory assign 24M --to delta", 1, 1, 0,
	 {{"to", "PARTITION|COMMUNITY", "its new owner; a community's memory is shared"},
	  {"at", "PA", "from this physical address on; else where there is room"}},
	 cli_memory_assign},
	{"memory remove", "SIZE --from PARTITION|COMMUNITY",
	 "take memory from its owner: nobody's from then on",
	 "apmp memory remove 8M --from delta", 1, 1, 0,
	 {{"from", "PARTITION|COMMUNITY", "its owner"},
	  {"at", "PA", "the piece at this physical address; else the last ones"}},
	 cli_memory_remove},

	{.about = "hardware, which comes and goes while the machine runs"},
	{"hardware list", "", "all components, also those that were taken out",
	 "apmp hardware list", 0, 0, 0, {{0}}, cli_hardware_list},
	{"hardware add cpu", "--sbb SBB", "put a CPU into the box; nobody owns it",
	 "apmp hardware add cpu --sbb 1", 0, 0, 0,
	 {{"sbb", "SBB", "the system building block that it is in"},
	  {"id", "N", "its number; else the next one"},
	  {"type", "N", "its type; else that of the others"},
	  {"revision", "N", "its revision; else that of the others"},
	  {"secondary-only", NULL, "it can't be a primary"}}, cli_hardware_add_cpu},
	{"hardware add bus", "--sbb SBB", "put an I/O bus into the box; nobody owns it",
	 "apmp hardware add bus --sbb 1", 0, 0, 0,
	 {{"sbb", "SBB", "the system building block that it is in"},
	  {"id", "S.I.B", "its place, SBB.IOP.BUS; else the next one"}}, cli_hardware_add_bus},
	{"hardware add memory", "SIZE --sbb SBB", "put memory into the box; nobody owns it",
	 "apmp hardware add memory 64M --sbb 1", 1, 1, 0,
	 {{"sbb", "SBB", "the system building block that it is in"}},
	 cli_hardware_add_memory},
	{"hardware remove cpu", "CPU...", "take CPUs out of the box that nobody owns",
	 "apmp hardware remove cpu 6", 1, CLI_REST, 0, {{0}}, cli_hardware_remove_cpu},
	{"hardware remove bus", "BUS...", "take buses out of the box that nobody owns",
	 "apmp hardware remove bus 1.0.1", 1, CLI_REST, 0, {{0}}, cli_hardware_remove_bus},
	{"hardware remove memory", "PA...", "take memory out of the box that nobody owns",
	 "apmp hardware remove memory 0xc0000000", 1, CLI_REST, 0, {{0}},
	 cli_hardware_remove_memory},

	{.about = "inside a partition"},
	{"console", "[PARTITION]", "the serial port of a partition; ^] leaves it",
	 "apmp console alpha", 0, 1, 0,
	 {{"all", NULL, "those of all partitions; ^] ? says how to choose one"}}, cli_console},
	{"run", "PARTITION -- COMMAND...",
	 "run a program in a partition: its CPUs and its fate",
	 "apmp run alpha -- make -j4", 2, CLI_REST, 1,
	 {{"detach", NULL, "let it go on, its output at the console port; print its process id"},
	  {"confined", NULL, "as the partition's own user, where the box runs as root"}}, cli_run},

	{.about = "after a failure"},
	{"dump", "[PARTITION] [FILE]", "the newest dump of a partition; with FILE a copy of it",
	 "apmp dump alpha alpha.core", 0, 2, 0,
	 {{"list", NULL, "all that are kept; with --name also while it is off"}}, cli_dump},
	{"analyze", "FILE [cpus|db|locks|tasks|trace|memory ADDRESS [BYTES]]",
	 "why a partition failed, from its dump alone",
	 "apmp analyze alpha.core cpus", 1, 4, 0,
	 {{"damaged", NULL, "read it also when its memory was changed or cut"}}, cli_analyze},

	{.about = "faults on purpose"},
	{"chaos list", "", "the faults that can be injected", "apmp chaos list", 0, 0, 0, {{0}},
	 cli_chaos_list},
	{"chaos points", "", "the points where a fault can strike", "apmp chaos points", 0, 0, 0,
	 {{0}}, cli_chaos_points},
	{"chaos inject", "FAULT PARTY", "inject a fault, at once or at a point",
	 "apmp chaos inject kill beta --at join_812:2", 2, 2, 0,
	 {{"at", "POINT[:N]", "when the party passes POINT for the N-th time; N 0 disarms it"},
	  {"page", "N", "page-bad, garbage: page N of the community's database (0)"},
	  {"pfn", "PFN", "instead: a page frame of its shared memory"}},
	 cli_chaos_inject},
	{"chaos kills", "", "a campaign: members die at random points: apmp-chaos(1)",
	 "apmp chaos kills --count 100 --seed 7", 0, 0, 0,
	 {{"console", NULL, "the console dies instead, at stores of changes of the configuration"},
	  {"count", "N", "so many kills (100)"},
	  {"seed", "N", "chooses operations, points and victims; else the time does"}},
	 cli_chaos_campaign},
	{"chaos joins", "", "a campaign: partitions join while others die and leave",
	 "apmp chaos joins --count 100 --seed 7", 0, 0, 0,
	 {{"count", "N", "at least N starts (100): the last round boots all that are off"},
	  {"seed", "N", "chooses who dies, where and when; else the time does"}},
	 cli_chaos_campaign},
	{"chaos migrations", "", "a campaign: CPUs migrate from all sides, instances end and boot",
	 "apmp chaos migrations --count 1000 --seed 7", 0, 0, 0,
	 {{"count", "N", "until N CPUs have migrated (100), and 10 N samples were taken"},
	  {"seed", "N", "chooses what is asked, and whose instance ends; else the time does"}},
	 cli_chaos_campaign},
	{"chaos quiet", "", "a campaign: looks on, and nobody may be removed",
	 "apmp chaos quiet --count 5000 --load 4", 0, 0, 0,
	 {{"count", "N", "until each member has beaten N times (100)"},
	  {"load", "N", "beside N busy processes for each CPU of the host (0)"}},
	 cli_chaos_campaign},
	{"chaos sim", "", "the same protocols under a seeded scheduler: apmp-sim(1)",
	 "apmp chaos sim --exhaust-kills join --instances 2 --seed 7", 0, 0, 0,
	 {{"seed", "A[..B]", "the run of seed A, or of all seeds from A to B (1..100)"},
	  {"instances", "N", "2 to 8 (as the seed wants)"},
	  {"kill-rate", "X", "faults in 10000 shared accesses, 0 none (2)"},
	  {"policy", "random|pct", "who runs next (as the seed wants)"},
	  {"memory", "sc|weak", "whether stores may be seen late (as the seed wants)"},
	  {"at", "POINT[:N]", "an instance dies there at the Nth passing, and nothing else does"},
	  {"depth", "D", "policy pct: bugs of D ordered events, 1 to 5 (as the seed wants)"},
	  {"length", "MS", "of virtual time with faults (as the seed wants)"},
	  {"exhaust-kills", "OP[:I[.J]]", "a run for each access of an operation: it dies there"},
	  {"pairs", NULL, "with --exhaust-kills: and for each store of who repairs, one more"},
	  {"exhaust-switches", "OP[:I[.J]]", "a run for every two switches of who runs"},
	  {"stride", "N", "of the second deaths or switches, every Nth"},
	  {"workers", "N", "processes that share the work"},
	  {"twice", NULL, "each run a second time: the same trace, or it is a finding"},
	  {"verbose", NULL, "tell faults, boots and fences"},
	  {"trace", NULL, "tell points and reports; with --verbose each store"}}, cli_chaos_sim},

	{.about = "shells"},
	{"completion", "bash|zsh|fish", "print the completion of a shell",
	 "source <(apmp completion bash)", 1, 1, 0, {{0}}, cli_completion},
	{"completion words", "[WORD...]", "what the last of these words may become, one a line",
	 "apmp completion words -- cpu mig", 0, CLI_REST, -1, {{0}}, cli_completion_words},
};

const struct cli_option cli_globals[CLI_GLOBALS] = {
	[CLI_GLOBAL_NAME] = {"name", "MACHINE",
			     "the machine; else APMP_MACHINE, else the only one that runs"},
	[CLI_GLOBAL_JSON] = {"json", NULL, "one JSON document, of streams one object per line"},
	[CLI_GLOBAL_HELP] = {"help", NULL, "this"},
	[CLI_GLOBAL_VERSION] = {"version", NULL, "the version of apmp"},
};
/* clang-format on */

const int cli_commands_count = sizeof(cli_commands) / sizeof(cli_commands[0]);

bool cli_is_required(const struct cli_command *command, const struct cli_option *option)
{
	char *word = cli_text("--%s ", option->name);
	bool found = strstr(command->args, word) != NULL;

	free(word);
	return found;
}

/* How many of the words the name consists of or begins with; *ret_rest is what it goes on with. */
static int match(const struct cli_command *command, int count, char *const *words,
		 const char **ret_rest)
{
	const char *at = command->name ? command->name : "";
	int matched = 0;

	while (*at && matched < count) {
		size_t length = strcspn(at, " ");

		if (strncmp(words[matched], at, length) != 0 || words[matched][length])
			break;
		matched++;
		at += length;
		at += strspn(at, " ");
	}
	*ret_rest = at;
	return matched;
}

const struct cli_command *cli_find_command(int count, char *const *words, int *ret_count)
{
	const struct cli_command *found = NULL;
	int longest = 0;

	for (int i = 0; i < cli_commands_count; i++) {
		const char *rest;
		int matched = match(&cli_commands[i], count, words, &rest);

		if (*rest || matched <= longest)
			continue;
		longest = matched;
		found = &cli_commands[i];
	}
	*ret_count = longest;
	return found;
}

bool cli_goes_on(const struct cli_command *command, int count, char *const *words,
		 const char **ret_next)
{
	return match(command, count, words, ret_next) == count && **ret_next;
}
