/* The box from within: what its files share.  Nobody but apmpd/box*.c includes this. */
#ifndef APMPD_BOX_INTERNAL_H
#define APMPD_BOX_INTERNAL_H

#include "apmpd/rundir.h"
#include "shm/wire/box.h"

#include "apmpd/app_socket.h"
#include "apmpd/box_log.h"
#include "apmpd/console_link.h"
#include "apmpd/cpuset.h"
#include "apmpd/enough.h"
#include "apmpd/host.h"
#include "apmpd/leftover.h"
#include "apmpd/machine_file.h"
#include "apmpd/box_objects.h"
#include "apmpd/nvram_store.h"
#include "apmpd/own_recorder.h"
#include "apmpd/partition_uid.h"
#include "apmpd/spawn.h"
#include "apmpd/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <uthash.h>
#include <uv.h>

#define APMP__BOX_MAGIC 0x61426f78u

/* A request that is answered later: its number, and in which life of the console it was asked.
 * life 0: nobody asked. */
struct apmp_asked {
	uint32_t seq;
	uint32_t life;
};

/* box_word.c: what the box says to who typed `up`. */

enum apmp_word_kind {
	APMP_WORD_LOG = 1, /* comes with the descriptor of the box's log */
	APMP_WORD_ON,	   /* power on is complete: a sentence */
	APMP_WORD_FAILED,  /* it is not: a sentence, with what was said last */
};

struct apmp_word {
	uint32_t kind;
	char text[APMP_LOG_TAIL_SIZE + 1024];
};

/* A process that the box started and has not reaped yet. */
enum apmp_child_role {
	APMP_CHILD_CONSOLE = 1,
	APMP_CHILD_INSTANCE,
	APMP_CHILD_PROGRAM,
};

struct apmp_child {
	struct apmp_box *box;
	pid_t pid;
	enum apmp_child_role role;
	uint32_t partition; /* id; of an instance or program */
	uint64_t number;    /* incarnation of an instance, the console's number of a program */
	uid_t uid;
	char name[64]; /* for people */

	/* Until it is known whether exec worked. */
	uv_poll_t *status_poll; /* NULL: it is known */
	int status_fd;
	struct apmp_asked asked;
	int error;		   /* why it could not be started, */
	enum apmp_spawn_step step; /* and at what */

	UT_hash_handle hh; /* by pid */
};

#define APMP__KILL_ASKED 8u

/* The end of all processes of a partition, on its way. */
struct apmp_kill {
	bool active;
	bool lethal;	       /* else it only waits */
	bool told;	       /* PENDING was said to this console */
	bool fenced;	       /* and so was FENCED */
	unsigned fired;	       /* beacons that went out, or were said to, meanwhile */
	bool takes_turns;      /* gives way to others no more */
	unsigned straggler_ms; /* what nothing tells of is looked at again after this, */
	unsigned wait_ms;      /* and this at the latest */
	uint64_t since_ms;     /* of the kill, then of the fence */
	unsigned asked_count;
	struct apmp_asked asked[APMP__KILL_ASKED];
};

struct apmp_exit {
	uint64_t number; /* as in struct apmp_child */
	int status;
};

struct apmp_partition {
	char name[APMP_NAME_SIZE]; /* "": it has no groups */
	pid_t pid;		   /* of its instance; 0: none */
	uint64_t incarnation;
	char app_variable[APMP_APP_VARIABLE_SIZE]; /* how its programs find the instance */
	struct apmp_kill kill;
	bool ending;		  /* its clock runs no more */
	bool has_load;		  /* there are programs: box_load.c looks at them */
	uint32_t load, load_told; /* in 1/1024, and in whole threads */
	bool has_exited;	  /* an instance did, */
	struct apmp_exit last;	  /* the last one like this */
};

/* Contents that are to be written, and who asked for that. */
#define APMP__NVRAM_ASKED 64u

struct apmp_nvram_job {
	void *contents; /* NULL: no job */
	uint64_t size;
	unsigned asked_count;
	struct apmp_asked asked[APMP__NVRAM_ASKED];
};

struct apmp_nvram {
	struct apmp_nvram_store store;
	uint64_t read; /* the generation that was */
	uv_work_t work;
	bool busy;
	struct apmp_nvram_job now, next;
	int error; /* of the last write */
};

