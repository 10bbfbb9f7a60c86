/*
 * trace.pml - the points of a real run as guards of the model's steps; included by member.pml.
 *
 * WHAT      trace.py writes the file "trace" for it, a row of bytes for each point: who passes it,
 *           its number, whom it is about, the next point of each partition, and whether each
 *           will be fenced by a member before it boots again.  spin(1) can pass the points in
 *           their order and no others; what no point shows may happen at any time, but that
 *           nobody passes a point after its death, and that nobody boots but where it is seen.
 */
#define ROWS 4096

c_decl {
	struct row {
		unsigned char who, point, about, next[N], fenced_later[N];
	};
	static struct row rows[ROWS];
	static int row_count, furthest;
};

short passed;	       /* rows */
byte validate;	       /* mask: who has not yet read every page again */
byte gone[N], come[N]; /* masks: of whose going and coming it was not told */

inline read_trace()
{
	c_code {
		FILE *file = fopen("trace", "r");

		if (!file)
			exit(2);
		row_count = (int)fread(rows, sizeof(rows[0]), ROWS - 1, file);
		fclose(file);
	}
}

#define ROW	  rows[now.passed]
#define WANTED(x) now.passed < row_count && ROW.who == Pinstance->p && ROW.point == x
#define COUNT                                                                                      \
	passed++;                                                                                  \
	c_code {                                                                                   \
		if (now.passed > furthest)                                                         \
			printf("reached %d\n", furthest = now.passed);                             \
	}
#define PASS(x) atomic { c_expr { WANTED(x) } -> COUNT }
/* An identity as the model has it, of the partition that the point says. */
#define PASS_OF(x, i) atomic { c_expr { WANTED(x) && i && (i - 1) % N == ROW.about } -> COUNT }
#define TOLD(set, x)                                                                               \
	atomic {                                                                                   \
		c_expr { WANTED(x) && (now.set[Pinstance->p] >> ROW.about & 1) } ->                \
		c_code { now.set[Pinstance->p] &= ~(1 << ROW.about); };                            \
		COUNT                                                                              \
	}

#define NEXT_IS(q, x)	   (ROW.next[q] == x)
#define NEXT_IS_LOCK(q)                                                                            \
	(NEXT_IS(q, P_lock_wait) || NEXT_IS(q, P_lock_acquired) || NEXT_IS(q, P_lock_broken))
#define IS_OVER(q)	   (NEXT_IS(q, P_map_602) || NEXT_IS(q, 0))
#define IS_FENCED_LATER(q) (ROW.fenced_later[q])

#define TELL_OF(set, q) set[0] = set[0] | BIT(q); set[1] = set[1] | BIT(q); \
	set[2] = set[2] | BIT(q); set[N - 1] = set[N - 1] | BIT(q);
#define COMES(q)  TELL_OF(come, q) come[q] = members; gone[q] = 0;
#define GOES(q)	  TELL_OF(gone, q)
#define VALIDATES validate = members;
