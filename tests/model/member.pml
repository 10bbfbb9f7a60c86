/*
 * member.pml - ring, join, leave, watch, fence and recovery of a sharing set, as shm/member_*.c,
 * shm/db_lock.c and shm/ring.c do them, for spin(1).
 *
 * WHAT      N instances and the world: box, console, clocks, faults.  One statement is one step
 *           that others can observe.  What stands in one d_step or atomic can't be observed in
 *           between, or nobody acts on it; the comment says why.
 * LIVES     Identities are only compared, with each other and with the tree, so a life is LIVE or
 *           OLD: when a partition boots again every word that names it becomes OLD.  The number
 *           of lives is not bounded; only faults and leaves are.
 * TIME      None: a silent instance may be judged dead at any moment, and may beat again at any
 *           moment unless it is silent for good.  A slow one is one that others overtake.
 * FAULTS    kill; silence (SIGSTOP, SIGCONT); death of the console; a process that can't die
 *           (STUCK); a host that slept (SLEEP).
 * AT LAST   All faults and leaves happen at some time and no step can be repeated for ever (the
 *           runner has spin search for cycles), so every run ends.  What must happen at last is
 *           asserted there.  Runs with fewer faults are those of a smaller FAULTS.
 * SYMMETRY  The first to take the lock is instance 0: whatever it is called, the other runs are
 *           this one with names turned round the ring.  For that, loops over members take them
 *           in any order, where the code takes them by id.
 * PARAMETERS  N, FAULTS, LEAVES, NOTICE (notice_exit), REBOOT (the dead boot again), STUCK, SLEEP,
 *           WRONG (README.md); TRACE: only what the points of a real run allow (trace.py).
 * NOT HERE  Weak memory (chaos/sim has it), garbage in shared memory, re-forming (reform.pml), named
 *           locks (named.pml), names of instances.
 */
#ifndef WRONG
#define WRONG 0
#endif
#ifndef STUCK
#define STUCK 0
#endif
#ifndef SLEEP
#define SLEEP 0
#endif
#ifndef GOOD
#define GOOD 0
#endif

/* Identities. */
#define NONE	0
#define LIVE(q) (1 + (q))
#define OLD(q)	(1 + N + (q))
#define PART(i) (((i) - 1) % N)
#define ME	LIVE(p)

/* The configuration tree, the console and the box. */
bit up[N];	/* has a process that runs user code */
bit fenced[N];	/* the tree says of the present life that it runs no more */
bit killing[N]; /* the console has told the box to kill it, or has seen that it ended */
bit bye[N];	/* it announced its end */
bit asked[N];	 /* waits for the answer to REMOVE_INSTANCE */
byte target[N];	 /* identity that it is fencing */
byte pending[N]; /* mask: whose fence it was told is pending */
chan ends[N] = [0] of { bit };

/* Faults. */
byte faults = FAULTS, leaves = LEAVES;
byte silent[N]; /* its heartbeat does not rise: 1 for a while, 2 for good */
bit stuck[N];	/* its process can't die */
bit blamed[N];	/* history: it was silent, which may still have consequences, or is dead */
byte late;	/* mask: whose last tick was late, for the host slept */

/* The database. */
#define INITIALIZING 1
#define JOINING	     2
#define OPERATIONAL  3
#define RECOVERING   4
#define EMPTY	     5
byte lock;
byte state;
bit made;  /* fingerprint, version and place are ours */
bit built; /* services are initialized */
byte actor;
byte members; /* mask */
byte node[N]; /* identity in the node block */
byte little[N], big[N];
byte slot[N];	 /* identity in the slot of a service */
bit bugcheck[N]; /* the reason bit is set and bugcheck_of is the present life */

/* Private to an instance. */
bit member[N];	/* joined and watching */
byte judged[N]; /* mask: dead_mask, handed from its clock to its primary */