/* Death beacons, and who sleeps on them: box_beacon.c. */
struct apmp_beacon_place {
	struct apmp_recorder *rec; /* W: loop; NULL: not mapped */
	pid_t pid;		   /* W: loop; of the instance */
	uint32_t idx, seen;	   /* W: loop; which one, and what stood there */
	bool armed, fired;	   /* W: both; lock */
};

struct apmp_beacons {
	bool running;
	pthread_t thread;
	uv_async_t wake_loop;
	_Atomic uint32_t changed; /* W: loop, +1: the thread looks at the places anew */
	_Atomic uint32_t stop;	  /* W: loop, once */
	pthread_mutex_t lock;
	struct apmp_beacon_place place[APMP_MAX_PARTITIONS];
};

/* Dumps of failed partitions: box_dump.c. */
#define APMP__DUMP_ASKED 8u

struct apmp_dump_job;

struct apmp_dumps {
	struct apmp_dump_job *first; /* oldest; it is being written */
	bool running;
	pthread_t thread;
	uv_async_t wake_loop;
	uint64_t last[APMP_MAX_PARTITIONS]; /* incarnation that was dumped, or could not be */
};

enum apmp_power {
	APMP_POWER_ON = 1,
	APMP_POWER_ENDING_PARTITIONS,
	APMP_POWER_ENDING_CONSOLE,
	APMP_POWER_OFF,
};

struct apmp_console {
	pid_t pid;     /* 0: none lives */
	uint32_t life; /* how many were started */
	bool served;   /* this one has answered somebody besides the box */
	uint64_t started_ms;
	uint32_t deaths;  /* in a row, of consoles that had served nobody */
	uint64_t held_ms; /* how long this one was held back for that */
	int status;	  /* wait status of the one before, */
	char why[160];	  /* and the same in words */
	bool has_note;
	struct apmp_watch watch;
	uv_timer_t watch_timer;
	struct apmp_link *link;
	uv_timer_t restart;
	int words[2]; /* a pipe: what it says on standard output and error */
	uv_poll_t words_poll;
	struct apmp_log log;
};

/* Exits of programs that are told again to a new console: the old one may not have read them. */
#define APMP__PROGRAM_EXITS 64u

struct apmp_box {
	uint32_t magic;
	const struct machine *machine;
	bool foreground;
	bool bare;    /* no console until somebody wants to join */
	int word_fd;  /* -1: the word was said, or it is said on the terminal */
	bool said_on; /* the word was said, whatever it was */
	bool was_on;

	struct apmp_folder rundir;
	struct apmp_log log;
	char mark[sizeof(APMP_MARK_VARIABLE) + APMP_MARK_SIZE]; /* "APMP_BOX=..." */
	char machine_variable[32 + APMP_NAME_SIZE];
	int guard_fd;
	pid_t guard_pid;
	struct rlimit nofile; /* as it was when the box was started */

	struct apmp_host *host;
	struct apmp_cpuset *cpuset;
	struct apmp_partition_uids uids;
	char no_uids[128]; /* why there are none */
	int listen_fd;
	int null_fd;

	uv_loop_t loop;
	uv_signal_t child_signal, term_signal, int_signal, hup_signal;
	uv_timer_t kill_timer, power_timer, load_timer;
	uv_poll_t first_caller; /* of a bare box */
	struct apmp_beacons beacons;

	enum apmp_power power;
	bool term_seen;
	struct apmp_asked off_asked;

	struct apmp_objects objects;
	struct apmp_nvram nvram;
	struct apmp_dumps dumps;
	struct apmp_console console;
	struct apmp_child *children;
	struct apmp_partition partitions[APMP_MAX_PARTITIONS];
	struct apmp_exit exits[APMP__PROGRAM_EXITS];
	uint64_t exit_count;
};

/* box_word.c */

/* Says the first word to who typed `up`; later ones are only logged. */
__attribute__((format(printf, 3, 4))) void
apmp__box_word(struct apmp_box *box, enum apmp_word_kind kind, const char *format, ...);
/* For the side that typed `up`: waits for the word, prints it.  Returns the exit code. */
int apmp__box_word_wait(int word_fd, pid_t box_pid);

/* box_children.c */

