/*
 * named.pml - one named lock, as shm/lock.c, shm/lock_word.c and shm/service_lock.c do it.
 *
 * WHAT      N instances with a program each that takes the lock, perhaps declares its data good, and
 *           lets it go; deaths of instances and of programs at every step; recovery by whoever
 *           lives, which may itself die.  Statements and steps as in member.pml.
 * LIVES     A word of an earlier life of an instance is DEAD, whoever it was.
 * AT LAST   A sleeper that looks again and finds nothing new is no step, so every run ends.
 * PARAMETERS  N, ROUNDS (acquisitions of all together), FAULTS (deaths of instances), DEATHS (of
 *           programs), WRONG (README.md).
 * NOT HERE  Names and the table lock, ranks, many locks, re-forming (reform.pml), stray stores.
 */
#ifndef WRONG
#define WRONG 0
#endif

/* What the word says: nobody, the program of an instance, an instance that breaks it. */
#define NOBODY	   0
#define PROGRAM(q) (1 + (q))
#define BREAKER(q) (1 + N + (q))
#define DEAD	   (1 + 2 * N)
#define PART(w)	   (((w) - 1) % N)
#define ME	   PROGRAM(p)

byte word;
bit waiters;   /* the WAITERS bit of it */
bit broken_by; /* not 0 */

bit up[N];	/* the instance runs */
bit fenced[N];	/* and the tree says that it does not */
bit program[N]; /* its program runs */
bit asleep[N];
byte breaking[N]; /* 0 no, 1 the word is ours, 2 marked */
bit holds[N];	  /* the program has got it, and uses the data */
bit told[N];	  /* acquire said BROKEN */
chan ends[N] = [0] of { bit };
byte faults = FAULTS, deaths = DEATHS, rounds = ROUNDS;

bit bad; /* history: somebody died who had the lock, and nobody has declared the data good since */

#define MUST(name, cond) assert(name || (cond))
hidden byte one_holder, who_gets_bad_data_is_told, who_gets_good_data_is_not_told,
    who_wants_it_gets_it_at_last;

#define LIVES(w) ((w) && (w) != DEAD && !fenced[PART(w)])

#if N == 3
#define EACH(f) f(0) f(1) f(2)
#define DEEP(f) f(0) f(1) f(2)
#define ALL(f)	(f(0) && f(1) && f(2))
#define ANY(f)	(f(0) || f(1) || f(2))
#elif N == 2
#define EACH(f) f(0) f(1)
#define DEEP(f) f(0) f(1)
#define ALL(f)	(f(0) && f(1))
#define ANY(f)	(f(0) || f(1))
#endif
#define IS_ASLEEP(q)  asleep[q]
#define IS_HOLDING(q) holds[q]
#define WAKE(q)	      asleep[q] = 0;
#define WAKE_ALL      DEEP(WAKE)

proctype locker(byte p)
{
	bit slept;

end_off:
	{
		/* apmp_lock_acquire */
		atomic { up[p] && program[p] && rounds -> rounds-- };
		do
		/* apmp__lock_word_take: loading, asking the tree and the swap are one step, for the
		 * swap fails when the word has changed and the dead stay dead */
		:: atomic { word == NOBODY -> word = ME; waiters = waiters || slept }; break
		:: atomic { word != NOBODY && (!LIVES(word) || WRONG == 2) -> word = ME;
			waiters = waiters || slept };
			broken_by = 1; break /* apmp__lock_mark_broken */
		:: atomic { LIVES(word) && !waiters -> waiters = 1 } /* apmp__lock_word_wait */
		/* the futex sleeps only on the word that was seen */
		:: atomic { LIVES(word) && waiters -> asleep[p] = 1 }; !asleep[p]; slept = 1
		od;
		/* hold() */
		atomic { MUST(one_holder, !ANY(IS_HOLDING)); told[p] = broken_by; holds[p] = 1; slept = 0;
			MUST(who_gets_bad_data_is_told, !bad || told[p]);
			MUST(who_gets_good_data_is_not_told, bad || !told[p]) };
		if
		:: atomic { told[p] -> broken_by = 0; bad = 0 } /* apmp_lock_good */
		:: true
		fi;
		/* apmp__lock_word_release */
		d_step { MUST(one_holder, word == ME); word = NOBODY; holds[p] = 0; told[p] = 0;
			slept = waiters; waiters = 0 };
		if
		:: atomic { slept && ANY(IS_ASLEEP) -> slept = 0; /* wakes one */
			if
			:: asleep[0] -> asleep[0] = 0
			:: asleep[1] -> asleep[1] = 0
			:: asleep[N - 1] -> asleep[N - 1] = 0
			fi }
		:: atomic { !(slept && ANY(IS_ASLEEP)) -> slept = 0 }
		fi
	} unless { atomic { ends[p]?_ -> slept = 0 } };
	goto end_off
}

