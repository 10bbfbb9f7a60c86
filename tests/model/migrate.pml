/*
 * migrate.pml - one CPU that migrates between two partitions, as shm/pal.c, pal_console.c,
 * hwrpb_message.c and cpu_move.c do it.
 *
 * WHAT      The CPU's thread and the primary in each of two instances, the console, which may begin
 *           anew, and deaths of each at every step.  One update of the console is one step: it is
 *           whole or undone.  Statements and steps as in member.pml.
 * AT LAST   ORDERS migrations are asked for and FAULTS participants die, then every run ends.
 * PARAMETERS  ORDERS, FAULTS, WRONG (README.md).
 * NOT HERE  HALT, RX, deassignment, boots, loans; a second CPU.
 */
#ifndef WRONG
#define WRONG 0
#endif

#define NOBODY 2
#define AT(point)
#define MUST(name, cond) assert(name || (cond))
hidden byte one_owner, nobody_has_it_only_in_transit, one_executes, moved_as_often_as_asked,
    it_executes_at_last;

/* The console's memory: the tree, the two HWRPBs' available bits, and its own words. */
byte user = 0;		/* current_owner */
bit available[2];
byte transit = NOBODY;	/* who migrates it */
byte owed = NOBODY;	/* who must still be sent a STARTREQ */
bit recorded[2];	/* the callback that is under way was carried out */
bit fenced[2];
bit pool;		/* it had nowhere to go */

byte runner = NOBODY;	/* execution word */
mtype = { AWAY, STARTING, ACTIVE, QUIESCED, NOTHING, DONE, REFUSED };
mtype state[2];		/* of the CPU's slot in each HWRPB */
bit txrdy[2], told[2];	/* STARTREQ, and the primary's interrupt */
bit start[2];		/* START in RX */

/* Instances. */
bit up[2], dying[2];
bit order[2];		/* the CPU is to go */
bit asks[2];		/* a callback is under way */
mtype answer[2];
chan cpu_ends[2] = [0] of { bit };
chan primary_ends[2] = [0] of { bit };
chan console_ends = [0] of { bit };

byte faults = FAULTS, orders = ORDERS;
byte asked, moved; /* history */

#define OWNERS_ARE_GOOD                                                                            \
	MUST(one_owner, !(available[0] && available[1]));                                          \
	MUST(nobody_has_it_only_in_transit, user != NOBODY || transit != NOBODY || pool)

proctype cpu(byte p)
{
	{
		if
		:: state[p] == ACTIVE -> goto end_runs
		:: else
		fi;
end_parked:
		start[p] -> start[p] = 0;
		if
		:: available[p]
		:: !available[p] -> state[p] = AWAY; goto end_parked
		fi;
		d_step { MUST(one_executes, runner == NOBODY); runner = p } AT(pal_2218);
		state[p] = ACTIVE AT(pal_2220) AT(migrate_910);
end_runs:
		order[p] -> order[p] = 0;
#if WRONG != 1
		state[p] = QUIESCED AT(migrate_904);
#endif
#if WRONG != 2
		d_step { MUST(one_executes, runner == p); runner = NOBODY } AT(pal_2202);
#endif
		d_step { asks[p] = 1; recorded[p] = 0; answer[p] = NOTHING } AT(migrate_906);
		answer[p] != NOTHING;
#if WRONG == 2
		runner = (runner == p -> NOBODY : runner);
#endif
		if
		:: answer[p] == REFUSED && available[p] ->
			d_step { MUST(one_executes, runner == NOBODY); runner = p };
			state[p] = ACTIVE AT(pal_2205);
			told[p] = 1; goto end_runs /* of the refusal */
		:: else
		fi;
		state[p] = AWAY;
#if WRONG != 3
		told[p] = told[p] || txrdy[p]; /* it may be back already */
#endif
		goto end_parked
	} unless { cpu_ends[p]?_ }
}

proctype primary(byte p)
{
	mtype seen;
	{
		seen = AWAY;
end:
		do
		:: atomic { state[p] == ACTIVE && orders && !order[p] && !asks[p] ->
			orders--; asked++; order[p] = 1 }
		:: told[p] -> told[p] = 0;
			/* apmp_hwrpb_take_startreq */
again:			if
			:: atomic { txrdy[p] -> txrdy[p] = 0 };
				seen = state[p];
				if
				:: seen == QUIESCED && available[p] ->
					txrdy[p] = 1;
					if
					:: !available[p] || state[p] != QUIESCED -> goto again
					:: else
					fi
				:: seen == AWAY && available[p] -> state[p] = STARTING; start[p] = 1
				:: else
				fi
			:: !txrdy[p]
			fi
		od
	} unless { primary_ends[p]?_ }
}

