/*
 * console.h - the console of every partition: what its files share.
 *
 * One thread, one libuv loop.  What must outlive this process lies in memory that the box keeps:
 * the tree, the HWRPBs, and struct apmp_console_state with journal, partition states and events.
 * Everything in this struct is derived from those and from what the box says.
 */
#ifndef APMP_CONSOLE_CONSOLE_H
#define APMP_CONSOLE_CONSOLE_H

#include <jansson.h>
#include <uv.h>

#include "shm/cpu_request.h"
#include "shm/intr.h"
#include "shm/layout_console.h"
#include "shm/layout_db.h"
#include "shm/recorder.h"
#include "shm/tree_write.h"
#include "shm/wire/varlink.h"

#include "console/box_link.h"

struct console;
struct port;
struct output;

/* Physical addresses of firmware objects: above all memory that a machine file can describe. */
#define CONSOLE_TREE_PA		(UINT64_C(1) << 47)
#define CONSOLE_LINES_PA	(CONSOLE_TREE_PA + (UINT64_C(1) << 32))
#define CONSOLE_HWRPB_PA(id)	(CONSOLE_TREE_PA + (UINT64_C(2) << 32) + ((uint64_t)(id) << 24))
#define CONSOLE_RECORDER_PA(id) (CONSOLE_TREE_PA + (UINT64_C(3) << 32) + ((uint64_t)(id) << 24))

/* Why a partition is being fenced. */
enum fence_reason {
	FENCE_NONE = 0,
	FENCE_EXITED,  /* the box saw its instance end */
	FENCE_REMOVED, /* another instance judged it dead */
	FENCE_RESET,   /* the operator wants it */
	FENCE_SPAWN,   /* it could not be started */
};

#define CONSOLE_WAITERS 64u

/* CPUs that go to their failover targets (failover.c). */
struct failover {
	bool active, told; /* told: its beginning */
	uint64_t life;	   /* identity that fails */
	uint64_t begin_ns;
	struct apmp_cpu_bits planned, waiting, came;
};

struct partition {
	struct console *console;
	uint32_t id;
	bool exists;
	int32_t handle; /* of its node */
	char name[APMP_NAME_SIZE];
	struct hwrpb *hwrpb;
	struct apmp_recorder *recorder;
	int channel; /* console's end; -1 */
	uv_poll_t *channel_poll;
	struct port *port;
	struct output *output; /* NULL: none yet */
	uint64_t pid;
	uint32_t uid;		/* of its processes, while it has a pid */
	uint64_t host_cpus[16]; /* that the box has set last; zero: not known */
	uint32_t capacity;	/* that the box was told last, if it was */
	bool capacity_told, capacity_posted, capacity_refused;
	bool urgent; /* the box was told by us, in this life, that its threads are there */
	enum fence_reason fencing;
	bool fence_pending;  /* SIGKILL was not enough yet */
	bool bugcheck_asked; /* `fence: bugcheck`: the instance must see the bit and end */
	bool boot_after_fence;
	bool runs_alone; /* its community could not be joined */
	int exit_status; /* wait status of its last instance, -1 unknown */
	/* Callbacks REMOVE_INSTANCE that wait for the fence. */
	struct {
		uint32_t partition;
		uint64_t seq, identity;
	} remove_waiter[CONSOLE_WAITERS];
	uint32_t remove_waiters;
	/* The operator's calls that wait: for membership, for the end. */
	struct varlink_call *boot_call, *halt_call, *kill_call;
	struct console_picture *picture; /* of what the fenced life leaves; NULL */
	bool dumping;			 /* the box reads its memory */
	uint64_t dumped;		 /* incarnation whose dump was asked for */
	uint64_t dump_due;		 /* one whose dump is being written, 0 none */
	/* CPUs that it asks all members for, by the operator's wish (wish.c). */
	struct {
		struct varlink_call *call; /* NULL: who asked is gone */
		bool open;
		uint32_t seq;
		struct apmp_cpu_bits had; /* when it was asked */
	} wish;
	struct failover failover;
	uint64_t removed_told; /* identity whose removal was told, so that it is told once */
};