#define ENDS(q)                                                                                    \
	program[q] = 0; asleep[q] = 0; told[q] = 0; holds[q] = 0;                                  \
	bad = bad || word == PROGRAM(q); ends[q]!1

/* Whose word may be broken by q: of the dead, after the fence; of its own program that died. */
#define IS_OVER(q) (word != NOBODY && (!LIVES(word) || (word == PROGRAM(q) && !program[q])))

#if WRONG == 3
#define LOOKS_AGAIN(q) false
#else
#define LOOKS_AGAIN(q) (asleep[q] && (word == NOBODY || !LIVES(word) || !waiters))
#endif

#if WRONG == 1
/* Free first, marked then. */
#define BREAK(q)                                                                                   \
	:: d_step { up[q] && !breaking[q] && IS_OVER(q) -> word = NOBODY; waiters = 0; WAKE_ALL    \
		breaking[q] = 1 }                                                                  \
	:: d_step { breaking[q] == 1 -> broken_by = 1; breaking[q] = 0 }
#elif WRONG == 4
/* What was seen is overwritten, whatever stands there by now. */
#define BREAK(q)                                                                                   \
	:: d_step { up[q] && !breaking[q] && IS_OVER(q) -> breaking[q] = 1 }                       \
	:: d_step { breaking[q] == 1 -> broken_by = 1; breaking[q] = 2 }                           \
	:: d_step { breaking[q] == 2 -> word = NOBODY; waiters = 0; WAKE_ALL breaking[q] = 0 }
#else
/* apmp__lock_break */
#define BREAK(q)                                                                                   \
	:: d_step { up[q] && !breaking[q] && IS_OVER(q) -> word = BREAKER(q); breaking[q] = 1 }    \
	:: d_step { breaking[q] == 1 -> broken_by = 1; breaking[q] = 2 }                           \
	:: d_step { breaking[q] == 2 -> MUST(one_holder, word == BREAKER(q));                      \
		word = NOBODY; waiters = 0; WAKE_ALL breaking[q] = 0 }
#endif

#define WORLD(q)                                                                                   \
	BREAK(q)                                                                                   \
	:: d_step { LOOKS_AGAIN(q) -> asleep[q] = 0 }                                              \
	:: atomic { faults && up[q] -> faults--; up[q] = 0; breaking[q] = 0; ENDS(q) }             \
	:: atomic { deaths && program[q] -> deaths--; ENDS(q) }                                    \
	:: d_step { !up[q] && !fenced[q] -> fenced[q] = 1 }                                        \
	/* it boots again and joins, which breaks what its earlier life held, if nobody has */     \
	:: d_step { fenced[q] && word != PROGRAM(q) && word != BREAKER(q) ->                       \
		fenced[q] = 0; up[q] = 1 }                                                         \
	:: d_step { fenced[q] && (word == PROGRAM(q) || word == BREAKER(q)) ->                     \
		word = DEAD; fenced[q] = 0; up[q] = 1 }                                            \
	/* a program that died is known to its instance, which breaks what it held first */        \
	:: d_step { up[q] && !program[q] && word != PROGRAM(q) && !breaking[q] -> program[q] = 1 }

#define IS_CONTENT(q) (up[q] && program[q] && !asleep[q])

proctype world()
{
end:
	do
	EACH(WORLD)
	:: atomic { timeout ->
		MUST(who_wants_it_gets_it_at_last, word == NOBODY && ALL(IS_CONTENT)); break }
	od
}

#define POWER(q) up[q] = 1; program[q] = 1; run locker(q);
init
{
	atomic { run world(); EACH(POWER) }
}
