/*
 * nvram.c - contents that are whole after every crash: written anew beside the old, then named.
 *
 * WHAT      A write makes nvram.new, makes it durable, and renames it onto whichever of nvram.0 and
 *           nvram.1 is not the newest good one; the folder's fsync makes the name durable.  A read
 *           takes the newest file that is whole and of this machine.  Nothing is kept in memory:
 *           each write looks at both files anew, so it goes on after whatever happened to them.
 * STATES    of a file (enum apmp_nvram_state): absent -> good (rename) -> good, of a later
 *           generation.  Torn, foreign: by what is outside of this protocol; the next write
 *           replaces or drops it.  Unreadable: the same while the other one is good, else no write
 *           is made.
 * WRITERS   One at a time, and no reader meanwhile: the caller sees to that (the lock of the state
 *           directory, apmpd/state_dir.h).
 * ORDERING  The file is synced before it gets a name that is read, so a disk that loses and
 *           reorders what was not synced shows the name with whole contents or not at all; the
 *           folder is synced before the answer, and by a read: what it returns stays, also if the
 *           writer had died between the two.  The file that is replaced is never the newest good
 *           one, so one that was damaged later leaves the generation before.
 * CRASHES   nvram_write, nvram_sync: nvram.new, which nobody reads and the next write makes anew.
 *           nvram_rename: the new contents, or the old ones if the whole host went down; nobody was
 *           told yet.  nvram_folder: the new contents.
 * LIMITS    A folder whose fsync fails after the rename has its name taken back, which restores
 *           what stood before.  If that fails too, or the host goes down before it is durable, a
 *           next power on may find contents whose write was answered with an error.
 *           The checksum finds damage; it does not keep out who forges a file.
 */
#include "shm/nvram.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "shm/env.h"

#define FILES 2u
#define CHUNK 4096u

/* CRC-64/XZ, reflected: four bits at a time; s() is one bit. */
#define POLYNOMIAL UINT64_C(0xc96c5795d7870f42)
#define s(c)	   ((c) >> 1 ^ (POLYNOMIAL & (UINT64_C(0) - ((c)&1))))
#define nibble(n)  s(s(s(s(UINT64_C(n)))))

static const uint64_t crc_table[16] = {
    nibble(0), nibble(1), nibble(2),  nibble(3),  nibble(4),  nibble(5),  nibble(6),  nibble(7),
    nibble(8), nibble(9), nibble(10), nibble(11), nibble(12), nibble(13), nibble(14), nibble(15),
};

static uint64_t crc_add(uint64_t crc, const void *bytes, uint64_t size)
{
	const uint8_t *byte = bytes;

	for (uint64_t i = 0; i < size; i++) {
		crc ^= byte[i];
		crc = crc >> 4 ^ crc_table[crc & 15];
		crc = crc >> 4 ^ crc_table[crc & 15];
	}
	return crc;
}

/* Of the header alone; the contents are added, and the whole is inverted. */
static uint64_t crc_begin(const struct apmp_nvram_header *head)
{
	struct apmp_nvram_header plain = *head;

	plain.checksum = 0;
	return crc_add(UINT64_MAX, &plain, sizeof(plain));
}

const char *apmp_nvram_name(unsigned file)
{
	static const char *const names[FILES] = {"nvram.0", "nvram.1"};

	return names[file];
}

/* The contents agree with the header, read piece by piece.  -EBADMSG; -errno of the disk. */
static int check_contents(struct apmp_disk *disk, const char *name,
			  const struct apmp_nvram_header *head)
{
	uint64_t whole = sizeof(*head) + head->size, crc = crc_begin(head);
	uint8_t chunk[CHUNK];

	for (uint64_t off = sizeof(*head); off < whole; off += CHUNK) {
		uint64_t size = whole - off < CHUNK ? whole - off : CHUNK;
		int64_t now = disk->read(disk, name, off, chunk, size);

		if (now < 0)
			return (int)now;
		if ((uint64_t)now != whole)
			return -EBADMSG;
		crc = crc_add(crc, chunk, size);
	}
	return ~crc == head->checksum ? 0 : -EBADMSG;
}

/* Whether a header that has our magic can be this program's; the rest of it may be anything. */
static bool is_ours(const struct apmp_nvram_header *head)
{
	return head->magic == APMP_NVRAM_MAGIC && head->format == APMP_NVRAM_FORMAT;
}

static bool is_sound(const struct apmp_nvram_header *head, uint64_t whole)
{
	return head->size <= APMP_NVRAM_SIZE_MAX && whole == sizeof(*head) + head->size &&
	       head->generation > 0 && head->generation < UINT64_MAX &&
	       memchr(head->machine, '\0', sizeof(head->machine));
}

/* Judges one file; its header is ret_head's when it is good. */
static enum apmp_nvram_state look_at(struct apmp_disk *disk, const char *machine, unsigned file,
				     struct apmp_nvram_found *found,
				     struct apmp_nvram_header *ret_head)
{
	const char *name = apmp_nvram_name(file);
	struct apmp_nvram_header head = {0};
	int64_t whole = disk->read(disk, name, 0, &head, sizeof(head));
	int error = whole < 0 ? (int)whole : 0;