#define BIT(q)	 (1 << (q))
#define IN(m, q) (((m) >> (q)) & 1)
#define NEXT1(q) (((q) + 1) % N)
#define NEXT2(q) (((q) + 2) % N)
#define NEXT3(q) (((q) + 3) % N)
#define PREV1(q) (((q) + N - 1) % N)
#define PREV2(q) (((q) + N - 2) % N)
#define PREV3(q) (((q) + 2 * N - 3) % N)
/* apmp_ring_little, apmp_ring_big */
#define LITTLE(m, q) (IN(m, NEXT1(q)) -> NEXT1(q) : (IN(m, NEXT2(q)) -> NEXT2(q) : \
		     (IN(m, NEXT3(q)) -> NEXT3(q) : (q))))
#define BIG(m, q)    (IN(m, PREV1(q)) -> PREV1(q) : (IN(m, PREV2(q)) -> PREV2(q) : \
		     (IN(m, PREV3(q)) -> PREV3(q) : (q))))

#if N == 3
#define ALL(f)	 (f(0) && f(1) && f(2))
#define ANY(f)	 (f(0) || f(1) || f(2))
#define EACH(f)	 f(0) f(1) f(2)
#define DEEP(f)	 f(0) f(1) f(2) /* EACH inside of EACH, which the preprocessor leaves alone */
#define PAIRS(f) f(0,1) f(0,2) f(1,0) f(1,2) f(2,0) f(2,1)
#elif N == 4
#define ALL(f)	 (f(0) && f(1) && f(2) && f(3))
#define ANY(f)	 (f(0) || f(1) || f(2) || f(3))
#define EACH(f)	 f(0) f(1) f(2) f(3)
#define DEEP(f)	 f(0) f(1) f(2) f(3)
#define PAIRS(f) f(0,1) f(0,2) f(0,3) f(1,0) f(1,2) f(1,3) f(2,0) f(2,1) f(2,3) f(3,0) f(3,1) f(3,2)
#endif

/* apmp_tree_alive: of the present life, and not fenced. */
#if WRONG == 12
#define ALIVE(i) ((i) && !fenced[PART(i)])
#else
#define ALIVE(i) ((i) && (i) <= N && !fenced[PART(i)])
#endif
#define RUNS(i) ((i) && (i) <= N && up[PART(i)])

/* Whom recovery removes. */
#if WRONG == 1
#define GONE(q) (!ALIVE(node[q]) || IN(judged[p], q))
#else
#define GONE(q) (!ALIVE(node[q]))
#endif
#define LOST(q)	       (IN(members, q) && GONE(q))
#define NEEDS_RECOVERY (state != OPERATIONAL || ANY(LOST))
#if WRONG == 4
#define RECOVER_WHEN NEEDS_RECOVERY
#else
#define RECOVER_WHEN (broken || NEEDS_RECOVERY)
#endif
#define LIVES_IN(q) (IN(members, q) && (ALIVE(node[q]) || WRONG == 5))
#define FUNCTIONS   (made && (state == OPERATIONAL || state == JOINING || state == RECOVERING) && \
		     ANY(LIVES_IN))

/* What must hold; the name is what the runner finds in spin's words, its value is always 0. */
#define MUST(name, cond) assert(name || (cond))
hidden byte one_holder, one_set, fenced_before_recovered, no_half_built_set_is_joined,
    only_the_silent_are_fenced, ring_is_one_cycle, services_know_the_members,
    a_joiner_gets_in_at_last, the_dead_are_removed_at_last, the_set_operates_at_last, the_trace_is_passed;

/* In every set that operates, whenever the lock is released. */
#define RING_RIGHT(q) (state != OPERATIONAL || !IN(members, q) || \
		       (little[q] == LITTLE(members, q) && big[q] == BIG(members, q)))
#define SLOT_RIGHT(q) (state != OPERATIONAL || (IN(members, q) -> slot[q] == node[q] : \
						slot[q] == NONE))
#define IS_MEMBER(q)  (up[q] && member[q])

/* A point of shm/points.def.  In a trace it is a step of its own, for the recorder is written some
 * time after the store that the point follows.  The second argument of AT_OF is C. */
