/* sim_disk.c - a disk that loses, tears and reorders what was not synced. */
#include "chaos/sim/sim_disk.h"

#include <errno.h>
#include <string.h>

#include "chaos/sim/random.h"
#include "shm/assert.h"

#define SECTOR 512u

static uint32_t index_of(const char *name)
{
	if (strcmp(name, APMP_NVRAM_NEW) == 0)
		return 2;
	apmp_assert(strcmp(name, apmp_nvram_name(0)) == 0 || strcmp(name, apmp_nvram_name(1)) == 0);
	return strcmp(name, apmp_nvram_name(1)) == 0;
}

void sim_disk_step(struct sim_disk *disk)
{
	if (++disk->steps == disk->die_at)
		longjmp(disk->death, 1);
}

/* The begin of an operation: a step.  Not 0: it is to fail. */
static int begin(struct sim_disk *disk)
{
	sim_disk_step(disk);
	return ++disk->operations == disk->fail_at ? disk->fail_error : 0;
}

static void set_name(struct sim_disk *disk, uint32_t name, int32_t file)
{
	apmp_assert(disk->change_count < SIM_DISK_CHANGES);
	disk->change[disk->change_count].name = name;
	disk->change[disk->change_count++].file = file;
	disk->name[name] = file;
}

static int64_t disk_read(struct apmp_disk *base, const char *name, uint64_t off, void *to,
			 uint64_t size)
{
	struct sim_disk *disk = (struct sim_disk *)base;
	int32_t file = disk->name[index_of(name)];
	int error = begin(disk);
	uint64_t whole;

	if (error || file < 0)
		return error ? error : -ENOENT;
	whole = disk->file[file].size;
	if (off < whole)
		memcpy(to, disk->file[file].data + off, size < whole - off ? size : whole - off);
	return (int64_t)whole;
}

/* Where a death in the midst of a write is looked at: about every edge of header and contents. */
static bool is_edge(uint64_t at, uint64_t whole)
{
	uint64_t head = sizeof(struct apmp_nvram_header);

	return at < 2 || (at <= head && at % 8 < 2) || at == head + 1 || at + 2 > whole ||
	       at % SECTOR == 0;
}

static int disk_write(struct apmp_disk *base, const char *name,
		      const struct apmp_nvram_header *head, const void *contents, uint64_t size)
{
	struct sim_disk *disk = (struct sim_disk *)base;
	uint64_t whole = sizeof(*head) + size;
	uint32_t file = disk->file_count;
	int error = begin(disk);
	uint8_t *data;

	apmp_assert(file < SIM_DISK_FILES && whole <= SIM_DISK_ROOM);
	if (error == -ENOSPC)
		whole /= 2; /* as much as there was room for */
	else if (error)
		return error;
	data = disk->file[file].data;
	memcpy(data, head, sizeof(*head));
	memcpy(data + sizeof(*head), contents, size);
	disk->file[file].synced = false;
	disk->file_count++;
	set_name(disk, index_of(name), (int32_t)file);
	for (uint64_t at = 0; at <= whole; at++) {
		disk->file[file].size = at;
		if (is_edge(at, whole))
			sim_disk_step(disk);
	}
	return error;
}

static int disk_sync(struct apmp_disk *base, const char *name)
{
	struct sim_disk *disk = (struct sim_disk *)base;
	int32_t file = disk->name[index_of(name)];
	int error = begin(disk);

	if (error || file < 0)
		return error ? error : -ENOENT;
	disk->file[file].synced = true;
	return 0;
}

static int disk_rename(struct apmp_disk *base, const char *from, const char *to)
{
	struct sim_disk *disk = (struct sim_disk *)base;
	int32_t file = disk->name[index_of(from)];
	int error = begin(disk);

	if (error || file < 0)
		return error ? error : -ENOENT;
	/* Two changes: a host that goes down may leave both names, or none. */
	set_name(disk, index_of(to), file);
	set_name(disk, index_of(from), -1);
	return 0;
}

static int disk_sync_folder(struct apmp_disk *base)
{
	struct sim_disk *disk = (struct sim_disk *)base;
	int error = begin(disk);

	if (error)
		return error;
	memcpy(disk->durable, disk->name, sizeof(disk->durable));
	disk->change_count = 0;
	return 0;
}

void sim_disk_init(struct sim_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->disk = (struct apmp_disk){.read = disk_read,
					.write = disk_write,
					.sync = disk_sync,
					.rename = disk_rename,
					.sync_folder = disk_sync_folder};
	for (uint32_t name = 0; name < SIM_DISK_NAMES; name++)
		disk->name[name] = disk->durable[name] = -1;
}

/* Sector by sector: what was written, zeros, or what lay there before. */
static void tear(uint8_t *data, uint64_t size, struct sim_random *random)
{
	for (uint64_t off = 0; off < size; off += SECTOR) {
		uint64_t length = size - off < SECTOR ? size - off : SECTOR;

		switch (sim_random_below(random, 3)) {
		case 0:
			memset(data + off, 0, length);
			break;
		case 1:
			for (uint64_t i = 0; i < length; i++)
				data[off + i] = (uint8_t)sim_random_below(random, 256);
			break;
		default:
			break;
		}
	}
}

/* What is found of a file that was not synced. */
static void meet_fate(struct sim_disk *disk, uint32_t file, uint32_t fate,
		      struct sim_random *random)
{
	uint64_t head = sizeof(struct apmp_nvram_header), size = disk->file[file].size;
	const uint64_t cut[SIM_DISK_FATES] = {
	    0,	  head / 2, head, size - size / 3,
	    size, size,	    size, sim_random_below(random, size + 1)};

	if (fate == 4) /* all of its length, nothing of it */
		memset(disk->file[file].data, 0, size);
	if (fate == 5 || fate == 7)
		tear(disk->file[file].data, size, random);
	if (cut[fate] < size)
		disk->file[file].size = cut[fate];
	disk->file[file].synced = true;
}

void sim_disk_crash(struct sim_disk *disk, uint64_t kept, uint32_t fate, uint64_t seed)
{
	struct sim_random random = {sim_mix(seed)};

	for (uint32_t i = 0; i < disk->change_count; i++)
		if (kept >> i & 1)
			disk->durable[disk->change[i].name] = disk->change[i].file;
	memcpy(disk->name, disk->durable, sizeof(disk->name));
	disk->change_count = 0;
	for (uint32_t file = 0; file < disk->file_count; file++)
		if (!disk->file[file].synced)
			meet_fate(disk, file, fate, &random);
}

uint8_t *sim_disk_bytes(struct sim_disk *disk, const char *name, uint64_t **ret_size)
{
	int32_t file = disk->name[index_of(name)];

	if (file < 0)
		return NULL;
	*ret_size = &disk->file[file].size;
	return disk->file[file].data;
}
