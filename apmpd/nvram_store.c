/* The NVRAM of one machine.
 *
 * Read before the box starts, while there is somebody to be told and nothing to be undone.  One
 * good generation is enough.  Where only damaged ones are left, the machine file's configuration is
 * used, and that is said.  Where a file may be whole and can't be used (it can't be read, it is of
 * a newer apmp or another machine), only a person can say that it may be written over (`up
 * --fresh`).
 */
#include "apmpd/nvram_store.h"

#include "apmpd/nvram_disk.h"
#include "apmpd/own_recorder.h"
#include "apmpd/state_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with a file, for a person. */
static void describe_file(const struct apmp_nvram_found *found, unsigned file, char *ret_text,
			  size_t size)
{
	const char *name = apmp_nvram_name(file);

	switch (found->state[file]) {
	case APMP_NVRAM_TORN:
		snprintf(ret_text, size, "%s is damaged", name);
		break;
	case APMP_NVRAM_UNREADABLE:
		snprintf(ret_text, size, "%s can't be read (%s)", name,
			 strerror(-found->error[file]));
		break;
	case APMP_NVRAM_FOREIGN:
		if (found->machine[file][0])
			snprintf(ret_text, size, "%s is of machine \"%s\"", name,
				 found->machine[file]);
		else if (found->format[file] > APMP_NVRAM_FORMAT)
			snprintf(ret_text, size, "%s has format %" PRIu64 ", newer than this apmp",
				 name, found->format[file]);
		else
			snprintf(ret_text, size, "%s was not written by apmp", name);
		break;
	default: /* APMP_NVRAM_ABSENT, APMP_NVRAM_GOOD */
		ret_text[0] = '\0';
	}
}

/* What was refused, of both files; "": nothing. */
static void describe_refused(const struct apmp_nvram_found *found, char *ret_text, size_t size)
{
	char each[2][92];

	for (unsigned file = 0; file < 2; file++)
		describe_file(found, file, each[file], sizeof(each[file]));
	snprintf(ret_text, size, "%s%s%s", each[0], each[0][0] && each[1][0] ? " and " : "",
		 each[1]);
}

static int read_contents(struct apmp_nvram_store *store, struct apmp_nvram_found *ret_found)
{
	int error;

	store->contents = malloc(APMP_NVRAM_SIZE_MAX);
	if (!store->contents)
		return -ENOMEM;
	error = apmp_nvram_read(&store->disk->disk, store->state.machine, store->contents,
				APMP_NVRAM_SIZE_MAX, ret_found);
	if (!error) {
		store->size = ret_found->size;
		store->generation = ret_found->generation;
		return 0;
	}
	free(store->contents);
	store->contents = NULL;
	return error == -ENOENT ? 0 : error;
}

static int say_no_memory(const char *machine)
{
	fprintf(stderr, "apmp: no memory to read the NVRAM of machine \"%s\"\n", machine);
	return -ENOMEM;
}

/* Whether a file is there that is whole, as far as one can tell, and can't be used. */
static bool is_whole(const struct apmp_nvram_found *found, unsigned file)
{
	return found->state[file] == APMP_NVRAM_UNREADABLE ||
	       (found->state[file] == APMP_NVRAM_FOREIGN && found->format[file]);
}

/* Nothing is good.  What is whole is not written over unasked. */
static int refuse(const struct apmp_nvram_store *store, const struct apmp_nvram_found *found,
		  const char *refused, int error)
{
	if (error == -EBADMSG && !is_whole(found, 0) && !is_whole(found, 1))
		return 0;
	fprintf(stderr,
		"apmp: the configuration of machine \"%s\" can't be read: in %s, %s (%s); "
		"`apmp up --fresh` powers on with that of the machine file, and the next change "
		"then replaces what is there\n",
		store->state.machine, store->state.path, refused[0] ? refused : "a file",
		strerror(-error));
	return error;
}

/* Reads, and says what stood in the way. */
static int read_and_say(struct apmp_nvram_store *store)
{
	struct apmp_nvram_found found = {0};
	int error = read_contents(store, &found);
	char refused[sizeof(store->note) - 64];

	if (error == -ENOMEM)
		return say_no_memory(store->state.machine);
	describe_refused(&found, refused, sizeof(refused));
	if (error)
		error = refuse(store, &found, refused, error);
	if (error || !refused[0])
		return error;
	if (store->contents)
		snprintf(store->note, sizeof(store->note), "%s; generation %" PRIu64 " is used",
			 refused, store->generation);
	else
		snprintf(store->note, sizeof(store->note), "%s; the machine file's is used",
			 refused);
	fprintf(stderr, "apmp: of the configuration that machine \"%s\" keeps in %s, %s\n",
		store->state.machine, store->state.path, store->note);
	return 0;
}

int apmp_nvram_store_open(const char *machine, bool fresh, struct apmp_nvram_store *ret)
{
	struct apmp_nvram_store store = {0};
	char why[2 * PATH_MAX];
	int error = apmp_state_open(machine, &store.state, why, sizeof(why));

	if (error) {
		fprintf(stderr, "apmp: machine \"%s\" can't be powered on: %s\n", machine, why);
		return error;
	}
	store.disk = malloc(sizeof(*store.disk));
	if (!store.disk) {
		apmp_state_close(&store.state);
		return say_no_memory(machine);
	}
	apmp_nvram_disk_init(store.disk, store.state.dir_fd);
	error = fresh ? 0 : read_and_say(&store);
	if (error)
		apmp_nvram_store_close(&store, false);
	else
		*ret = store;
	return error;
}

int apmp_nvram_store_write(struct apmp_nvram_store *store, const void *contents, uint64_t size)
{
	return apmp_nvram_write(apmp_own_env(), &store->disk->disk, store->state.machine, contents,
				size, &store->generation);
}

void apmp_nvram_store_close(struct apmp_nvram_store *store, bool keep)
{
	if (!store->disk)
		return;
	apmp_nvram_disk_fini(store->disk);
	if (keep)
		apmp_folder_close(&store->state);
	else
		apmp_state_close(&store->state);
	free(store->contents);
	free(store->disk);
	*store = (struct apmp_nvram_store){0};
}