/* What the operator has asked of a CPU (cpu_order.c). */
struct cpu_order {
	struct varlink_call *call; /* NULL: who asked is gone */
	bool active;
	struct console *console;
	struct apmp_cpu_request ask;
	bool assign;	/* of DEASSIGN: it is assigned to ask.to_id then, and the order a MIGRATE */
	bool loan_ends; /* of MIGRATE */
	int refused;	/* why the one before was; 0: it was done */
	uint64_t wait_ms; /* how long who asked waits for its end; 0: as long as it takes */
	uint64_t begin_ns;
};

/* Somebody who waits until what was changed is in NVRAM: a caller, or the power that goes off. */
#define CONSOLE_DURABLE_WAITERS (VARLINK_CONN_MAX + 1)

struct durable_waiter {
	void (*then)(void *ctx, int error);
	void *ctx;
	uint64_t level; /* of state->permanent_level */
};

struct put_aside;

/* A method whose calls wait for settle.c. */
struct console_settling {
	struct console *console;
	varlink_handler *handler;
	bool until_written;
};

#define CONSOLE_SETTLING_MAX 32u

struct console {
	struct apmp_env env; /* first: env callbacks find the console by it */
	uv_loop_t loop;
	struct box_link box;
	char machine[APMP_NAME_SIZE];
	const char *backend;
	struct console_settling settling[CONSOLE_SETTLING_MAX];
	uint32_t settling_count;
	struct put_aside *put_aside; /* calls, in the order in which they came */
	json_t *config;
	uint32_t host_cpu[APMP_MAX_CPUS]; /* under each CPU of the machine */
	struct apmp_console_state *state;
	struct apmp_update update;
	struct apmp_tree_writer tw;
	struct apmp_cpu_mover mover;	 /* cpu_count follows the machine's */
	struct apmp_box_event host_said; /* about the host CPUs that it was asked for last */
	uint64_t tree_size;
	struct apmp_recorder *recorder;
	uint32_t cpu_count; /* ids are below */
	uint64_t tick_ns, stop_ns;
	uint32_t suspect;
	bool fence_kill, notice_exit;
	bool dumps;	/* of failed partitions are kept */
	bool going_off; /* what ends now was told to */
	bool bare;	/* formed on a machine that runs: nobody boots by himself [0118] */
	struct partition partition[APMP_MAX_PARTITIONS];
	struct cpu_order order[APMP_MAX_CPUS];
	uv_timer_t order_timer[APMP_MAX_CPUS];
	struct varlink_server *server;
	json_t *nvram;	     /* what NVRAM held at power on, if it counts; NULL */
	bool nvram_outdated; /* it was there, but the machine file divides the machine anew */
	bool saving;	     /* the box writes NVRAM, as of saving_level */
	bool save_failed;    /* the last write did */
	uint64_t saving_level;
	uv_timer_t save_timer; /* data: NULL until it is first needed */
	uv_prepare_t capacity_prepare;
	uv_timer_t capacity_timer;
	uint64_t capacity_level; /* of the tree, when it was last looked at for capacities */
	struct durable_waiter durable_waiter[CONSOLE_DURABLE_WAITERS];
	uint32_t durable_waiters;
	bool announced;		      /* the box was told that power on is complete */
	uint64_t served;	      /* operators and partitions that were answered */
	struct apmp_box_event last;   /* how the one before ended; op 0: there was none */
	char why[APMP_BOX_TEXT_SIZE]; /* why the machine could not be formed, for who typed `up` */
};

/* console.c: partitions by name and handle; states. */
struct partition *console_partition(struct console *c, const char *name);
struct partition *console_partition_of(struct console *c, int32_t handle);
enum apmp_partition_state console_state(const struct partition *p);
const char *console_state_name(enum apmp_partition_state state);
/* The state of its instance for people: how a life ended, also while it is being reaped. */
const char *console_state_text(const struct partition *p);
void console_set_state(struct partition *p, enum apmp_partition_state state);
/* Whether a process runs, or is being fenced. */
bool console_running(const struct partition *p);
/* Whether it is fenced, but its processes are not reaped yet: it can't boot or be deleted. */
bool console_reaping(const struct partition *p);
/* Whether it is to join a sharing set: its community has shared memory. */
bool console_joins(const struct partition *p);
/* The partition's present life; 0 when it has none. */
uint64_t console_identity(const struct partition *p);
/* An operator or a partition was answered: the box is told of the first. */
void console_served(void *ctx);
/* Once every partition that boots at power on is a member, tells the box. */
void console_check_on(struct console *c);