struct apmp_child_order {
	struct apmp_spawn spawn;
	enum apmp_child_role role;
	uint32_t partition;
	uint64_t number;
	const char *name;
	struct apmp_asked asked; /* who hears whether it could be started */
};

/* Starts a process; that of a partition in its group.  asked is answered later.
 * ret_text (256 bytes) is a sentence for every error: of apmp_spawn_start() and
 * apmp_cpuset_enter(), -ENOBUFS: no memory. */
__attribute__((warn_unused_result)) int apmp__child_start(struct apmp_box *box,
							  const struct apmp_child_order *order,
							  char *ret_text, pid_t *ret_pid);
struct apmp_child *apmp__child_of_partition(const struct apmp_box *box, uint32_t partition);
/* SIGKILL to each child of the partition, wherever it has moved itself. */
void apmp__children_kill(const struct apmp_box *box, uint32_t partition);
/* Reaps all that have ended, also orphans. */
void apmp__children_reap(struct apmp_box *box);

/* box_partition.c: requests about partitions.  Each returns what goes into DONE, or
 * APMP__BOX_LATER. */

#define APMP__BOX_LATER 1

struct apmp_call {
	const struct apmp_box_request *request;
	const int *fds;
	unsigned fd_count;
	struct apmp_asked asked;
	struct apmp_box_event answer; /* arg and text are the request's to fill */
	int answer_fds[APMP_OBJECT_FDS];
	unsigned answer_fd_count;
};

/* A negative errno with its sentence. */
__attribute__((format(printf, 3, 4))) int apmp__call_fail(struct apmp_call *call, int error,
							  const char *format, ...);

/* Of its instance and of confined programs: its own, or the user of the box. */
uid_t apmp__partition_uid(const struct apmp_box *box, uint32_t id);
/* Too little of something: arg0 wanted, arg1 had, text what and by which limit. */
int apmp__call_short(struct apmp_call *call, int error, const struct apmp_short *shortage);

int apmp__box_spawn(struct apmp_box *box, struct apmp_call *call);
int apmp__box_signal(struct apmp_box *box, struct apmp_call *call);
int apmp__box_urgent(struct apmp_box *box, struct apmp_call *call);
int apmp__box_cpuset(struct apmp_box *box, struct apmp_call *call);
int apmp__box_remove(struct apmp_box *box, struct apmp_call *call);
int apmp__box_run_program(struct apmp_box *box, struct apmp_call *call);
int apmp__box_run_kill(struct apmp_box *box, struct apmp_call *call);
void apmp__instance_ended(struct apmp_box *box, const struct apmp_child *child, int status);
void apmp__program_ended(struct apmp_box *box, const struct apmp_child *child, int status);

/* box_kill.c */

int apmp__box_kill(struct apmp_box *box, struct apmp_call *call);
/* For power off: nobody is answered. */
void apmp__kill_partition(struct apmp_box *box, uint32_t id);
/* Looks at every kill that is on its way; after each reaping, when a beacon went out, and from a
 * timer. */
void apmp__kills_look(struct apmp_box *box);
/* A new console: those who waited are gone, and what is pending is news to it. */
void apmp__kills_forget_asked(struct apmp_box *box);

/* box_console.c */

/* -errno with a sentence in ret_text (256 bytes): it can't be started at all. */
__attribute__((warn_unused_result)) int apmp__console_start(struct apmp_box *box, char *ret_text);
/* The first one of a bare box; one that can't be started is tried again like one that ended. */
void apmp__console_start_first(struct apmp_box *box);
void apmp__console_ended(struct apmp_box *box, const struct apmp_child *child, int status);
/* What it said until now goes into its log. */
void apmp__console_drain_words(struct apmp_box *box);
/* An event to the console that lives; to none if none does. */
void apmp__console_tell(struct apmp_box *box, const struct apmp_box_event *event);
void apmp__console_tell_exit(struct apmp_box *box, uint32_t partition,
			     const struct apmp_exit *exit);
void apmp__console_tell_ending(struct apmp_box *box, uint32_t partition);
void apmp__console_tell_program_exit(struct apmp_box *box, const struct apmp_exit *exit);
/* What is the matter with the console, in a sentence: into the log, and into a file of the run
 * directory for who waits for an answer.  Gone when it answers. */
__attribute__((format(printf, 2, 3))) void apmp__console_note(struct apmp_box *box,
							      const char *format, ...);
