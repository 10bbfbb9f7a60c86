/* The judgement about a process that does not answer. */
#include "apmpd/watch.h"

/* How much of the silence counts while the process is as it is. */
static uint64_t counted_ms(const struct apmp_watch *watch, const struct apmp_sight *sight)
{
	uint64_t ran_ms;

	if (sight->state != 'R' || !sight->cpu_time_ns)
		return watch->silence_ms;
	ran_ms = (sight->cpu_time_ns - watch->cpu_time_ns) / 1000000;
	return ran_ms < watch->silence_ms ? ran_ms : watch->silence_ms;
}

static enum apmp_watch_verdict judge(struct apmp_watch *watch, const struct apmp_sight *sight,
				     uint64_t hung_ms)
{
	uint64_t silence_ms = counted_ms(watch, sight);

	if (silence_ms < APMP_WATCH_NOTE_MS)
		return APMP_WATCH_WAIT;
	if (sight->tracer) {
		bool news = !watch->held;

		watch->silence_ms = 0;
		watch->held = watch->noted = true;
		return news ? APMP_WATCH_HELD : APMP_WATCH_WAIT;
	}
	if (silence_ms >= hung_ms) {
		watch->killed = true;
		return APMP_WATCH_KILL;
	}
	if (watch->noted)
		return APMP_WATCH_WAIT;
	watch->noted = true;
	return APMP_WATCH_NOTE;
}

enum apmp_watch_verdict apmp_watch_tick(struct apmp_watch *watch, uint64_t now_ms,
					const struct apmp_sight *sight, uint64_t hung_ms)
{
	uint64_t elapsed_ms = now_ms - watch->tick_ms;

	elapsed_ms -= watch->busy_ms < elapsed_ms ? watch->busy_ms : elapsed_ms;
	watch->busy_ms = 0;
	watch->tick_ms = now_ms;
	if (watch->answered == watch->asked) {
		watch->asked++;
		watch->silence_ms = 0;
		return APMP_WATCH_ASK;
	}
	if (elapsed_ms > APMP_WATCH_LATE_MS || watch->killed || !sight->state)
		return APMP_WATCH_WAIT;
	if (watch->silence_ms == 0)
		watch->cpu_time_ns = sight->cpu_time_ns;
	watch->silence_ms += elapsed_ms;
	return judge(watch, sight, hung_ms);
}

bool apmp_watch_answer(struct apmp_watch *watch, uint64_t number)
{
	bool ends;

	if (number <= watch->answered || number > watch->asked)
		return false;
	watch->answered = number;
	ends = watch->noted && watch->answered == watch->asked;
	if (ends)
		watch->noted = watch->held = false;
	return ends;
}

void apmp_watch_busy(struct apmp_watch *watch, uint64_t ms)
{
	watch->busy_ms += ms;
}

void apmp_watch_sign(struct apmp_watch *watch)
{
	if (watch->answered == 0)
		watch->silence_ms = 0;
}
