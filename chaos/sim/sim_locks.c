/*
 * sim_locks.c - a thread of each instance that uses named locks, and what must hold of them.
 *
 * WHAT      Two locks, one of higher rank, taken alone or within each other, with all kinds of
 *           deadlines; BROKEN data is declared good every other time.  What it does beside the
 *           library is to keep count here: who is between acquire and release, and whether what the
 *           lock protects is whole.
 * ALWAYS    At each store to a lock word: written by its holder, taken over only from the fenced or
 *           by the holder's own instance, granted only where nobody is expected any more.  Nobody
 *           is let in while somebody alive is inside.  BROKEN is told if and only if somebody was
 *           lost holding it since it was last declared good.
 * QUIET     Nobody begins, and all who wait must get theirs.  At the very end each takes each once.
 * LIMITS    One thread in each instance.  Once a stray writer has been there (sim.spoils) words may
 *           say anything: then BROKEN and who is inside are not judged any more in that run, but
 *           everybody must still get each lock in the end.
 */
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

#define PAUSE_NS (2 * SIM_MS) /* between two uses */
#define HOLD_NS	 SIM_MS

static const char *const names[SIM_NAMED_COUNT] = {"data", "index"};

/* --- what must hold --- */

static uint32_t name_of_slot(const struct apmp_db_lock *lock)
{
	uint32_t n = 0;

	while (n < SIM_NAMED_COUNT && strncmp(lock->name, names[n], sizeof(lock->name)) != 0)
		n++;
	return n;
}

/* The lock whose slot a byte of the segment is in; NULL: it is in none. */
static struct apmp_db_lock *lock_at(struct apmp_db_locks *table, uint64_t off)
{
	uint64_t first = offsetof(struct apmp_db_locks, lock);

	if (off < first || off >= sizeof(*table))
		return NULL;
	return &table->lock[(off - first) / sizeof(table->lock[0])];
}

static bool holds_table(const struct sim_instance *in, const struct apmp_db_locks *table)
{
	return apmp_lock_identity(table->table) == in->identity;
}

bool sim_locks_allowed(const struct sim_instance *in, struct apmp_db_locks *table, uint64_t off,
		       enum sim_op op)
{
	struct apmp_db_lock *lock = lock_at(table, off);

	if (!lock)
		return op == SIM_RMW && (off == offsetof(struct apmp_db_locks, table) ||
					 off == offsetof(struct apmp_db_locks, broken_changes));
	switch ((off - offsetof(struct apmp_db_locks, lock)) % sizeof(*lock)) {
	case offsetof(struct apmp_db_lock, word):
		return op == SIM_RMW || (holds_table(in, table) && !lock->openers);
	case offsetof(struct apmp_db_lock, broken_by):
	case offsetof(struct apmp_db_lock, acquired_count):
	case offsetof(struct apmp_db_lock, broken_count):
		return apmp_lock_identity(lock->word) == in->identity || holds_table(in, table);
	case offsetof(struct apmp_db_lock, openers):
	case offsetof(struct apmp_db_lock, contended_count):
		return op == SIM_RMW || (holds_table(in, table) && !lock->openers);
	default:
		return holds_table(in, table) && !lock->openers;
	}
}

/* Somebody lost the lock: what it protects may be half done. */
static void lose(struct sim_named *named)
{
	named->inside = 0;
	named->broken = SIM_BROKEN;
}

static void check_taken(struct sim_instance *in, const struct apmp_db_lock *lock, uint64_t value)
{
	if (apmp_lock_identity(value) != in->identity)
		sim_finding("%s puts %#llx into the word of lock \"%s\"", in->member->name,
			    (unsigned long long)value, lock->name);
	if (sim.current->thread == SIM_LOCKER && sim_db()->header.expected)
		sim_finding("%s is granted lock \"%s\" while members %#llx are expected",
			    in->member->name, lock->name,
			    (unsigned long long)sim_db()->header.expected);
}

void sim_locks_rmw(struct sim_instance *in, struct apmp_db_locks *table, uint64_t off, uint64_t old,
		   uint64_t value)
{
	struct apmp_db_lock *lock = lock_at(table, off);
	uint64_t holder = apmp_lock_identity(old);
	struct sim_named *named;

	old &= ~APMP_LOCK_WAITERS;
	value &= ~APMP_LOCK_WAITERS;
	if (!lock || &lock->word != (_Atomic uint64_t *)((unsigned char *)table + off) ||
	    old == value || name_of_slot(lock) == SIM_NAMED_COUNT)
		return;
	named = &sim.named[name_of_slot(lock)];
	if (old && holder != in->identity && sim_living(holder))
		sim_finding("%s takes lock \"%s\" from %#llx, who lives", in->member->name,
			    lock->name, (unsigned long long)old);
	if (value)
		check_taken(in, lock, value);
	if (old && value)
		lose(named);
	else if (old && named->inside == holder)
		named->inside = 0;
	if (value && sim.current->thread == SIM_LOCKER) {
		if (named->inside && sim_living(named->inside) && !sim.spoils)
			sim_finding("%s gets lock \"%s\", and %#llx holds it", in->member->name,
				    lock->name, (unsigned long long)named->inside);
		named->inside = in->identity;
	}
}