void apmp__console_note_remove(struct apmp_box *box);
/* The answer to a request, if the console that asked it still lives. */
void apmp__box_done(struct apmp_box *box, struct apmp_asked asked,
		    const struct apmp_box_event *answer, const int *fds, unsigned fd_count);

/* box_bare.c */

/* In the run directory of a bare box. */
#define APMP__BARE_FILE "bare"

/* Waits for the first connection, which starts the console.  -errno, with its sentence said. */
__attribute__((warn_unused_result)) int apmp__box_bare(struct apmp_box *box);

/* box_watch.c */

/* A console was started; it has ended. */
void apmp__watch_begin(struct apmp_box *box);
void apmp__watch_end(struct apmp_box *box);
/* A request came. */
void apmp__watch_heard(struct apmp_box *box);
int apmp__box_pong(struct apmp_box *box, struct apmp_call *call);

/* box_request.c */

void apmp__box_request(void *owner, const struct apmp_box_request *request, const int *fds,
		       unsigned fd_count);

/* box_nvram.c */

/* Keeps what was read as an object, and gets ready to write.  -errno; why is said where that tells
 * more. */
__attribute__((warn_unused_result)) int apmp__nvram_start(struct apmp_box *box);
/* What OBJECT says of it. */
void apmp__nvram_describe(const struct apmp_nvram *nvram, struct apmp_box_event *event);
int apmp__box_nvram(struct apmp_box *box, struct apmp_call *call);
/* Whether something is being written, or waits for that. */
bool apmp__nvram_busy(const struct apmp_nvram *nvram);

/* box_dump.c */

/* Before the first partition; removes what a box that died had begun to write.  libuv's error. */
__attribute__((warn_unused_result)) int apmp__dumps_start(struct apmp_box *box);
int apmp__box_dump(struct apmp_box *box, struct apmp_call *call);
/* Whether one is being written, or waits for that. */
bool apmp__dumps_busy(const struct apmp_box *box);
/* An object is to be dropped: whether a dump has taken it out of the table, to drop it when it is
 * copied. */
bool apmp__dump_takes(struct apmp_box *box, uint32_t kind, uint64_t id);

/* box_beacon.c: death beacons of the instances, which a thread of its own sleeps on. */

/* After the loop, before the first partition.  Without futex_waitv() nothing is watched. */
void apmp__beacons_start(struct apmp_box *box);
void apmp__beacons_stop(struct apmp_box *box);
/* An instance is about to be started: its beacons are dark. */
void apmp__beacons_begin(struct apmp_box *box, uint32_t id);
/* It was started: its clock's beacon is watched. */
void apmp__beacons_watch(struct apmp_box *box, uint32_t id);
/* It is about to be reaped. */
void apmp__beacons_end(struct apmp_box *box, uint32_t id);
/* The partition is removed: its recorder is not mapped any more. */
void apmp__beacons_forget(struct apmp_box *box, uint32_t id);
/* While it is being killed: apmp__kills_look() is called when the next of its beacons goes out.
 * False: it has none that would. */
__attribute__((warn_unused_result)) bool apmp__beacons_await(struct apmp_box *box, uint32_t id);

/* box_load.c */

/* It has a program from now on. */
void apmp__load_watch(struct apmp_box *box, uint32_t id);
/* Tells the console what it was told last: it may be another one. */
void apmp__load_tell(struct apmp_box *box, uint32_t id);

/* box_fenced.c */

/* Whether no process of the partition runs user code any more, by the kernel's own word. */
__attribute__((warn_unused_result)) bool apmp__partition_fenced(struct apmp_box *box, uint32_t id);

/* box_power.c */

/* Begins power off.  why is for the log, and for who typed `up` if he waits still. */
void apmp__power_off(struct apmp_box *box, const char *why);
/* Takes power off further, when something has ended. */
void apmp__power_step(struct apmp_box *box);
void apmp__power_signal(struct apmp_box *box, int number);

/* box.c */

/* The exit status of a process for people: "exit code 3", "signal 9 (Killed)". */
const char *apmp__exit_text(int status, char ret_text[64]);
void apmp__guard_ended(struct apmp_box *box);
/* Makes a new one where there is none. */
void apmp__guard_renew(struct apmp_box *box);

#endif
