/*
 * layout_console.h - what a restarted console must find again: journal, partitions, events.
 *
 * W: the console alone.  R: the next console (the box keeps the descriptor), and who looks from
 * outside (chaos/samples.c); the box reads nothing in it.  The comment of each structure holds for
 * all of its fields.
 */
#ifndef APMP_SHM_LAYOUT_CONSOLE_H
#define APMP_SHM_LAYOUT_CONSOLE_H

#include <assert.h>
#include <stdatomic.h>

#include "shm/layout_common.h"
#include "shm/call.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wpadded"

/* The undo journal of an update (shm/update.c). */
#define APMP_JOURNAL_ENTRIES 4096u

/* W: console.  R: next console. */
struct apmp_journal_entry {
	_Atomic uint32_t object; /* which mapping: shm/update.h */
	_Atomic uint32_t width;	 /* bytes: 4 or 8 */
	_Atomic uint64_t off;	 /* in that mapping */
	_Atomic uint64_t old;	 /* what stood there */
};

/* W: console.  R: next console. */
struct apmp_journal {
	_Atomic uint32_t open;	/* 1 while an update is under way: the commit word */
	_Atomic uint32_t count; /* entries that are whole */
	struct apmp_journal_entry entry[APMP_JOURNAL_ENTRIES];
};

/* State of a partition as the operator sees it, where no finer one is reported. */
#define APMP_PARTITION_STATES(X)                                                                   \
	X(OFF, 1, "off")                                                                           \
	X(CONSOLE, 2, "console")                                                                   \
	X(BOOTING, 3, "booting")                                                                   \
	X(RUNNING, 4, "running")                                                                   \
	X(CREATING, 5, "creating")                                                                 \
	X(JOINING, 6, "joining")                                                                   \
	X(MEMBER, 7, "member")                                                                     \
	X(LEAVING, 8, "leaving")                                                                   \
	X(CRASHED, 9, "crashed")                                                                   \
	X(FENCE_PENDING, 11, "fence-pending")                                                      \
	X(DEAD, 12, "dead")                                                                        \
	X(FENCED, 13, "fenced")

enum apmp_partition_state {
#define X(name, value, text) APMP_PARTITION_##name = value,
	APMP_PARTITION_STATES(X)
#undef X
};

/* W: console.  R: next console. */
struct apmp_console_partition {
	_Atomic uint32_t state;		   /* enum apmp_partition_state */
	_Atomic uint32_t exit;		   /* enum apmp_exit it announced, 0 none */
	_Atomic uint64_t last_seq;	   /* of the last callback that was carried out */
	struct apmp_call_reply last_reply; /* its answer, for a callback that is sent again */
	_Atomic uint64_t durable_level;	   /* nvram_level that must be reached before it is sent */
	_Atomic uint64_t suspected;	   /* times others reported its silence, since power on */
	_Atomic uint64_t unsuspected;	   /* times they took that back: it beat again */
	_Atomic uint64_t dumped;	   /* incarnation of the newest dump, 0 none */
	_Atomic uint64_t
	    ending; /* identity that the box was last told to end: no CPU comes to it */
	/* Permanent, in an update; copied into the HWRPB of each life. */
	_Atomic uint64_t failover[APMP_MAX_CPUS];	    /* as of struct hwrpb */
	_Atomic uint64_t no_autostart[APMP_MAX_CPUS / 64u]; /* CPUs that wait in console mode
							     * when they come [0233] */
};

#define APMP_EVENT_SLOTS 2048u
#define APMP_EVENT_SIZE	 512u

/* W: console.  R: next console.  seq is written last; slot is seq % APMP_EVENT_SLOTS. */
struct apmp_event_slot {
	_Atomic uint64_t seq; /* 0: nothing here */
	char json[APMP_EVENT_SIZE - sizeof(uint64_t)];
};

/* W: console.  R: next console. */
struct apmp_console_state {
	_Atomic uint64_t fingerprint; /* written last, when the tree is published too */
	_Atomic uint64_t restarts;
	_Atomic uint64_t announced; /* 1: the box was told that power on is complete */
	_Atomic uint64_t event_seq; /* of the newest event */
	/* Permanent changes so far, raised in the update that makes one; and the last of them that
	 * the box has written to NVRAM.  They differ: write it, from the tree as it is. */
	_Atomic uint64_t permanent_level;
	_Atomic uint64_t nvram_level;
	_Atomic uint64_t nvram_refused;		 /* 1: what NVRAM held at power on does not count */
	_Atomic uint64_t transit[APMP_MAX_CPUS]; /* identity that executes PAL MIGRATE on the CPU */
	_Atomic uint64_t source[APMP_MAX_CPUS];	 /* identity it comes from, until it is active */
	_Atomic uint64_t arrival[APMP_MAX_CPUS]; /* identity that is still owed a STARTREQ for it */
	struct apmp_console_partition partition[APMP_MAX_PARTITIONS];
	struct apmp_journal journal;
	struct apmp_event_slot event[APMP_EVENT_SLOTS];
};

#define APMP_CONSOLE_STATE_SIZE                                                                    \
	((sizeof(struct apmp_console_state) + APMP_PAGE_SIZE - 1) / APMP_PAGE_SIZE * APMP_PAGE_SIZE)

#pragma GCC diagnostic pop
#endif