#define STARTREQ(q)                                                                                \
	if                                                                                         \
	:: owed == q && !fenced[q] -> txrdy[q] = 1; told[q] = 1 AT(con_2304); owed = NOBODY        \
	:: else                                                                                    \
	fi

#define OTHER(p) (1 - (p))

#define MAY_GO(p)                                                                                  \
	(user == p && !fenced[p] && !fenced[OTHER(p)] && (runner == NOBODY || WRONG == 2))

/* apmp_cpu_migrate, and the answer */
inline serve(p)
{
	if
	:: recorded[p] -> result = DONE
	:: !recorded[p] && !MAY_GO(p) -> result = REFUSED
	:: !recorded[p] && MAY_GO(p) ->
		d_step { transit = p; user = NOBODY; available[p] = 0; txrdy[p] = 0;
			OWNERS_ARE_GOOD } AT(pal_2206) AT(pal_2208) AT(pal_2210);
		if
		:: d_step { true -> available[p] = 1; user = p; transit = NOBODY; OWNERS_ARE_GOOD };
			result = REFUSED /* by the host */
		:: d_step { true -> available[OTHER(p)] = 1; user = OTHER(p); transit = NOBODY;
				owed = (WRONG == 6 -> NOBODY : OTHER(p)); recorded[p] = WRONG != 4;
				moved++; OWNERS_ARE_GOOD } AT(pal_2214) AT(pal_2216) AT(migrate_908);
			owed = OTHER(p); /* no step but of WRONG 6 */
			STARTREQ(OTHER(p));
			result = DONE
		fi
	fi;
	d_step { asks[p] = 0; answer[p] = result }
}

/* apmp_cpu_end_life, behind the word of the kernel */
inline fence(p)
{
	d_step { runner = (runner == p -> NOBODY : runner) };
	d_step {
		if
		:: user == p && !fenced[OTHER(p)] -> available[p] = 0; txrdy[p] = 0;
			runner = NOBODY; available[OTHER(p)] = 1; user = OTHER(p); owed = OTHER(p)
		:: user == p && fenced[OTHER(p)] -> available[p] = 0; user = NOBODY; pool = 1
		:: else
		fi; OWNERS_ARE_GOOD };
	fenced[p] = 1;
	STARTREQ(OTHER(p))
}

#define IS_GONE(p) (!fenced[p] && (!up[p] || (WRONG == 7 && dying[p])))

proctype console()
{
	mtype result;
end_off:
	{
		/* apmp_cpu_settle */
		if
		:: d_step { transit != NOBODY && WRONG != 5 -> available[transit] = 1;
			user = transit; transit = NOBODY; owed = (fenced[user] -> NOBODY : user);
			OWNERS_ARE_GOOD }
		:: transit == NOBODY || WRONG == 5
		fi;
		STARTREQ(0); STARTREQ(1);
end_serves:
		do
		:: asks[0] -> serve(0)
		:: asks[1] -> serve(1)
		:: IS_GONE(0) -> fence(0)
		:: IS_GONE(1) -> fence(1)
		od
	} unless { console_ends?_ };
	goto end_off
}

#define DIES(p)                                                                                    \
	:: atomic { faults && up[p] && !dying[p] -> faults--; dying[p] = 1; primary_ends[p]!1 };   \
		cpu_ends[p]!1; up[p] = 0

#define IS_AT_REST                                                                                 \
	(pool || fenced[user] ||                                                                   \
	 (state[user] == ACTIVE && runner == user && available[user] && !txrdy[user]))

proctype world()
{
end:
	do
	DIES(0)
	DIES(1)
	:: atomic { faults -> faults--; console_ends!1 }
	:: atomic { timeout -> MUST(it_executes_at_last, transit == NOBODY && IS_AT_REST);
		MUST(moved_as_often_as_asked, moved <= asked); break }
	od
}

init
{
	atomic {
		up[0] = 1; up[1] = 1; available[0] = 1; runner = 0;
		state[0] = ACTIVE; state[1] = AWAY; answer[0] = NOTHING; answer[1] = NOTHING;
		run world(); run console(); run cpu(0); run cpu(1); run primary(0); run primary(1)
	}
}