#ifdef TRACE
#include "trace.pml"
#define PASSES(point)	     PASS(P_##point);
#define AT(point)	     ; PASS(P_##point)
#define AT_OF(point, about)  ; PASS_OF(P_##point, about)
#define MAY_END(q)	     c_expr { IS_OVER(q) }
#define MAY_PAUSE(q)	     c_expr { IS_FENCED_LATER(q) }
#define CONSOLE_MAY_DIE	     false
#define MAY_BEGIN(q)	     c_expr { NEXT_IS(q, P_map_602) }
#define MAY_LEAVE(q)	     c_expr { NEXT_IS_LOCK(Pinstance->p) }
#define SPEND(budget)
#define ANY_TAKES_IT_FIRST   true
#else
#define PASSES(point)
#define AT(point)
#define AT_OF(point, about)
#define MAY_END(q)   true
#define MAY_PAUSE(q) true
#define CONSOLE_MAY_DIE true
#define MAY_BEGIN(q) true
#define MAY_LEAVE(q) (leaves > 0)
#define SPEND(budget) budget--
#define ANY_TAKES_IT_FIRST false
#define COMES(q)
#define GOES(q)
#define VALIDATES
#endif

inline end_process(q)
{
	up[q] = 0;
	silent[q] = 0;
	blamed[q] = 1;
	bugcheck[q] = 0; /* nobody is there to see it */
	member[q] = 0;
	asked[q] = 0;
	target[q] = NONE;
	judged[q] = 0;
	pending[q] = 0;
	late = late & ~BIT(q)
}

/* Holding the lock is exclusive, whatever is done under it. */
#if WRONG == 3
#define HELD
#else
#define HELD MUST(one_holder, lock == ME);
#endif

/* One visible step under the lock. */
#define STEP(effect) d_step { HELD effect }

#define PICK(set)                                                                                  \
	if                                                                                         \
	:: set(0) -> v = 0                                                                         \
	:: set(1) -> v = 1                                                                         \
	:: set(2) -> v = 2                                                                         \
	:: N > 3 && set(N - 1) -> v = N - 1                                                        \
	fi
#define JUDGED(q) IN(judged[p], q)

/* fence() in member_fence.c, for one whom the clock has judged.  The primary takes the mask at
 * once and the clock takes back what it finds there: as if each were taken when its turn comes.
 * ALIVE is looked at here; before the next step it may have been fenced, and boot again. */
inline fence_dead()
{
	atomic { judged[p] -> PICK(JUDGED); target[p] = LIVE(v); judged[p] = judged[p] & ~BIT(v);
		v = 0;
		/* No fault, no fence; and nobody is fenced that was not silent. */
		MUST(only_the_silent_are_fenced, blamed[PART(target[p])]) };
	/* Who dies between the bit and the request has made none: as if just after it. */
	d_step { if
	:: target[p] <= N || WRONG == 8 -> bugcheck[PART(target[p])] = up[PART(target[p])]
	:: else -> skip /* bugcheck_of is above it: not for the present life */
	fi; asked[p] = 1 } AT_OF(fence_bugcheck, now.target[Pinstance->p]) AT(fence_interrupt);
	if
	:: atomic { !asked[p] && IN(pending[p], PART(target[p])) -> target[p] = NONE }
	:: atomic { !asked[p] && !IN(pending[p], PART(target[p])) -> target[p] = NONE } AT(fence_done)
	fi
}

/* apmp__db_lock.  Loading the word, asking the tree and compare-and-swap are one step: the swap
 * fails unless the word is still the same, and who is not alive never is again. */
#define IS_FREE	 (lock == NONE && (p == 0 || state || ANY_TAKES_IT_FIRST))
#define IS_DEADS (lock != NONE && lock != ME && !ALIVE(lock))

