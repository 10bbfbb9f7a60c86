/* test_hwrpb.c - the HWRPB, from the console's side and from the instance's. */
#include <errno.h>
#include <string.h>

#include "shm/hwrpb_message.h"
#include "shm/shared.h"
#include "tests/unit/suite.h"
#include "tests/unit/world.h"

static struct world w;
static struct party *alpha;
static struct hwrpb *h;

static void setup(void)
{
	world_init(&w);
	alpha = world_boot(&w, ALPHA);
	h = alpha->hwrpb;
}

static void teardown(void)
{
	world_fini(&w);
}

/* shows: HWRPB-01, HWRPB-02, HWRPB-03 */
START_TEST(prepared_for_a_life)
{
	ck_assert_int_eq(apmp_hwrpb_check(h, sizeof(*h)), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->unique), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&h->pa), WORLD_HWRPB_PA(ALPHA));
	ck_assert_uint_eq(apmp_load_relaxed(&h->boot_count), 1);
	for (uint32_t cpu = 0; cpu < WORLD_CPUS; cpu++)
		ck_assert_uint_eq(apmp_hwrpb_flags(h, cpu), HWRPB_PP | (cpu < 2 ? HWRPB_PA : 0));
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_ACTIVE);
	apmp_store_relaxed(&h->end, HWRPB_END_HALT);
	apmp_store_relaxed(&h->slot[3].request.answer, 9);
	(void)world_boot(&w, ALPHA);
	ck_assert_uint_eq(apmp_load_relaxed(&h->boot_count), 2);
	ck_assert_uint_eq(apmp_load_relaxed(&h->unique), party_identity(alpha));
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].state), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->end), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].request.answer), 0);
}
END_TEST

static void spoil(int kind)
{
	switch (kind) {
	case 0:
		apmp_store_relaxed(&h->magic, 0);
		break;
	case 1:
		apmp_store_relaxed(&h->fingerprint, apmp_fingerprint(sizeof(*h) + 8));
		break;
	case 2:
		apmp_store_relaxed(&h->slot_size, 64);
		break;
	case 3:
		apmp_store_relaxed(&h->slot_off, 0);
		break;
	case 4:
		apmp_store_relaxed(&h->cpu_count, APMP_MAX_CPUS + 1);
		break;
	case 5:
		apmp_store_relaxed(&h->primary, WORLD_CPUS);
		break;
	case 6:
		apmp_store_relaxed(&h->cpu_count, 0);
		break;
	default:
		apmp_store_relaxed(&h->tick_ns, 0);
		break;
	}
}

START_TEST(check_refuses)
{
	ck_assert_int_eq(apmp_hwrpb_check(h, sizeof(*h) - 1), -ENOSPC);
	spoil(_i);
	ck_assert_int_eq(apmp_hwrpb_check(h, sizeof(*h)), -EBADMSG);
}
END_TEST

START_TEST(flags_of_no_cpu)
{
	ck_assert_uint_eq(apmp_hwrpb_flags(h, WORLD_CPUS), 0);
	ck_assert_uint_eq(apmp_hwrpb_flags(h, UINT32_MAX), 0);
	apmp_store_relaxed(&h->cpu_count, UINT32_MAX);
	ck_assert_uint_eq(apmp_hwrpb_flags(h, APMP_MAX_CPUS), 0);
}
END_TEST

static bool in(const struct apmp_cpu_bits *set, uint32_t cpu_idx)
{
	return apmp_cpu_bits_test(set, cpu_idx);
}

static void check_sets(uint32_t cpu_idx, bool potential, bool configure, bool active)
{
	apmp_hwrpb_refresh_sets(h);
	ck_assert_int_eq(in(&h->potential, cpu_idx), potential);
	ck_assert_int_eq(in(&h->configure, cpu_idx), configure);
	ck_assert_int_eq(in(&h->active, cpu_idx), active);
}

/* Each CPU is in a set by its type and revision, whose it is, and whether it takes part in SMP;
 * each set is a subset of the one before, whatever a slot says.  shows: CPU-12, CPU-13 */
