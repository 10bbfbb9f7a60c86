/*
 * apmp.h - libapmp, for programs that run in a partition (apmp run): events, named locks, CPUs.
 *
 * Errors are negative errno values; what stands on the right of each prototype is the whole list
 * but for -EPIPE, which everything may return: the instance has ended, and with it soon all its
 * programs; close what you have and end.  No function prints or ends the program.
 *
 * A struct is used by one thread at a time; several threads open one each.  With fork() both
 * processes have it, and what it holds is given back when the last of them has closed it or ended.
 * It is closed by exec unless told otherwise (apmp_app_locks_fd).
 */
#ifndef APMP_H
#define APMP_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define APMP_APP_CHECK __attribute__((warn_unused_result))

#define APMP_APP_NAME_SIZE 32 /* of a partition or lock, with the NUL */

/* One life of a partition: the same partition has a higher incarnation after each boot. */
struct apmp_app_partition {
	char name[APMP_APP_NAME_SIZE];
	uint32_t id;
	uint64_t incarnation;
};

/* An error of the _open functions, or -EPIPE, as a sentence without a newline. */
const char *apmp_app_explain(int error);

/* ---- events: who is a member of the sharing set, which CPUs work here ---- */

struct apmp_app_events;

enum apmp_app_event_kind {
	APMP_APP_MEMBER_ADDED = 1,   /* the partition has become a member */
	APMP_APP_MEMBER_REMOVED = 2, /* it has left, or was removed as it died */
	APMP_APP_STATE_TOLD = 3,     /* all that was so when the stream began was told; once */
	APMP_APP_CPU_ADDED = 4,	     /* a CPU works in this partition */
	APMP_APP_CPU_REMOVED = 5,    /* it does no more: it has gone, or was stopped */
};

#define APMP_APP_TELL_CPUS 0x1u /* also of CPUs, not of members alone */

struct apmp_app_news {
	/* Rises by one with each change.  By more: so many changes came and went while this program
	 * did not read.  Nobody is added twice or removed without having been added. */
	uint64_t seq;
	enum apmp_app_event_kind kind;
	bool state;   /* it was a member when the stream began */
	bool self;    /* the partition that this program runs in */
	bool failed;  /* MEMBER_REMOVED: it has died, and not left in order */
	uint32_t cpu; /* of CPU_ADDED and CPU_REMOVED */
	struct apmp_app_partition partition; /* of a change */
};

/* Begins a stream, with one event for each that is a member now, then STATE_TOLD.
 * -ENOENT: this program does not run in a partition; -EACCES: the partition was booted anew since
 * this program was started; -EUSERS: the instance serves as many programs as it can; -EPROTO: it is
 * of another version; -ENOMEM, -EMFILE, -ENFILE. */
APMP_APP_CHECK int apmp_app_events_open(struct apmp_app_events **ret_events);
/* The same, with APMP_APP_TELL_CPUS: the CPUs that work in this partition, each change of that. */
APMP_APP_CHECK int apmp_app_events_open_for(uint32_t what, struct apmp_app_events **ret_events);
/* NULL: nothing. */
void apmp_app_events_close(struct apmp_app_events *events);
/* The partition that this program runs in. */
const struct apmp_app_partition *apmp_app_events_self(const struct apmp_app_events *events);
/* Readable when there is an event, or -EPIPE to be had: for poll(), and for that alone. */
int apmp_app_events_fd(const struct apmp_app_events *events);
/* The next event.  timeout_ms: 0 looks, -1 waits as long as it takes.
 * 1: *ret_news is one; 0: there was none in that time.  -EINTR. */
APMP_APP_CHECK int apmp_app_events_next(struct apmp_app_events *events, int timeout_ms,
					struct apmp_app_news *ret_news);

/* ---- named locks of the sharing set ---- */

/*
 * A connection that takes locks: a thread, or a program that has one.  If it ends without having
 * let go of a lock, or its whole partition dies, the lock is BROKEN: whoever takes it next, in any
 * partition, is told, and so is everybody after him, until one says that the data is good.
 */
struct apmp_app_locks;

#define APMP_APP_BROKEN 1

#define APMP_APP_TRY	  UINT64_C(0) /* timeouts, in nanoseconds */
#define APMP_APP_FOR_EVER UINT64_MAX

/* Errors as of apmp_app_events_open. */
APMP_APP_CHECK int apmp_app_locks_open(struct apmp_app_locks **ret_locks);
/* Breaks what is held still.  NULL: nothing. */
void apmp_app_locks_close(struct apmp_app_locks *locks);
const struct apmp_app_partition *apmp_app_locks_self(const struct apmp_app_locks *locks);
/* The connection, close-on-exec.  A program that must keep the locks for its children clears that:
 * what is held is then given back when the last of them has ended. */
int apmp_app_locks_fd(const struct apmp_app_locks *locks);
/* What the last function that returned an error or BROKEN has to say of it: a sentence, without a
 * newline.  Valid until the next call. */
const char *apmp_app_locks_sentence(const struct apmp_app_locks *locks);

/* Opens the lock of this name, which is made when nobody has it open.  All who use it agree on its
 * rank, from 1: who holds a lock may take only locks of higher rank, so that no two wait for each
 * other for ever.
 * -EINVAL: no name, too long, or rank 0; -EEXIST: it is in use with another rank; -EMFILE: this
 * connection has 32 open; -ENOSPC: the sharing set has 256; -ENOTCONN: the partition is no member
 * of a sharing set. */