inline acquire()
{
	do
	:: atomic { IS_FREE -> lock = ME; broken = 0 }
		AT(lock_acquired); break
#if WRONG == 2
	:: atomic { lock != NONE && lock != ME && (!ALIVE(lock) || silent[PART(lock)]) ->
#elif WRONG == 13
	:: atomic { false ->
#else
	:: atomic { IS_DEADS ->
#endif
		/* Nothing of the dead is touched before it runs no more. */
		MUST(one_holder, !RUNS(lock)); was = lock; lock = ME; broken = 1 }
		AT_OF(lock_broken, Pinstance->was); was = NONE; break
#ifdef TRACE
	:: atomic { lock != NONE && lock != ME && ALIVE(lock) -> was = lock } AT_OF(lock_wait, Pinstance->was);
		was = NONE
#endif
	:: fence_dead()
	od
}

/* Who did the finished work last is of no interest: its slot is as it should be. */
inline release()
{
	PASSES(lock_release)
	d_step {
		HELD
		MUST(ring_is_one_cycle, ALL(RING_RIGHT)); MUST(services_know_the_members, ALL(SLOT_RIGHT));
		actor = NONE;
		if
		:: lock == ME -> lock = NONE
		:: else -> skip
		fi
	}
}

/* The half of a ring is seen by clocks only, and by none for as long as it takes to judge. */
#define REBUILD(q) \
	if :: IN(members, q) -> little[q] = LITTLE(members, q); big[q] = BIG(members, q) \
	:: else -> skip fi;
#define TO_OPERATIONAL state = (members -> OPERATIONAL : EMPTY)

/* One that died while it joined is in no mask, but services may know it. */
#define FORGET_JOINER                                                                              \
	if                                                                                         \
	:: actor != NONE && PART(actor) != p && !IN(members, PART(actor)) && !ALIVE(actor) ->      \
		slot[PART(actor)] = NONE                                                           \
	:: else -> skip                                                                            \
	fi

/* apmp__db_recover.  Members that are found alive are no step: had one been fenced just after it
 * was looked at, it is as if it had been later. */
inline recover(when)
{
	atomic { when -> HELD broken = 0; FORGET_JOINER };
	do
	:: atomic { ANY(LOST) -> HELD PICK(LOST); actor = ME; state = RECOVERING }
		AT_OF(recover_begin, now.node[Pinstance->v]);
		STEP(MUST(fenced_before_recovered, !RUNS(node[v])); slot[v] = NONE) AT(recover_services);
		STEP(MUST(fenced_before_recovered, !RUNS(node[v]));
		     members = members & ~BIT(v); GOES(v) VALIDATES v = 0) AT(recover_mask)
#if WRONG == 7
	:: atomic { !ANY(LOST) -> TO_OPERATIONAL; break }
	od;
	atomic { MUST(ring_is_one_cycle, ALL(RING_RIGHT)); lock = NONE };
	acquire();
	atomic { HELD EACH(REBUILD) skip }
#else
	:: atomic { !ANY(LOST) -> HELD EACH(REBUILD) break }
	od AT(recover_ring);
	atomic { HELD TO_OPERATIONAL } AT(recover_end)
#endif
}

#define CLEAR_NODE(q)  if :: q != p -> node[q] = NONE; little[q] = q; big[q] = q :: else -> skip fi;
#define CLEAR_SLOT(q)  slot[q] = NONE;

/* What is decided under the lock is one step with the first store of what follows: nobody else
 * changes what was looked at, but for members that are fenced meanwhile, as if just after it. */

/* Fig. 7.  While the state is "initializing" nobody reads what stands below it, whoever dies. */
inline create()
{
	atomic { !FUNCTIONS -> HELD MUST(one_set, !ANY(IS_MEMBER)); broken = 0;
		state = INITIALIZING; actor = ME; members = 0; built = 0; EACH(CLEAR_NODE) skip }
		AT(create_702) AT(create_704) AT(create_706) AT(create_708);
#if WRONG == 5
	STEP(members = BIT(p); node[p] = ME; made = 1; state = OPERATIONAL);
#endif
	d_step { EACH(CLEAR_SLOT) built = 1; node[p] = ME; little[p] = p; big[p] = p;
		 members = BIT(p); slot[p] = ME; made = 1; member[p] = 1; COMES(p)
		 HELD state = OPERATIONAL } AT(create_710) AT(create_712) AT(create_714) AT(create_716);
	release() AT(create_718)
}

/* Fig. 8.  A node block outside the mask is read by nobody. */
inline join(when)
{
#if WRONG == 3
	when;
	release();
#endif
	PASSES(join_802)
	atomic { when -> HELD broken = 0; actor = ME; state = JOINING } AT(join_804) AT(join_806);
	STEP(MUST(no_half_built_set_is_joined, made && built); slot[p] = ME) AT(join_808) AT(join_810);
	STEP(node[p] = ME; members = members | BIT(p); COMES(p) skip) AT(join_812);
	/* apmp_ring_add: before that it is watched by nobody but as the lock's holder */
	STEP(little[p] = LITTLE(members, p); big[p] = BIG(members, p);
	     big[LITTLE(members, p)] = p; little[BIG(members, p)] = p) AT(join_814);
	STEP(state = OPERATIONAL; member[p] = 1) AT(join_816);
#if WRONG != 3
	release() AT(join_818)
#else
	PASSES(join_818) skip
#endif
}

/* apmp_ring_remove */
#define CLOSE(q) little[q] = LITTLE(members, q); big[q] = BIG(members, q)

/* apmp_member_leave, with the lock held and the dead removed. */
inline leave()
{
#if WRONG == 6
	silent[p] = 2;
#endif
	PASSES(leave_begin)
	STEP(slot[p] = NONE) AT(leave_services);
#if WRONG == 14
	STEP(CLOSE(p); members = members & ~BIT(p); TO_OPERATIONAL);
	release();
	d_step { CLOSE(BIG(members, p)); CLOSE(LITTLE(members, p)) };
#else
	STEP(members = members & ~BIT(p); GOES(p) skip);
	STEP(if
	:: members -> CLOSE(BIG(members, p)); CLOSE(LITTLE(members, p))
	:: else -> state = EMPTY
	fi; member[p] = 0) AT(leave_mask) AT(leave_ring);
	release();
#endif
	PASSES(leave_end)
	d_step { end_process(p); bye[p] = 1 };
	goto end_off
}

/* apmp_member_work's part under the lock: nothing of what was seen before it counts. */
#ifdef TRACE
#define TAKE_TO_REPAIR(when) when -> acquire()
#else
/* Who finds the lock taken meanwhile is as if idle; who finds nothing left to do changes nothing. */
#define TAKE_TO_REPAIR(when)                                                                       \
	atomic { when -> broken = lock != NONE; MUST(one_holder, !RUNS(lock)); lock = ME }
#endif

inline repair(when)
{
	TAKE_TO_REPAIR(when);
	if
	:: recover(RECOVER_WHEN)
	:: !(RECOVER_WHEN)
	fi;
	release()
}

#if WRONG == 15
inline remove_as_seen()
{
	atomic { lock == NONE && ANY(LOST) -> PICK(LOST); seen = v; v = 0 };
	acquire();
	atomic { HELD actor = ME; state = RECOVERING };
	STEP(MUST(fenced_before_recovered, !RUNS(node[seen])); slot[seen] = NONE;
	     members = members & ~BIT(seen));
	STEP(EACH(REBUILD) TO_OPERATIONAL);
	broken = 0;
	release()
}
#endif

proctype instance(byte p)
{
	byte v, was;
	bit broken;
#if WRONG == 15
	byte seen;
#endif

end_off:
	{
		up[p];
		PASSES(map_602) PASSES(map_604) PASSES(map_606) PASSES(map_608)
		acquire();
		if
		:: create() /* if it does not function */
		:: recover(FUNCTIONS && (RECOVER_WHEN)); join(true)
		:: join(FUNCTIONS && !(RECOVER_WHEN))
		fi;
end_idle:	/* a member: apmp_member_work whenever there is something to do */
		do
		:: fence_dead()
		:: repair(IS_DEADS)
#if WRONG == 15
		:: remove_as_seen()
#else
		:: repair(lock == NONE && NEEDS_RECOVERY)
#endif
		:: atomic { MAY_LEAVE(p) -> SPEND(leaves) };
			acquire();
			if
			:: recover(RECOVER_WHEN)
			:: !(RECOVER_WHEN)
			fi;
			leave()
#ifdef TRACE
		/* the services are validated under the lock */
		:: atomic { IN(validate, p) -> validate = validate & ~BIT(p) };
			acquire();
			if
			:: recover(broken)
			:: !broken
			fi;
			release() AT(validate_pages)
		:: TOLD(gone, P_member_gone)
		:: TOLD(come, P_member_added)
#endif
		od
	} unless { atomic { ends[p]?_ -> v = 0; was = NONE; broken = 0 } };
	goto end_off
}

/* The clock of p looks at q: its little brother, the next behind inactive ones [0142], or whoever
 * holds the lock. */
#define IS_SILENT(q) (!up[q] || silent[q])
#define HOP(p)	     little[p]
#define BEYOND(q)    (IS_SILENT(q) && ALIVE(node[q]))
#if WRONG == 10
#define CHAIN(p, q) (HOP(p) == (q))
#else
#define CHAIN(p, q) (HOP(p) == (q) || (HOP(p) != (p) && BEYOND(HOP(p)) && \
		     (HOP(HOP(p)) == (q) || (HOP(HOP(p)) != (p) && BEYOND(HOP(HOP(p))) && \
		      HOP(HOP(HOP(p))) == (q)))))
