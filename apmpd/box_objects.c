/* The objects that the box keeps.
 *
 * WHAT     Three ways to make one: a memfd (physical memory, the tree, ...), a socket pair (a
 *          partition's channel), a pseudo-terminal (its console port, the output of its programs).
 *          See shm/wire/box.h for who gets which end.
 * CRASHES  The table lives and dies with the box.  A console that died between asking and hearing
 *          finds the object in the next list of them.
 * LIMITS   Memory is allocated while the console waits, and the box with it (about 0.3 s for each
 *          GiB).  The number of objects is bounded by RLIMIT_NOFILE.
 */
#include "apmpd/box_objects.h"

#include "apmpd/host_memory.h"
#include "shm/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

const char *apmp_object_kind_name(uint32_t kind)
{
	switch (kind) {
#define X(name, value, text)                                                                       \
	case APMP_BOX_##name:                                                                      \
		return text;
		APMP_BOX_OBJECTS(X)
#undef X
	default:
		return "object";
	}
}

/* One number for both: a kind fits into 4 bits, an id (a physical address at most) into 60. */
static uint64_t key_of(uint32_t kind, uint64_t id)
{
	return id << 4 | kind;
}

/* What an id of this kind can be. */
static bool id_valid(uint32_t kind, uint64_t id)
{
	switch (kind) {
	case APMP_BOX_RECORDER:
		return id < APMP_MAX_PARTITIONS || id == APMP_CONSOLE_RECORDER ||
		       id == APMP_BOX_SELF_RECORDER;
	case APMP_BOX_HWRPB:
	case APMP_BOX_CHANNEL:
	case APMP_BOX_PORT:
	case APMP_BOX_OUTPUT:
		return id < APMP_MAX_PARTITIONS;
	case APMP_BOX_RAM:
		return id % APMP_PAGE_SIZE == 0 && id < UINT64_C(1) << 60;
	case APMP_BOX_CONFIG:
	case APMP_BOX_TREE:
	case APMP_BOX_TREE_RO:
	case APMP_BOX_STATE:
	case APMP_BOX_LINES:
		return id == 0;
	default:
		return false;
	}
}

static int init_recorder(int fd, uint64_t size)
{
	struct apmp_recorder *recorder;

	if (size < APMP_RECORDER_SIZE)
		return -EINVAL;
	recorder = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (recorder == MAP_FAILED)
		return -errno;
	apmp_recorder_init(recorder);
	return munmap(recorder, size) < 0 ? -errno : 0;
}

/* Memory, if there is enough: the kernel's own answer to too little would be its OOM killer. */
static int make_memory(struct apmp_object *object, struct apmp_shortage *ret_shortage)
{
	int error;

	ret_shortage->wanted = object->size;
	error = apmp_host_memory_check(object->size, &ret_shortage->had, ret_shortage->limit,
				       sizeof(ret_shortage->limit));
	if (!error)
		error = apmp_host_memory_create(apmp_object_kind_name(object->kind), object->size,
						&object->fds[0]);
	if (error)
		return error;
	object->fd_count = 1;
	/* Who has a descriptor that only reads could open it again, through /proc, for writing. */
	if (object->kind == APMP_BOX_TREE && fchmod(object->fds[0], 0400) < 0)
		return -errno;
	return object->kind == APMP_BOX_RECORDER ? init_recorder(object->fds[0], object->size) : 0;
}

static int make_readonly_tree(const struct apmp_objects *objects, struct apmp_object *object)
{
	const struct apmp_object *tree = apmp_objects_find(objects, APMP_BOX_TREE, 0);
	int error;

	if (!tree)
		return -ENOENT;
	error = apmp_host_memory_reopen_readonly(tree->fds[0], &object->fds[0]);
	if (error)
		return error;
	object->size = tree->size;
	object->fd_count = 1;
	return 0;
}

static int make_channel(struct apmp_object *object)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, object->fds) < 0)
		return -errno;
	object->fd_count = 2;
	return 0;
}