APMP_APP_CHECK int apmp_app_lock_open(struct apmp_app_locks *locks, const char *name, uint32_t rank,
				      uint32_t *ret_lock);
/* Closes it.  That a lock is BROKEN is remembered also when nobody has it open any more, as long as
 * its place is not needed for another.  -EBUSY: it is held; -ESTALE: it is not open. */
APMP_APP_CHECK int apmp_app_lock_close(struct apmp_app_locks *locks, uint32_t lock);

/* Takes it.  0; APMP_APP_BROKEN: it is held too, but what it protects may be half done.
 * -ETIMEDOUT; -EDEADLK: this connection holds one of the same or a higher rank; -EALREADY: it holds
 * this one; -EMFILE: it holds 8; -ESTALE: it is not open; -ENOTCONN: the partition is no member of
 * the sharing set any more. */
APMP_APP_CHECK int apmp_app_lock_acquire(struct apmp_app_locks *locks, uint32_t lock,
					 uint64_t timeout_ns);
/* Lets go of it; what was BROKEN stays so.  -EPERM: this connection does not hold it; -ESTALE: it
 * is not open, or was lost while it was held (the sharing set was made anew, and another claimed it
 * too); it is BROKEN then. */
APMP_APP_CHECK int apmp_app_lock_release(struct apmp_app_locks *locks, uint32_t lock);
/* Whoever holds it says that what it protects is good.  -EPERM, -ESTALE as of release. */
APMP_APP_CHECK int apmp_app_lock_good(struct apmp_app_locks *locks, uint32_t lock);

/* ---- CPUs: who has how much to do, and who gives whom a CPU ---- */

/*
 * A connection that sees the loads of all members and moves CPUs of this partition: a program that
 * decides by which policy CPUs migrate.  What goes is decided by the instance alone: never its
 * primary, never a CPU with a task bound to it, never one that can't run where it should go.
 */
struct apmp_app_cpus;

#define APMP_APP_PARTITIONS 64u	 /* there are at most so many members */
#define APMP_APP_WISH_MAX   255u /* CPUs that one wish is for */
#define APMP_APP_ANY_CPU    UINT32_MAX
#define APMP_APP_LOAN	    0x1u /* only lent: its owner stays the same; of one on loan always */

struct apmp_app_cpu_set {
	uint64_t word[4]; /* bit i % 64 of word i / 64: CPU i */
};

struct apmp_app_load {
	struct apmp_app_partition partition;
	bool self;			   /* the partition that this program runs in */
	uint32_t cpu_count;		   /* CPUs that work there */
	uint64_t depth;			   /* tasks, and threads of programs, that
					    * run there, or could */
	struct apmp_app_cpu_set active;	   /* which CPUs work there, */
	struct apmp_app_cpu_set potential; /* and which could [0224] */
};

/* Errors as of apmp_app_events_open. */
APMP_APP_CHECK int apmp_app_cpus_open(struct apmp_app_cpus **ret_cpus);
/* A wish that is not fulfilled is withdrawn with it.  NULL: nothing. */
void apmp_app_cpus_close(struct apmp_app_cpus *cpus);
const struct apmp_app_partition *apmp_app_cpus_self(const struct apmp_app_cpus *cpus);
/* Readable when the partition has ended: for poll(), and for that alone. */
int apmp_app_cpus_fd(const struct apmp_app_cpus *cpus);
/* What the last function that returned an error has to say of it: a sentence, without a newline.
 * Valid until the next call. */
const char *apmp_app_cpus_sentence(const struct apmp_app_cpus *cpus);

/* The load of each member, ourselves included, by partition id; as of the last tick.  How many.
 * -ENOTCONN: this partition is no member of a sharing set; -EBUSY: the instance has as many
 * requests about CPUs as it takes. */
APMP_APP_CHECK int apmp_app_cpus_load(struct apmp_app_cpus *cpus,
				      struct apmp_app_load ret_load[APMP_APP_PARTITIONS]);
/* Gives a CPU of this partition, or APMP_APP_ANY_CPU that it can give, to the partition with this
 * id.  flags: 0 or APMP_APP_LOAN.  0: it has gone; ret_cpu, unless NULL: which one.
 * -EINVAL: other flags; -ENODEV: there is none that can be given; -EBUSY: it is the primary, or as
 * above; -ETXTBSY: a task is bound to it; -EPERM: it is not this partition's; -EAGAIN: it is not at
 * work; -ENOEXEC: it can't run there; -EALREADY: that is this partition; -ENOTCONN: that is no
 * member; -EHOSTDOWN: nothing runs there; what its migration was refused with. */
APMP_APP_CHECK int apmp_app_cpus_give(struct apmp_app_cpus *cpus, uint32_t cpu, uint32_t to,
				      uint32_t flags, uint32_t *ret_cpu);
/* Asks all members for so many CPUs [0235]: each that has more than it has tasks for may give some.
 * How many came, from 1; returns when all have, or nobody can spare another one.
 * -ENODEV: nobody could spare one; -EINVAL: 0, or more than APMP_APP_WISH_MAX; -ENOTCONN, -EBUSY as
 * above. */
APMP_APP_CHECK int apmp_app_cpus_wish(struct apmp_app_cpus *cpus, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