void sim_locks_created(bool reformed)
{
	for (uint32_t n = 0; n < SIM_NAMED_COUNT; n++) {
		struct sim_named *named = &sim.named[n];

		if (!reformed)
			*named = (struct sim_named){0};
		else if (!named->inside)
			named->broken = SIM_NOT_KNOWN;
	}
}

/* --- who uses them --- */

static void entered(struct sim_instance *in, uint32_t n, bool broken)
{
	struct sim_named *named = &sim.named[n];

	if (named->inside != in->identity)
		return; /* the instance has left between the library's last access and here */
	if (!sim.spoils && named->broken != SIM_NOT_KNOWN &&
	    broken != (named->broken == SIM_BROKEN))
		sim_finding("%s is told that lock \"%s\" is %s", in->member->name, names[n],
			    broken ? "BROKEN, but nobody was lost holding it"
				   : "good, but somebody was lost holding it");
	named->broken = broken ? SIM_BROKEN : SIM_GOOD;
}

static int acquire(struct sim_instance *in, struct apmp_locker *l, uint32_t n)
{
	const uint64_t deadlines[] = {0, sim.now_ns + sim_chance(5 * SIM_MS), APMP_NEVER};
	uint64_t deadline = sim.quiet ? APMP_NEVER : deadlines[sim_chance(3)];
	int got;

	in->acquires = true;
	sim_operation_begin(SIM_OP_ACQUIRE, in);
	got = apmp_lock_acquire(l, in->lock[n], deadline);
	sim_operation_end();
	in->acquires = false;
	if (got >= 0)
		entered(in, n, got);
	else if (got == -ESTALE)
		in->lock[n] = 0;
	else if (got != -ENOTCONN && got != -EOWNERDEAD && got != -ETIMEDOUT &&
		 (got != -EAGAIN || deadline))
		sim_finding("%s can't acquire lock \"%s\": %s", in->member->name, names[n],
			    strerror(-got));
	return got;
}

static int release(struct sim_instance *in, struct apmp_locker *l, uint32_t n)
{
	bool kept = sim.named[n].inside == in->identity;
	int err;

	sim_operation_begin(SIM_OP_RELEASE, in);
	err = apmp_lock_release(l, in->lock[n]);
	sim_operation_end();
	/* It is lost when the instance leaves, and when another claims it after a re-forming. */
	if (err && err != -EOWNERDEAD && !sim.spoils && kept && sim.named[n].inside == in->identity)
		sim_finding("%s can't release lock \"%s\": %s", in->member->name, names[n],
			    strerror(-err));
	return err;
}

/* Takes lock n and those of higher rank that chance wants.  0 or why not. */
static int use(struct sim_instance *in, struct apmp_locker *l, uint32_t n)
{
	int err = in->lock[n] ? 0 : apmp_lock_open(l, names[n], n + 1, &in->lock[n]);
	int got = err ? err : acquire(in, l, n);

	if (got < 0)
		return got;
	in->took |= 1u << n;
	sim_script_acquired(in);
	if (n + 1 < SIM_NAMED_COUNT && sim_chance(2))
		err = use(in, l, n + 1);
	if (err == -EOWNERDEAD)
		return err;
	if (sim_chance(2))
		(void)sim_wait(0, sim.now_ns + sim_chance(HOLD_NS));
	if (sim_chance(2) && apmp_lock_good(l, in->lock[n]) == 0 &&
	    sim.named[n].inside == in->identity)
		sim.named[n].broken = SIM_GOOD;
	err = release(in, l, n);
	if (!err && sim_chance(8) == 0 && apmp_lock_close(l, in->lock[n]) == 0)
		in->lock[n] = 0;
	return err;
}

static void body(void *arg)
{
	struct sim_instance *in = arg;
	struct apmp_locker *l;
	int err = apmp_locker_init(in->member, &l);

	apmp_assert(!err);
	for (;;) {
		(void)sim_wait(0, sim.now_ns + 1 + sim_chance(PAUSE_NS));
		if (sim_locks_rest(in))
			continue;
		err = 0;
		for (uint32_t n = sim.quiet ? 0 : (uint32_t)sim_chance(SIM_NAMED_COUNT);
		     n < SIM_NAMED_COUNT && err != -EOWNERDEAD; n++)
			err = use(in, l, n);
		if (err == -EOWNERDEAD) /* the primary and the clock end the process */
			sim_participant_end(sim.current);
	}
}

void sim_locks_begin(struct sim_instance *in)
{
	memset(in->lock, 0, sizeof(in->lock));
	in->acquires = false;
	in->took = 0;
	sim_participant_begin(sim_thread_of(in, SIM_LOCKER), body, in);
}
