/* What a machine needs of its host.
 *
 * WHAT     The numbers are upper bounds, from the machine file and from what the programs do; those
 *          of memory were measured (Linux 6.18, x86-64: a process of ours has 0.1 to 0.5 MiB of its
 *          own, and costs the kernel 0.15 MiB).
 *          memory       all of the machine's, whether somebody owns it or not; for each partition
 *                       its HWRPB, recorder and instance; tree, state and lines of the console, the
 *                       box and its guard.  Limits leave a reserve besides (host_memory.h).
 *          processes    box (with the threads that write NVRAM), guard, console; for each partition
 *                       its instance with a thread for its clock, two for its programs and one for
 *                       each CPU, and for each CPU another, where it may migrate to
 *          descriptors  of the box, which has most: see DESCRIPTORS
 *          disk         the run directory's files, and logs to begin with
 *          address      of an instance: its memory, its community's, itself, and for each CPU
 *                       that may come to it, and for what serves programs, a stack apart
 *                       (instance/stack.c).  Tasks are not counted: each is refused by itself.
 *          file size    the largest memory subsystem
 * LIMITS   It is a look, not a reservation: what others take meanwhile is refused later, by the
 *          same names (ROOM, RUN, MAKE).
 */
#include "apmpd/enough.h"

#include "apmpd/host_memory.h"
#include "apmpd/rundir.h"
#include "shm/wire/box.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRMWARE_SIZE  (UINT64_C(4) << 20)
#define PARTITION_SIZE (UINT64_C(1) << 20)
/* A program that is started: its first pages, page tables, kernel stack. */
#define PROCESS_SIZE (UINT64_C(1) << 20)
#define PROCESSES    10u

/* Its own, one for each of the console's clients (so many has the console), some for programs that
 * are being started; for each partition: 8 of its groups, 6 of channel, port and output, HWRPB,
 * recorder, and the pieces of its memory. */
#define DESCRIPTORS		 200u
#define DESCRIPTORS_OF_PARTITION 19u

#define RUNDIR_SIZE (UINT64_C(64) << 10)
/* Program, libraries, heap, firmware. */
#define INSTANCE_ADDRESSES (UINT64_C(64) << 20)
/* Its threads that serve programs. */
#define STACKS_OF_PROGRAMS 2u

#define RAISE	     "raise that limit"
#define END_OR_RAISE "end some, or raise that limit"

struct list {
	struct apmp_short *shorts;
	int count;
};

static void compare(struct list *list, const char *what, const char *help, uint64_t wanted,
		    const struct apmp_supply *supply)
{
	if (wanted <= supply->had)
		return;
	list->shorts[list->count++] =
	    (struct apmp_short){.what = what, .help = help, .wanted = wanted, .supply = *supply};
}

static int compare_memory(struct list *list, const struct machine *machine)
{
	uint64_t wanted = FIRMWARE_SIZE + machine->partition_count * PARTITION_SIZE;
	struct apmp_supply supply;
	int error;

	for (size_t i = 0; i < machine->sbb_count; i++)
		wanted += machine->sbbs[i].memory.bytes;
	error = apmp_host_memory_check(wanted, &supply.had, supply.limit, sizeof(supply.limit));
	if (error && error != -ENOMEM)
		return error;
	compare(list, "bytes of memory", "make its memory smaller, or free some", wanted, &supply);
	return 0;
}

static size_t cpu_count(const struct machine *machine)
{
	size_t count = 0;

	for (size_t i = 0; i < machine->sbb_count; i++)
		count += machine->sbbs[i].cpu_count;
	return count;
}

static void compare_processes(struct list *list, const struct machine *machine)
{
	struct apmp_supply supply = apmp_supply_processes();
	size_t cpus = cpu_count(machine);

	compare(list, "processes and threads", END_OR_RAISE,
		PROCESSES + 4 * machine->partition_count + 2 * cpus, &supply);
	/* Where the box is root, each partition is a user of its own. */
	if (geteuid() != 0)
		return;
	supply = apmp_supply_processes_of_new_user();
	compare(list, "processes and threads of one partition", RAISE, 4 + cpus, &supply);
}

static void compare_addresses(struct list *list, const struct machine *machine)
{
	struct apmp_supply supply = apmp_supply_address_space();
	uint64_t most = 0;

	for (size_t i = 0; i < machine->partition_count; i++) {
		const struct machine_partition *p = &machine->partitions[i];
		uint64_t size = p->memory.bytes + INSTANCE_ADDRESSES +
				(cpu_count(machine) + STACKS_OF_PROGRAMS) *
				    (APMP_INSTANCE_STACK_SIZE + APMP_INSTANCE_STACK_GAP);

		for (size_t k = 0; k < machine->community_count; k++)
			if (strcmp(machine->communities[k].name.text, p->community.text) == 0)
				size += machine->communities[k].shared.bytes;
		if (size > most)
			most = size;
	}
	compare(list, "bytes of address space of one instance", RAISE, most, &supply);
}

/* A memory subsystem is one file, as the kernel sees it, if nobody divides it. */
static void compare_file_size(struct list *list, const struct machine *machine)
{
	struct apmp_supply supply = apmp_supply_file_size();
	uint64_t most = 0;

	for (size_t i = 0; i < machine->sbb_count; i++)
		if (machine->sbbs[i].memory.bytes > most)
			most = machine->sbbs[i].memory.bytes;
	compare(list, "bytes in one file", RAISE, most, &supply);
}

int apmp_enough_for(const struct machine *machine, struct apmp_short ret[APMP_SHORT_MAX])
{
	struct list list = {.shorts = ret};
	struct apmp_supply supply;
	char base[PATH_MAX];
	int error = compare_memory(&list, machine);

	if (error)
		return error;
	compare_processes(&list, machine);
	supply = apmp_supply_descriptors();
	compare(&list, "descriptors", RAISE,
		DESCRIPTORS + DESCRIPTORS_OF_PARTITION * machine->partition_count, &supply);
	compare_addresses(&list, machine);
	compare_file_size(&list, machine);
	if (apmp_rundir_base(base, sizeof(base)) == 0) {
		supply = apmp_supply_disk(base);
		compare(&list, "bytes for the run directory",
			"free some, or set XDG_RUNTIME_DIR to another folder", RUNDIR_SIZE,
			&supply);
	}
	return list.count;
}

int apmp_enough_for_process(uint64_t threads, struct apmp_short *ret)
{
	struct list list = {.shorts = ret};
	struct apmp_supply supply = apmp_supply_processes();
	int error;

	compare(&list, "processes and threads", END_OR_RAISE, threads, &supply);
	if (list.count)
		return -EAGAIN;
	error = apmp_host_memory_check_reserve(PROCESS_SIZE, &supply.had, supply.limit,
					       sizeof(supply.limit));
	if (error && error != -ENOMEM)
		return error;
	compare(&list, "bytes of memory", "free some", PROCESS_SIZE, &supply);
	return list.count ? -ENOMEM : 0;
}