START_TEST(sets_follow_from_the_slots)
{
	struct hwrpb_slot *slot = &h->slot[1];

	for (uint32_t state = 0; state <= HWRPB_CPU_HALTED; state++) {
		apmp_store_relaxed(&slot->state, state);
		check_sets(1, true, true, state == HWRPB_CPU_ACTIVE);
	}
	apmp_store_relaxed(&slot->state, HWRPB_CPU_ACTIVE);
	apmp_fetch_and(&slot->flags, ~(uint64_t)HWRPB_PA);
	check_sets(1, true, false, false);
	apmp_fetch_or(&slot->flags, HWRPB_PA);
	apmp_store_relaxed(&slot->type, 2);
	check_sets(1, false, false, false);
	apmp_store_relaxed(&slot->type, 0);
	apmp_store_relaxed(&slot->revision, 1);
	check_sets(1, false, false, false);
	apmp_store_relaxed(&h->slot[0].revision, 1); /* the primary's is what counts */
	check_sets(1, true, true, true);
	check_sets(3, false, false, false);
	apmp_fetch_and(&slot->flags, ~(uint64_t)HWRPB_PP);
	check_sets(1, false, false, false);
}
END_TEST

START_TEST(flags_change_in_an_update)
{
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, h, ALPHA, 1, HWRPB_PA, HWRPB_COMPATIBLE);
	ck_assert_uint_eq(apmp_hwrpb_flags(h, 1), HWRPB_PP | HWRPB_COMPATIBLE);
	apmp_update_abort(&w.up);
	ck_assert_uint_eq(apmp_hwrpb_flags(h, 1), HWRPB_PP | HWRPB_PA);
}
END_TEST

/* shows: FAIL-02, CPU-12 */
START_TEST(tables_of_the_console)
{
	struct apmp_console_partition *kept = &w.state->partition[ALPHA];

	apmp_store_relaxed(&kept->failover[3], 0x0302);
	apmp_store_relaxed(&kept->no_autostart[0], 1u << 3);
	apmp_hwrpb_set_tables(h, kept);
	for (uint32_t cpu = 0; cpu < APMP_MAX_CPUS; cpu++) {
		ck_assert_uint_eq(apmp_load_relaxed(&h->failover[cpu]), cpu == 3 ? 0x0302 : 0);
		/* Also those that come into the box later. */
		ck_assert_int_eq(apmp_cpu_bits_test(&h->autostart, cpu), cpu != 3);
	}
}
END_TEST

/* CPU 3 arrives: available, then announced. */
static void arrive(void)
{
	apmp_fetch_or(&h->slot[3].flags, HWRPB_PA);
	apmp_hwrpb_startreq(&w.console.env, h, 3);
}

static bool has_come(uint32_t cpu_idx)
{
	int refused;

	return apmp_hwrpb_take_startreq(h, cpu_idx, &refused) == APMP_STARTREQ_COME;
}

/* shows: CPU-05 */
START_TEST(startreq_and_start)
{
	static const struct apmp_hwrpb_command start = {.word = APMP_COMMAND_START};
	char word[HWRPB_MSG_SIZE];

	apmp_store_relaxed(&w.line[0].pending, 0);
	ck_assert(!has_come(3));
	arrive();
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_TXRDY);
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].arrivals), 1);
	ck_assert(!has_come(2));
	ck_assert(has_come(3));
	ck_assert(!has_come(3));
	ck_assert_int_eq(apmp_hwrpb_send(&alpha->env, h, 3, &start), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].state), HWRPB_CPU_STARTING);
	ck_assert_uint_eq(alpha->wakes, 1);
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].rxrdy), 1);
	memcpy(word, h->slot[3].rx, sizeof(word));
	ck_assert_str_eq(word, HWRPB_MSG_START);
}
END_TEST

static void set_available(uint64_t clear, uint64_t set)
{
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, h, ALPHA, 3, clear, set);
	apmp_update_commit(&w.up);
}

/* STARTREQ of a CPU whose thread has not parked yet waits; of one that runs here it is a second
 * one, from a console that was restarted: it ends when the CPU halts. */