#endif
#define WATCHES(p, q) ((member[p] && CHAIN(p, q) && node[q] == LIVE(q)) || lock == LIVE(q))
#if WRONG == 9
#define SEEMS_SILENT(p, q) (IS_SILENT(q) || IN(late, p))
#else
#define SEEMS_SILENT(p, q) (IS_SILENT(q) && !IN(late, p))
#endif

/* Judged after `stop` ticks of silence; taken back when it beats before the primary saw it.  That
 * a pending fence is asked for again and again changes nothing, so it is asked for once. */
#define JUDGE(p, q)                                                                                \
	:: d_step { up[p] && !silent[p] && !fenced[q] && SEEMS_SILENT(p, q) && WATCHES(p, q) &&    \
		!IN(judged[p] | pending[p], q) && target[p] != LIVE(q) ->                          \
		judged[p] = judged[p] | BIT(q) }                                                   \
	:: d_step { up[p] && !silent[p] && IN(judged[p], q) && !IS_SILENT(q) && !IN(late, p) ->    \
		judged[p] = judged[p] & ~BIT(q) }

/* notice_exit: no, as it is: an end is noticed unless somebody watches its heartbeat. */
#define WATCHED(q) (!NOTICE && (lock == LIVE(q) || IN(members, q)) && \
		    (IS_MEMBER(NEXT1(q)) || IS_MEMBER(NEXT2(q)) || IS_MEMBER(NEXT3(q))))