/* wish.c: whether a partition's wish has its answer; after each of its reports.  It has died. */
void console_wish_look(struct partition *p);
void console_wish_died(struct partition *p);
/* A dead console's wish is nobody's any more. */
void console_wish_take_back(struct partition *p);

/* console_env.c */
void console_env_init(struct console *c);

/* form.c: makes the machine from its description, or takes over what a dead console left. */
__attribute__((warn_unused_result)) int console_form(struct console *c);

/* partitions.c: what the box keeps for each partition of the tree. */
/* Makes it.  What the box said: -ENOMEM with wanted and had, -ENFILE, ... */
__attribute__((warn_unused_result)) int console_partition_make(struct console *c, uint32_t id,
							       struct apmp_box_event *ret_event);
void console_partition_drop(struct console *c, uint32_t id);
/* The HWRPB that the box keeps can be named in the journal. */
void console_hwrpb_use(struct console *c, uint32_t id);
/* Begins to serve a partition of the tree, whose objects are there.  -ENOENT; -EBADMSG; libuv's. */
__attribute__((warn_unused_result)) int console_partition_open(struct console *c, uint32_t id);
/* It was deleted: its port's guests are shown out, its objects dropped. */
void console_partition_close(struct partition *p);
/* Opens what the tree has, drops what is left of others.  As make and open. */
__attribute__((warn_unused_result)) int console_partitions_open(struct console *c,
								struct apmp_box_event *ret_event);

/* unconfigured.c: communities and partitions of the machine file, a new reference; of a machine
 * that nobody has divided those that it begins with [0064].  -ENODEV, with a sentence in c->why;
 * -ENOMEM. */
__attribute__((warn_unused_result)) int console_division(struct console *c, json_t **ret_division);

/* objects.c: descriptors and mappings that the box keeps. */
__attribute__((warn_unused_result)) int console_object(struct console *c, uint32_t kind,
						       uint64_t id, uint64_t size, int fds[2]);
void *console_object_map(struct console *c, uint32_t kind, uint64_t id);
/* Makes it when it is not there.  -ENOMEM: *ret_event has wanted, had and the limit; -ENFILE: too
 * many; what the box said.  text has the sentence. */
__attribute__((warn_unused_result)) int console_object_need(struct console *c, uint32_t kind,
							    uint64_t id, uint64_t size,
							    struct apmp_box_event *ret_event);
void console_object_drop(struct console *c, uint32_t kind, uint64_t id);
/* Memory of one owner, a partition or a community: ids of RAM objects name it besides the address,
 * so that a new owner never gets the memory of one who had this address before. */
/* The descriptor that holds [pa, pa + size) for this owner, and where it begins; made when it isn't
 * there.  -ENOMEM, -ENFILE, or what the box said. */
__attribute__((warn_unused_result)) int console_ram(struct console *c, int32_t owner, uint64_t pa,
						    uint64_t size, int *ret_fd, uint64_t *ret_base,
						    struct apmp_box_event *ret_event);
/* Whether it is there: the same, but makes nothing.  -ENOENT. */
__attribute__((warn_unused_result)) int console_ram_find(struct console *c, int32_t owner,
							 uint64_t pa, uint64_t size, int *ret_fd,
							 uint64_t *ret_base);
/* The id of the box's object of this owner that begins at base. */
uint64_t console_ram_id(struct console *c, int32_t owner, uint64_t base);
/* Drops all memory of this owner, or (GCT_NONE) all that backs nobody's fragment any more. */
void console_ram_drop(struct console *c, int32_t owner);
void console_object_add(struct console *c, uint32_t kind, uint64_t id, uint64_t size,
			const int *fds, unsigned fd_count);