	if (error == -ENOENT)
		return APMP_NVRAM_ABSENT;
	if (!error && whole >= (int64_t)sizeof(head.magic) && head.magic != APMP_NVRAM_MAGIC)
		return APMP_NVRAM_FOREIGN;
	if (!error && whole >= (int64_t)sizeof(head) && !is_ours(&head)) {
		found->format[file] = head.format;
		return APMP_NVRAM_FOREIGN;
	}
	if (!error)
		error =
		    is_sound(&head, (uint64_t)whole) ? check_contents(disk, name, &head) : -EBADMSG;
	if (error == -EBADMSG)
		return APMP_NVRAM_TORN;
	if (error) {
		found->error[file] = error;
		return APMP_NVRAM_UNREADABLE;
	}
	if (strncmp(head.machine, machine, sizeof(head.machine)) != 0) {
		found->format[file] = head.format;
		memcpy(found->machine[file], head.machine, sizeof(head.machine));
		return APMP_NVRAM_FOREIGN;
	}
	*ret_head = head;
	return APMP_NVRAM_GOOD;
}

/* Judges both.  Returns the newest good one, FILES if there is none. */
static unsigned find_newest(struct apmp_disk *disk, const char *machine,
			    struct apmp_nvram_found *ret_found, struct apmp_nvram_header *ret_head)
{
	unsigned newest = FILES;

	*ret_found = (struct apmp_nvram_found){0};
	for (unsigned file = 0; file < FILES; file++) {
		struct apmp_nvram_header head;

		ret_found->state[file] = look_at(disk, machine, file, ret_found, &head);
		if (ret_found->state[file] != APMP_NVRAM_GOOD)
			continue;
		if (newest < FILES && head.generation <= ret_head->generation)
			continue;
		newest = file;
		*ret_head = head;
	}
	return newest;
}

/* Why there are no contents. */
static int nothing_good(const struct apmp_nvram_found *found)
{
	for (unsigned file = 0; file < FILES; file++)
		if (found->state[file] == APMP_NVRAM_UNREADABLE)
			return found->error[file];
	for (unsigned file = 0; file < FILES; file++)
		if (found->state[file] != APMP_NVRAM_ABSENT)
			return -EBADMSG;
	return -ENOENT;
}

int apmp_nvram_read(struct apmp_disk *disk, const char *machine, void *to, uint64_t size,
		    struct apmp_nvram_found *ret_found)
{
	struct apmp_nvram_header head;
	unsigned newest = find_newest(disk, machine, ret_found, &head);
	int64_t whole;
	int error;

	if (newest == FILES)
		return nothing_good(ret_found);
	if (head.size > size)
		return -ENOSPC;
	whole = disk->read(disk, apmp_nvram_name(newest), sizeof(head), to, head.size);
	if (whole < 0)
		return (int)whole;
	/* What was good a moment ago need not come out of a disk the same twice. */
	if ((uint64_t)whole != sizeof(head) + head.size ||
	    ~crc_add(crc_begin(&head), to, head.size) != head.checksum)
		return -EIO;
	error = disk->sync_folder(disk);
	if (error)
		return error;
	ret_found->generation = head.generation;
	ret_found->size = head.size;
	return 0;
}

/* The folder's fsync; where that fails, the name is taken back: what stood before stands. */
static int sync_name(struct apmp_disk *disk, const char *name)
{
	int error = disk->sync_folder(disk), undone;

	if (!error)
		return 0;
	undone = disk->rename(disk, name, APMP_NVRAM_NEW);
	(void)undone; /* LIMITS; the error that began it is the one to tell */
	return error;
}

/* Makes the file and gives it its name. */
static int replace(struct apmp_env *env, struct apmp_disk *disk, const char *name,
		   const struct apmp_nvram_header *head, const void *contents)
{
	int error = disk->write(disk, APMP_NVRAM_NEW, head, contents, head->size);

	if (error)
		return error;
	APMP_POINT_ARG(env, nvram_write, head->generation);
	error = disk->sync(disk, APMP_NVRAM_NEW);
	if (error)
		return error;
	APMP_POINT_ARG(env, nvram_sync, head->generation);
	error = disk->rename(disk, APMP_NVRAM_NEW, name);
	if (error)
		return error;
	APMP_POINT_ARG(env, nvram_rename, head->generation);
	error = sync_name(disk, name);
	if (error)
		return error;
	APMP_POINT_ARG(env, nvram_folder, head->generation);
	return 0;
}

/* Before a write where none is good: what was refused must not be believed one day because its
 * generation is later, so the file that is not replaced is dropped.  One that can't be read may be
 * what stands: it stays, and so does everything. */
static int drop_refused(struct apmp_disk *disk, const struct apmp_nvram_found *found)
{
	int error = nothing_good(found);

	if (error != -ENOENT && error != -EBADMSG)
		return error;
	if (found->state[1] == APMP_NVRAM_ABSENT)
		return 0;
	return disk->rename(disk, apmp_nvram_name(1), APMP_NVRAM_NEW);
}

int apmp_nvram_write(struct apmp_env *env, struct apmp_disk *disk, const char *machine,
		     const void *contents, uint64_t size, uint64_t *ret_generation)
{
	struct apmp_nvram_header head = {
	    .magic = APMP_NVRAM_MAGIC, .format = APMP_NVRAM_FORMAT, .size = size};
	struct apmp_nvram_header before = {0};
	struct apmp_nvram_found found;
	unsigned newest;
	int error;

	if (size > APMP_NVRAM_SIZE_MAX)
		return -E2BIG;
	if (strlen(machine) >= sizeof(head.machine))
		return -ENAMETOOLONG;
	newest = find_newest(disk, machine, &found, &before);
	head.generation = before.generation + 1;
	if (head.generation == UINT64_MAX)
		return -EOVERFLOW;
	memcpy(head.machine, machine, strlen(machine));
	head.checksum = ~crc_add(crc_begin(&head), contents, size);
	error = newest == FILES ? drop_refused(disk, &found) : 0;
	if (!error)
		error = replace(env, disk, apmp_nvram_name(newest == 0 ? 1 : 0), &head, contents);
	if (!error)
		*ret_generation = head.generation;
	return error;
}
