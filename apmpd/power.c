/* `apmpd up`: from a checked machine file to a box that runs. */
#include "apmpd/power.h"

#include "apmpd/box_internal.h"
#include "apmpd/enough.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Removes what a dead machine of this name left, and says what that was.
 * A living one is left alone: taking its run directory is what is refused then. */
static int clean_leftovers(const char *machine)
{
	json_t *said = json_array(), *sentence;
	int removed = apmp_leftover_clean(machine, said);
	size_t i;

	if (removed != -EBUSY)
		json_array_foreach(said, i, sentence) fprintf(
		    stderr, "apmp: left by a machine that died: %s\n", json_string_value(sentence));
	json_decref(said);
	if (removed >= 0 || removed == -EBUSY)
		return 0;
	fprintf(stderr, "apmp: cannot remove what a dead machine \"%s\" left: %s\n", machine,
		strerror(-removed));
	return removed;
}

/* Whether everything that the machine wants can be had, before anything of it is made.  Says all
 * that is short. */
static int check_supplies(const struct machine *machine)
{
	struct apmp_short shorts[APMP_SHORT_MAX];
	int count = apmp_enough_for(machine, shorts);

	for (int i = 0; i < count; i++)
		fprintf(stderr,
			"apmp: machine \"%s\" wants %" PRIu64 " %s and %" PRIu64
			" can be had (%s); %s\n",
			machine->name.text, shorts[i].wanted, shorts[i].what, shorts[i].supply.had,
			shorts[i].supply.limit, shorts[i].help);
	if (count < 0)
		fprintf(stderr, "apmp: cannot find out how much memory is free: %s\n",
			strerror(-count));
	return count;
}

static int refuse_living(const char *machine)
{
	pid_t pid;
	int alive = apmp_rundir_alive(machine, &pid);

	if (alive > 0)
		fprintf(stderr,
			"apmp: machine \"%s\" is on already (process %d); `apmp --name %s down` "
			"powers it off\n",
			machine, pid, machine);
	return alive > 0 ? -EBUSY : 0; /* what can't be told is found out by taking it */
}

/* Nothing that the caller had open lives on in a machine that may run for weeks. */
static void close_inherited(void)
{
	if (syscall(SYS_close_range, 3u, ~0u, 0) == 0)
		return;
	for (int fd = 3; fd < (int)sysconf(_SC_OPEN_MAX) && fd < 65536; fd++)
		close(fd);
}

/* The box as a child, whose word is waited for. */
static int start_box(const struct machine *machine, const struct apmp_power_how *how,
		     struct apmp_nvram_store *nvram)
{
	int pair[2], code;
	pid_t pid;

	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "apmp: cannot start the box: %s\n", strerror(errno));
		apmp_nvram_store_close(nvram, false);
		return 1;
	}
	if (pid == 0) {
		close(pair[0]);
		exit(apmp_box_main(machine, how, nvram, pair[1]));
	}
	close(pair[1]);
	apmp_nvram_store_close(nvram, true);
	code = apmp__box_word_wait(pair[0], pid);
	close(pair[0]);
	return code;
}

int apmp_power_on(const struct machine *machine, const struct apmp_power_how *how)
{
	static struct apmp_nvram_store nvram;

	close_inherited();
	if (refuse_living(machine->name.text) || clean_leftovers(machine->name.text) ||
	    check_supplies(machine) ||
	    apmp_nvram_store_open(machine->name.text, how->fresh, &nvram))
		return 1;
	return how->foreground ? apmp_box_main(machine, how, &nvram, -1)
			       : start_box(machine, how, &nvram);
}