START_TEST(startreq_at_odd_times)
{
	static const uint32_t busy[] = {HWRPB_CPU_STARTING, HWRPB_CPU_CONFIGURED, HWRPB_CPU_ACTIVE,
					HWRPB_CPU_QUIESCED};

	arrive();
	apmp_store_relaxed(&h->slot[3].state, busy[_i]);
	ck_assert(!has_come(3));
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].txrdy), 1);
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_AWAY);
	ck_assert(has_come(3));
	apmp_hwrpb_startreq(&w.console.env, h, 3);
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_HALTED);
	ck_assert(!has_come(3));
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].txrdy), 0);
	/* A stray one, of a CPU that is not here. */
	apmp_hwrpb_startreq(&w.console.env, h, 3);
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_AWAY);
	apmp_fetch_and(&h->slot[3].flags, ~(uint64_t)HWRPB_PA);
	ck_assert(!has_come(3));
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].txrdy), 0);
}
END_TEST

/* The CPU has left before anybody took its STARTREQ: its next arrival, half made, does not meet it,
 * before the console has given the CPU away for good. */
START_TEST(startreq_of_before)
{
	arrive();
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_QUIESCED);
	ck_assert(!has_come(3));
	set_available(HWRPB_PA, 0);
	apmp_store_relaxed(&h->slot[3].state, HWRPB_CPU_AWAY);
	apmp_update_begin(&w.up);
	apmp_hwrpb_set_flags(&w.up, h, ALPHA, 3, 0, HWRPB_PA);
	ck_assert(!has_come(3));
	apmp_update_commit(&w.up);
	apmp_hwrpb_startreq(&w.console.env, h, 3);
	ck_assert(has_come(3));
}
END_TEST

static const char *const other_words[] = {"", "START", "STARTREQUEST", "startreq",
					  "STARTREQ.NOENDNOENDNOEND"};

/* Another word is no STARTREQ, and does not keep the next one out. */
START_TEST(other_words_mean_nothing)
{
	char word[HWRPB_MSG_SIZE] = "";

	memcpy(word, other_words[_i], strnlen(other_words[_i], sizeof(word)));
	set_available(0, HWRPB_PA);
	memcpy(h->slot[3].tx, word, sizeof(word));
	apmp_store_relaxed(&h->slot[3].txrdy, 1);
	ck_assert(!has_come(3));
	ck_assert_uint_eq(apmp_load_relaxed(&h->slot[3].txrdy), 0);
	arrive();
	ck_assert(has_come(3));
}
END_TEST

/* It does not wait for what has no answer. */
START_TEST(told_to_end)
{
	static const uint64_t arg[2] = {BETA, 1};
	struct apmp_env *env = &w.console.env;
	uint32_t seq = 0;

	ck_assert_int_eq(
	    apmp_hwrpb_request(env, h, &h->slot[1].request, HWRPB_REQUEST_MIGRATE, arg, &seq), 0);
	ck_assert_uint_eq(apmp_load_relaxed(&h->end), 0);
	apmp_store_relaxed(&w.line[0].pending, 0);
	apmp_hwrpb_end(env, h, HWRPB_END_HALT);
	ck_assert_uint_eq(apmp_load_relaxed(&h->end), HWRPB_END_HALT);
	ck_assert_uint_eq(apmp_load_relaxed(&w.line[0].pending), APMP_INTR_REQUEST);
	apmp_hwrpb_end(env, h, HWRPB_END_CRASH);
	ck_assert_uint_eq(apmp_load_relaxed(&h->end), HWRPB_END_CRASH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hwrpb");
	TCase *tc = suite_case(suite, "hwrpb");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, prepared_for_a_life);
	tcase_add_loop_test(tc, check_refuses, 0, 8);
	tcase_add_test(tc, flags_of_no_cpu);
	tcase_add_test(tc, sets_follow_from_the_slots);
	tcase_add_test(tc, flags_change_in_an_update);
	tcase_add_test(tc, tables_of_the_console);
	tcase_add_test(tc, startreq_and_start);
	tcase_add_loop_test(tc, startreq_at_odd_times, 0, 4);
	tcase_add_test(tc, startreq_of_before);
	tcase_add_loop_test(tc, other_words_mean_nothing, 0, 5);
	tcase_add_test(tc, told_to_end);
	return suite_run(suite);
}
