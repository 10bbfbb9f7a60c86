/*
 * reform.pml - a sharing set that is re-formed on another range because its database has gone bad,
 * while a named lock is held, as shm/member_reform.c and shm/service_lock.c do it.
 *
 * WHAT      N instances, two ranges.  Two words of the tree decide where the set lives: which range,
 *           and which set by its ID.  Who finds his range spoilt moves both; each member sees it
 *           at a tick and comes over, taking along what it holds; no lock is granted before all
 *           who are expected have come.  Statements and steps as in member.pml.
 * LIVES     A partition that boots again has no ID field and holds nothing.
 * AT LAST   SPOILS ranges are spoilt and FAULTS instances die, at any step, then every run ends.
 * PARAMETERS  N, SPOILS, FAULTS, ROUNDS (acquisitions of the lock), REBOOT, WRONG (README.md).
 * NOT HERE  Watching and the fence (member.pml: the tree just says at some time who is dead), how
 *           pages are found to be bad, both ranges bad at once, recovery of the ring.
 */
#ifndef WRONG
#define WRONG 0
#endif

#define MANY 100 /* IDs; each fault and each spoilt range costs a few */
#define NONE	0
#define LIVE(q) (1 + (q))
#define DEAD	(1 + N)
#define ME	LIVE(p)
#define BIT(q)	(1 << (q))
#define IN(m, q) (((m) >> (q)) & 1)

/* The tree. */
bit info;	/* APMPDB_INFO: which range */
byte last_id;	/* apmpdb_id */
byte id[N];	/* ID field of a partition: the set it is or was a member of; 0 none */
bit up[N], fenced[N];
chan ends[N] = [0] of { bit };

/* Ranges. */
bit spoilt[2];
byte lock[2];	     /* database lock */
bit operational[2];
byte incarnation[2]; /* of the set in the header */
byte members[2], expected[2];
byte word[2]; /* of the named lock */
bit broken[2];

/* Private. */
bit at[N];    /* the range that is mapped */
byte set[N];  /* the set we are a member of; 0 none */
bit holds[N]; /* the named lock, by what we know ourselves */

byte faults = FAULTS, spoils = SPOILS, rounds = ROUNDS;

#define MUST(name, cond) assert(name || (cond))
hidden byte one_holder, it_ends, all_are_in_one_set_at_last, locks_are_granted_at_last;

#if N == 3
#define EACH(f) f(0) f(1) f(2)
#define ALL(f)	(f(0) && f(1) && f(2))
#define ANY(f)	(f(0) || f(1) || f(2))
#define MASK(f) (f(0) | f(1) << 1 | f(2) << 2)
#elif N == 2
#define EACH(f) f(0) f(1)
#define ALL(f)	(f(0) && f(1))
#define ANY(f)	(f(0) || f(1))
#define MASK(f) (f(0) | f(1) << 1)
#endif

#define R		at[p]
#define ALIVE(i)	((i) && (i) != DEAD && !fenced[(i) - 1])
#define MOVED		(info != R || (set[p] && set[p] != last_id)) /* apmp__db_moved */
#define IDENTIFIED(q)	(!fenced[q] && id[q] && (q) != p)
#define IS_IN_LAST(q)	(IDENTIFIED(q) && id[q] == last_id)
#define LIVES_IN(q)	(IN(members[R], q) && !fenced[q])
#define IS_LOST(q)	(IN(members[R], q) && fenced[q])
#define IS_UNEXPECTED(q) (IN(expected[R], q) && (fenced[q] || !id[q] || IN(members[R], q)))
#define HOLDS(q)	(up[q] && holds[q])
#define IS_LAST		(incarnation[R] == last_id)
#define FUNCTIONS	(!spoilt[R] && operational[R] && IS_LAST && ANY(LIVES_IN))
#if WRONG == 4
#define NEEDS_RECOVERY	ANY(IS_LOST)
#else
#define NEEDS_RECOVERY	(ANY(IS_LOST) || ANY(IS_UNEXPECTED))
#endif

/* apmp__db_give_up: by compare-and-set in the console.  Who is slower finds it done. */
#define GIVE_UP                                                                                    \
	if                                                                                         \
	:: info == R -> info = 1 - R; last_id++; MUST(it_ends, last_id < MANY)                     \
	:: else -> skip                                                                            \
	fi

/* apmp__db_lock; -EREMCHG when the set is elsewhere. */
inline acquire()
{
	if
	:: atomic { !ALIVE(lock[R]) && lock[R] != ME -> lock[R] = ME }
	:: atomic { MOVED -> goto elsewhere }
	fi
}

inline release()
{
	atomic { lock[R] == ME -> lock[R] = NONE }
}

#define BREAK_LOST                                                                                 \
	if                                                                                         \
	:: word[R] && !ALIVE(word[R]) -> word[R] = NONE; broken[R] = 1                             \
	:: else -> skip                                                                            \
	fi
#define LET_GO(q)                                                                                  \
	if                                                                                         \
	:: fenced[q] -> members[R] = members[R] & ~BIT(q)                                          \
	:: else -> skip                                                                            \
	fi;