/* durable.c: what is permanent reaches NVRAM. */
/* Writes what NVRAM has not yet, unless a write is on its way. */
void console_save(struct console *c);
/* An owner was changed outside of console_configure, which counts its own: nobody waits for it. */
void console_save_again(struct console *c);
/* then is called, at once or by the loop, when everything permanent so far is in NVRAM; or with the
 * -errno for which it is not. */
void console_when_durable(struct console *c, void (*then)(void *ctx, int error), void *ctx);
/* Who waits with this ctx does so no more. */
void console_durable_forget(struct console *c, const void *ctx);
/* nvram_text.c: what NVRAM holds; to be freed.  NULL: no memory. */
char *console_nvram_text(struct console *c);

/* Whether so many more processes and threads could be started now.  -EAGAIN, -ENOMEM: *ret_event
 * has wanted (arg 0), had (arg 1), and in text of what, by which limit; -errno of the box. */
__attribute__((warn_unused_result)) int console_room(struct console *c, uint64_t threads,
						     struct apmp_box_event *ret_event);

/* lifecycle.c */
enum boot_error {
	BOOT_OK = 0,
	BOOT_RUNNING,
	BOOT_MISSING,	 /* it lacks components: it is held until it has enough [0065, 0079] */
	BOOT_NOT_ENOUGH, /* the host has too little memory, or may start too few processes */
	BOOT_HOST,
};
/* What people call the parts that the template asks for. */
const char *console_part_name(uint8_t type);
struct boot_refusal {
	enum boot_error error;
	const char *what;
	uint64_t wanted, had;
	int err;
	char text[APMP_BOX_TEXT_SIZE];
};
/* within, when it isn't NULL: called inside the update that begins the new life, before its
 * commit. */
enum boot_error console_boot(struct partition *p, void (*within)(void *ctx), void *ctx,
			     struct boot_refusal *ret_refusal);
/* operator.c: answers why it can't boot. */
void console_boot_refused(struct varlink_call *call, const struct partition *p,
			  const struct boot_refusal *r);
void console_fence(struct partition *p, enum fence_reason reason);
/* The box says of this life that its clock runs no more; that it was reaped; that no process of it
 * runs user code any more. */
void console_ending(struct partition *p, uint64_t incarnation);
void console_exited(struct partition *p, uint64_t incarnation, int status);
void console_fenced(struct partition *p, uint64_t incarnation);
void console_pending(struct partition *p, uint64_t incarnation, uint64_t processes);

/* What was to be done when its memory was copied: boots again if that was asked. */
void console_copied(struct partition *p);

/* keep_dump.c */
/* It is fenced, and nobody knows yet: what others will write is copied. */
void console_dump_picture(struct partition *p);
/* It is reaped: the box is asked for the dump, if there is to be one. */
void console_dump(struct partition *p);
/* Somebody waits for the end of that. */
void console_dump_hurry(struct partition *p);
/* What the box says of it. */
void console_dumped(struct partition *p, const struct apmp_box_event *event);

/* settle.c: serves what waited for a reaping, if nothing is being reaped any more, and for a dump
 * that is copied, or written. */
void console_settled(struct console *c);

/* callbacks.c: serves a partition's channel. */
__attribute__((warn_unused_result)) int console_channel_open(struct partition *p);
void console_channel_close(struct partition *p);
void console_joined(struct partition *p);
void console_callback_reply(struct partition *p, uint64_t seq, int error);
/* Callbacks whose changes are durable up to level are answered; error: they could not be
 * written. */
void console_callbacks_durable(struct console *c, uint64_t level, int error);

/* migrate.c */
/* What shm/cpu_move.c asks for; the state is mapped. */
void console_mover_init(struct console *c);
/* MIGRATE_CPU; how: APMP_MIGRATE_*.  As apmp_cpu_migrate. */
int console_migrate(struct partition *from, uint32_t cpu_idx, uint32_t to_id, uint32_t how,
		    void (*within)(void *ctx), void *ctx);
void console_set_cpuset(struct partition *p);
void console_host_cpus(const struct partition *p, uint64_t cpus[16]);