/* fd0 the master, fd1 the slave; it is nobody's controlling terminal yet. */
static int make_port(struct apmp_object *object)
{
	int slave, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), error;

	if (master < 0)
		return -errno;
	if (grantpt(master) == 0 && unlockpt(master) == 0) {
		/* By the master, not by a name: the name may be another's in this mount. */
		slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (slave >= 0) {
			object->fds[0] = master;
			object->fds[1] = slave;
			object->fd_count = 2;
			return 0;
		}
	}
	error = -errno;
	close(master);
	return error;
}

static void object_destroy(struct apmp_object *object)
{
	for (unsigned i = 0; i < object->fd_count; i++)
		close(object->fds[i]);
	free(object);
}

static void add(struct apmp_objects *objects, struct apmp_object *object)
{
	HASH_ADD(hh, objects->first, key, sizeof(object->key), object);
}

int apmp_objects_keep(struct apmp_objects *objects, uint32_t kind, uint64_t id, int fd,
		      uint64_t size)
{
	struct apmp_object *object = calloc(1, sizeof(*object));

	if (!object)
		return -ENOBUFS;
	*object = (struct apmp_object){.key = key_of(kind, id),
				       .kind = kind,
				       .id = id,
				       .size = size,
				       .fds = {fd},
				       .fd_count = 1};
	add(objects, object);
	return 0;
}

int apmp_objects_make(struct apmp_objects *objects, uint32_t kind, uint64_t id, uint64_t size,
		      const struct apmp_object **ret, struct apmp_shortage *ret_shortage)
{
	struct apmp_object *object;
	int error;

	if (!id_valid(kind, id))
		return -EINVAL;
	if (apmp_objects_find(objects, kind, id))
		return -EEXIST;
	object = calloc(1, sizeof(*object));
	if (!object)
		return -ENOBUFS; /* of the box itself; -ENOMEM is about the machine's memory */
	object->kind = kind;
	object->id = id;
	object->key = key_of(kind, id);
	if (kind == APMP_BOX_CHANNEL) {
		error = make_channel(object);
	} else if (kind == APMP_BOX_PORT || kind == APMP_BOX_OUTPUT) {
		error = make_port(object);
	} else if (kind == APMP_BOX_TREE_RO) {
		error = make_readonly_tree(objects, object);
	} else {
		object->size = size;
		error = make_memory(object, ret_shortage);
	}
	if (error) {
		object_destroy(object);
		return error;
	}
	add(objects, object);
	*ret = object;
	return 0;
}

static struct apmp_object *find(const struct apmp_objects *objects, uint32_t kind, uint64_t id)
{
	uint64_t key = key_of(kind, id);
	struct apmp_object *object;

	HASH_FIND(hh, objects->first, &key, sizeof(key), object);
	return object;
}

const struct apmp_object *apmp_objects_find(const struct apmp_objects *objects, uint32_t kind,
					    uint64_t id)
{
	return find(objects, kind, id);
}

int apmp_objects_drop(struct apmp_objects *objects, uint32_t kind, uint64_t id)
{
	struct apmp_object *object = id_valid(kind, id) ? find(objects, kind, id) : NULL;
	int error = 0;

	if (!object)
		return 0;
	/* The read-only descriptor of the tree has no memory of its own. */
	if (object->size && kind != APMP_BOX_TREE_RO)
		error = apmp_host_memory_drop(object->fds[0]);
	if (error)
		return error;
	HASH_DEL(objects->first, object);
	object_destroy(object);
	return 0;
}

void apmp_objects_release(struct apmp_objects *objects, uint32_t kind, uint64_t id)
{
	struct apmp_object *object = find(objects, kind, id);

	HASH_DEL(objects->first, object);
	object_destroy(object);
}

void apmp_objects_fini(struct apmp_objects *objects)
{
	struct apmp_object *object, *next;

	HASH_ITER(hh, objects->first, object, next)
	{
		HASH_DEL(objects->first, object);
		object_destroy(object);
	}
}