/* Nobody can tell a judgement of one that is fenced from none: the fence asks the tree first. */
#define FORGET(q) judged[q] = judged[q] & ~mask; pending[q] = pending[q] & ~mask;
#define FENCED(q)                                                                                  \
	fenced[q] = 1; killing[q] = 0; blamed[q] = 0; bugcheck[q] = 0; mask = BIT(q); DEEP(FORGET) \
	mask = 0

#define RENAME(word) if :: word == life -> word = life + N :: else -> skip fi;
#define RENAME_ALL(q) RENAME(node[q]) RENAME(slot[q]) RENAME(target[q])
#define BOOT(q)                                                                                    \
	life = LIVE(q); RENAME(lock) RENAME(actor) DEEP(RENAME_ALL) life = 0;                      \
	fenced[q] = 0; bye[q] = 0; bugcheck[q] = 0; up[q] = 1

#if WRONG == 11
#define FENCE_WHEN(q) killing[q]
#else
#define FENCE_WHEN(q) (!up[q] && (bye[q] || killing[q] || !WATCHED(q)))
#endif

#define JUDGED_BY(q) || IN(judged[q], v) || target[q] == LIVE(v)
#define HAS_CONSEQUENCES (bugcheck[v] || killing[v] DEEP(JUDGED_BY))