/* apmp__db_recover with the service of locks.  Who comes over himself is expected until he has. */
#if WRONG == 7
#define OWN 0
#else
#define OWN BIT(p)
#endif

inline recover()
{
	atomic { BREAK_LOST };
	atomic { EACH(LET_GO)
		if
		:: WRONG != 4 -> expected[R] = expected[R] & (MASK(IDENTIFIED) | OWN) & ~members[R]
		:: else -> skip
		fi }
}

/* The lock service's join: what our earlier life held is broken, what we hold is entered if nobody
 * else holds it. */
inline claim()
{
	atomic { BREAK_LOST;
	if
	:: holds[p] && word[R] == NONE && WRONG != 5 -> word[R] = ME
	:: else -> skip
	fi }
}

inline create()
{
	/* SET_ID: from here on no member takes what stands in this range for its set.  The console
	 * gives no ID to who would create in a range that was given up meanwhile. */
	if
	:: atomic { info == R || WRONG == 6 -> last_id++; id[p] = last_id; mine = last_id;
		MUST(it_ends, last_id < MANY) }
	:: atomic { !(info == R || WRONG == 6) }; release(); goto elsewhere
	fi;
	operational[R] = 0;
	/* "Initializing": nobody reads what stands below it. */
	atomic { expected[R] = MASK(IDENTIFIED); word[R] = NONE; broken[R] = 0; members[R] = BIT(p);
		incarnation[R] = mine; spoilt[R] = 0 };
	claim();
	atomic { operational[R] = 1; set[p] = mine; mine = 0 }
}

#if WRONG == 3
#define MAY_STAY true
#else
#define MAY_STAY (info == R && incarnation[R] == last_id)
#endif

inline join()
{
	claim();
	id[p] = incarnation[R];
	/* A set that was re-formed meanwhile may have been made before we had an ID, and then does
	 * not wait for us: nothing may be granted to us here. */
	if
	:: atomic { MAY_STAY }
	:: atomic { !MAY_STAY }; release(); goto elsewhere
	fi;
	atomic { members[R] = members[R] | BIT(p); expected[R] = expected[R] & ~BIT(p);
		set[p] = incarnation[R] }
}

proctype instance(byte p)
{
	byte mine;

end_off:
	{
		up[p];
elsewhere:	atomic { R = info; set[p] = 0; mine = 0 }; /* apmp__db_come_over */
		acquire();
		if
		:: FUNCTIONS && !NEEDS_RECOVERY -> join()
		:: FUNCTIONS && NEEDS_RECOVERY -> recover(); join()
		:: !FUNCTIONS && !ANY(IS_IN_LAST) -> create()
		/* members elsewhere, or none that we can see here: spoilt */
		:: atomic { !FUNCTIONS && ANY(IS_IN_LAST) -> GIVE_UP }; release(); goto elsewhere
		fi;
		release();
end_idle:	do
		:: atomic { MOVED -> goto elsewhere }
		:: atomic { spoilt[R] && !MOVED -> GIVE_UP; goto elsewhere } /* apmp__db_reform */
		:: atomic { lock[R] && lock[R] != ME && !ALIVE(lock[R]) }; acquire(); recover(); release()
		:: atomic { !lock[R] && !spoilt[R] && NEEDS_RECOVERY }; acquire(); recover(); release()
		/* A program: granted only when all have come, and not by a set that is over, whose
		 * range may be in use again. */
		:: atomic { rounds && word[R] == NONE && (!MOVED || WRONG == 2 || WRONG == 3) && (!(expected[R] & ~BIT(p)) || WRONG == 1) &&
			!holds[p] -> rounds--; word[R] = ME;
			MUST(one_holder, !ANY(HOLDS)); holds[p] = 1 }
		:: atomic { holds[p] -> holds[p] = 0;
			if
			:: word[R] == ME -> word[R] = NONE
			:: else -> skip
			fi }
		od
	} unless { atomic { ends[p]?_ -> mine = 0 } };
	goto end_off
}

#define RENAME(x, q) if :: x == LIVE(q) -> x = DEAD :: else -> skip fi
#define WORLD(q)                                                                                   \
	:: atomic { faults && up[q] -> faults--; up[q] = 0; holds[q] = 0; set[q] = 0; ends[q]!1 }  \
	:: d_step { !up[q] && !fenced[q] -> fenced[q] = 1 }                                        \
	:: d_step { REBOOT && fenced[q] -> RENAME(lock[0], q); RENAME(lock[1], q); RENAME(word[0], q);       \
		RENAME(word[1], q); id[q] = 0; at[q] = 0; fenced[q] = 0; up[q] = 1 }

#define IS_IN(q)      (!up[q] || (set[q] == last_id && at[q] == info && IN(members[info], q)))
#define IS_UP(q)      up[q]

proctype world()
{
end:
	do
	EACH(WORLD)
	:: d_step { spoils && operational[info] -> spoils--; spoilt[info] = 1 }
	:: atomic { timeout ->
		MUST(all_are_in_one_set_at_last, ALL(IS_IN));
		MUST(locks_are_granted_at_last, !ANY(IS_UP) || expected[info] == 0); break }
	od
}

#define POWER(q) up[q] = 1; run instance(q);
init
{
	atomic { run world(); EACH(POWER) }
}
