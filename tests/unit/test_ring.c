/* test_ring.c - brothers as a function of the membership mask, and kept so one at a time. */
#include <string.h>

#include "shm/ring.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"

static struct apmp_db db;

static uint64_t random_word(void)
{
	static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* A set of half of all, a quarter, an eighth, ... */
static uint64_t random_set(uint32_t thinner)
{
	uint64_t members = random_word();

	while (thinner-- > 0)
		members &= random_word();
	return members;
}

/* The member that comes first when counting from id in steps of 1 or -1, around the end. */
static uint32_t plain_next(uint64_t members, uint32_t id, uint32_t step)
{
	for (uint32_t at = (id + step) % 64; at != id; at = (at + step) % 64)
		if (members >> at & 1)
			return at;
	return id;
}

static void check_ring(uint64_t members)
{
	for (uint32_t id = 0; id < 64; id++) {
		if (!(members >> id & 1))
			continue;
		ck_assert_uint_eq(apmp_load_relaxed(&db.node[id].little_brother),
				  plain_next(members, id, 1));
		ck_assert_uint_eq(apmp_load_relaxed(&db.node[id].big_brother),
				  plain_next(members, id, 63));
	}
}

/* shows: DB-09 */
START_TEST(next_member_around_the_end)
{
	for (int i = 0; i < 2000; i++) {
		uint64_t members = random_set((uint32_t)i % 6);

		for (uint32_t id = 0; id < 64; id++) {
			ck_assert_uint_eq(apmp_ring_little(members, id),
					  plain_next(members, id, 1));
			ck_assert_uint_eq(apmp_ring_big(members, id), plain_next(members, id, 63));
		}
	}
}
END_TEST

START_TEST(alone_and_nobody)
{
	for (uint32_t id = 0; id < 64; id++) {
		ck_assert_uint_eq(apmp_ring_little(UINT64_C(1) << id, id), id);
		ck_assert_uint_eq(apmp_ring_big(UINT64_C(1) << id, id), id);
		ck_assert_uint_eq(apmp_ring_little(0, id), id);
		ck_assert_uint_eq(apmp_ring_big(0, id), id);
	}
	ck_assert_uint_eq(apmp_ring_little(UINT64_C(1) << 63 | 1, 63), 0);
	ck_assert_uint_eq(apmp_ring_big(UINT64_C(1) << 63 | 1, 0), 63);
}
END_TEST

/* Members come and go one at a time: the ring is the same as one made anew.  shows: DB-09 */
START_TEST(joining_and_leaving)
{
	uint64_t members = 0;

	for (int i = 0; i < 5000; i++) {
		uint32_t id = (uint32_t)(random_word() % 64);

		members ^= UINT64_C(1) << id;
		apmp_store_relaxed(&db.header.members, members);
		if (members >> id & 1)
			apmp_ring_add(&db, id);
		else
			apmp_ring_remove(&db, id);
		check_ring(members);
	}
}
END_TEST

/* After any death the ring comes from the mask alone. */
START_TEST(rebuilding)
{
	for (int i = 0; i < 200; i++) {
		uint64_t members = random_set(1);

		memset(&db, (int)random_word() & 0xff, sizeof(db));
		apmp_store_relaxed(&db.header.members, members);
		apmp_ring_rebuild(&db);
		check_ring(members);
	}
}
END_TEST

START_TEST(last_leaver_touches_nothing)
{
	struct apmp_db before;

	memset(&db, 0x5a, sizeof(db));
	apmp_store_relaxed(&db.header.members, 0);
	memcpy(&before, &db, sizeof(db));
	apmp_ring_remove(&db, 5);
	apmp_ring_rebuild(&db);
	ck_assert_mem_eq(&before, &db, sizeof(db));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *tc = suite_case(suite, "ring");

	tcase_add_test(tc, next_member_around_the_end);
	tcase_add_test(tc, alone_and_nobody);
	tcase_add_test(tc, joining_and_leaving);
	tcase_add_test(tc, rebuilding);
	tcase_add_test(tc, last_leaver_touches_nothing);
	return suite_run(suite);
}