#define WORLD(q)                                                                                   \
	/* the console takes a request, or answers it */                                           \
	:: d_step { asked[q] && ALIVE(target[q]) && !killing[PART(target[q])] ->        \
		killing[PART(target[q])] = 1 }                                                     \
	:: d_step { asked[q] && !ALIVE(target[q]) -> asked[q] = 0 }                     \
	:: d_step { STUCK && asked[q] && ALIVE(target[q]) &&                            \
		killing[PART(target[q])] && stuck[PART(target[q])] ->                              \
		pending[q] = pending[q] | BIT(PART(target[q])); asked[q] = 0 }                     \
	/* the box kills it and sees its end; the console writes `fenced` */                       \
	:: atomic { killing[q] && up[q] && MAY_END(q) -> end_process(q); ends[q]!1 }               \
	:: d_step { !fenced[q] && !stuck[q] && FENCE_WHEN(q) -> FENCED(q) }             \
	/* its clock or its primary sees the bugcheck bit; only a life that was silent is hit */   \
	:: atomic { up[q] && !silent[q] && bugcheck[q] && MAY_END(q) ->                            \
		MUST(only_the_silent_are_fenced, blamed[q]); end_process(q); ends[q]!1 }           \
	/* or that the set was made without it */                                                  \
	:: d_step { member[q] && node[q] != LIVE(q) -> MUST(one_set, false) }                             \
	:: d_step { SLEEP && IN(late, q) -> late = late & ~BIT(q) }                                \
	/* what may happen */                                                                      \
	:: d_step { (REBOOT || !state) && fenced[q] && !up[q] && MAY_BEGIN(q) -> BOOT(q) }         \
	:: d_step { silent[q] == 1 -> silent[q] = 0; v = q; blamed[q] = HAS_CONSEQUENCES; v = 0 }  \
	:: atomic { faults && up[q] && MAY_END(q) -> SPEND(faults); end_process(q); ends[q]!1 }  \
	:: d_step { faults && up[q] && !silent[q] && MAY_PAUSE(q) ->                               \
		SPEND(faults); silent[q] = 1; blamed[q] = 1 }                                      \
	:: d_step { GOOD && faults && up[q] && !silent[q] ->                                       \
		SPEND(faults); silent[q] = 2; blamed[q] = 1 }                                      \
	:: d_step { STUCK && state && faults && up[q] && !silent[q] ->                             \
		SPEND(faults); silent[q] = 2; blamed[q] = 1; stuck[q] = 1 }

#define TAKE_OVER(q)	killing[q] = !up[q] && !fenced[q];
#define WAKE_LATE(q)	late = late | (up[q] << q);

/* What must hold where a run ends. */
#define HOLDS_UP(q) (stuck[q] && lock == LIVE(q))
#define DIES(q)	    stuck[q] = 0;
#define WATCHER(q)  (IS_MEMBER(q) && !silent[q])
#define ENTERED(q)  (!up[q] || member[q] || silent[q])
#define REMOVED(q)  (!IN(members, q) || (up[q] && !silent[q]) || stuck[q])
#define BOOTED(q)   (up[q] || stuck[q])

proctype world()
{
	byte v, life, mask;

end:
	do
	EACH(WORLD)
	PAIRS(JUDGE)
	/* the console dies and is started again; a slow one takes care of the time between */
	:: d_step { faults && CONSOLE_MAY_DIE -> SPEND(faults); EACH(TAKE_OVER) skip }
	:: d_step { SLEEP && faults && !late -> SPEND(faults); EACH(WAKE_LATE) skip }
#ifdef TRACE
	:: atomic { c_expr { now.passed == row_count - 1 } -> MUST(the_trace_is_passed, false) }
#else
	:: atomic { timeout && ANY(HOLDS_UP) -> EACH(DIES) skip } /* all wait for that one */
	:: atomic { timeout && state && !ANY(HOLDS_UP) ->
		MUST(a_joiner_gets_in_at_last, ALL(ENTERED));
		if
		:: ANY(WATCHER) -> MUST(the_dead_are_removed_at_last, ALL(REMOVED));
			MUST(the_set_operates_at_last, lock == NONE && state == OPERATIONAL)
		:: else -> skip
		fi; break }
#endif
	od
}

#define POWER(q) up[q] = 1; run instance(q);
init
{
#ifdef TRACE
	read_trace();
#endif
	atomic {
		run world();
		EACH(POWER)
	}
}