/* capacity.c */
/* From now on the box is told of every change. */
void console_capacity_serve(struct console *c);
/* Of the CPUs of each partition, in 1/1000 host CPU.  Whether some share a host CPU. */
bool console_capacities(const struct console *c, uint32_t ret[APMP_MAX_PARTITIONS]);
/* Into p->capacity, and told with the request that the caller makes.  0: whole host CPUs. */
uint32_t console_capacity_renew(struct partition *p);

/* database.c: a look at a community's database; NULL when it has none. */
const struct apmp_db *console_db_map(struct console *c,
				     const struct apmp_tree_community *community);
void console_db_unmap(const struct apmp_db *db);

/* What can be said of a community's set. */
struct console_set {
	uint32_t state; /* enum apmp_db_state; 0: there is none */
	bool spoilt;	/* then because its header is none */
	uint64_t incarnation;
	uint64_t members; /* partitions of the community that live, by id */
};

/* db may be NULL. */
struct console_set console_db_set(struct console *c, const struct apmp_tree_community *community,
				  const struct apmp_db *db);
bool console_db_has_member(struct partition *p);
/* The page frame of a page of the database; 0: there is none. */
uint64_t console_db_page(struct console *c, const struct apmp_tree_community *community,
			 uint64_t page);
/* All of its page frames, and that of the list of them: ascending, none twice.  How many. */
uint32_t console_db_frames(struct console *c, const struct apmp_tree_community *community,
			   uint64_t ret_pfn[APMP_DB_MAX_PAGES + 1]);
/* The name in a slot of the lock table, as it stands there, to an 8-aligned place; empty when it
 * can't be read. */
void console_db_lock_name(struct console *c, const struct apmp_tree_community *community,
			  uint32_t slot, char ret_name[APMP_NAME_SIZE]);

/* events.c.  fields: a jansson pack format and its arguments for the object's members. */
void console_event(struct console *c, const char *kind, struct partition *p, const char *format,
		   ...);
void console_events_serve(struct console *c, struct varlink_call *call, const json_t *parameters);

/* show_health.c: timing, fence, notice_exit, memory by owner and health. */
void console_add_health(struct console *c, json_t *status);

/* show_tree.c: what people call a node: "beta", "3", "0.0.1"; and in a sentence: partition "beta",
 * CPU 3, bus 0.0.1.  Empty when there is no such node. */
void console_name(struct console *c, int32_t handle, char *ret_name, size_t size);
void console_node_name(struct console *c, int32_t handle, char *ret_name, size_t size);

/* operator.c, show.c, run.c, port.c: Varlink methods. */
__attribute__((warn_unused_result)) int console_serve(struct console *c, int listen_fd);
json_t *console_status(struct console *c);
json_t *console_tree(struct console *c);
void console_trace(struct console *c, struct varlink_call *call, const json_t *who);
void console_run(struct console *c, struct varlink_call *call, const json_t *parameters);
void console_program_ended(struct console *c, uint64_t number, int status);
void console_power_off(struct console *c);

/* box_fault.c: the box's own flight recorder; its end, which is a power failure. */
struct apmp_recorder *console_box_recorder(struct console *c);
void console_kill_box(struct console *c, struct varlink_call *call);

__attribute__((warn_unused_result)) int port_open(struct partition *p, int master);
void port_close(struct partition *p);
/* A pseudo-terminal becomes a serial line. */
void port_line(int master);
/* Bytes for everyone attached, as if the instance had printed them. */
void port_show(struct partition *p, const char *data, size_t size);
__attribute__((format(printf, 2, 3))) void port_print(struct partition *p, const char *format, ...);
void port_attach(struct partition *p, struct varlink_call *call);

/* output.c */
/* Shows what the box's OUTPUT of the partition has to say, if there is one.  -ENOMEM; libuv's. */
__attribute__((warn_unused_result)) int output_open(struct partition *p);
void output_close(struct partition *p);
/* An end for one program, to be closed; makes the line if need be, and as it was at first.  As
 * output_open() and console_object_need(); -errno of the terminal. */
__attribute__((warn_unused_result)) int output_need(struct partition *p, int *ret_fd,
						    struct apmp_box_event *ret_event);

#endif
