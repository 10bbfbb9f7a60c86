/*
 * tasks.c - the scheduler of an instance: which task runs on which CPU [0225].
 *
 * WHAT      A task is a thread that runs only while a CPU has given it the baton.  CPUs that are
 *           active pull from one queue, first come, first served: a CPU is open from the first time
 *           that its thread waits for interrupts until it is quiesced, and an open CPU without a
 *           task gets the next one that may run there.  Whoever makes a task ready, ends one or
 *           opens a CPU hands the batons out; the threads of CPUs are not woken for that, and serve
 *           interrupts beside the task of their CPU.
 * STATES    of a task's place: free -> beginning -> ready -> running -> ready (quantum over, it
 *           yields, its CPU leaves) | waiting (for its children) -> ready | free (it has ended).
 * WRITERS   The queue and all states: under the lock.  The baton: who dispatches the task puts the
 *           CPU in, and its own thread takes it out.  So a task gives its CPU back itself: who
 *           wants that sets `due` and interrupts it (task_thread.c).  A CPU that is quiesced does
 *           not depend on that: from a task that the interrupt can't reach, as the kernel says of
 *           its thread, it takes the baton.  That thread is moved to the host CPU under the
 *           primary, which stays, and runs on there until it hears the interrupt or wants
 *           something of us; then it waits for a baton like any other.
 * LOCKS     lock: the above.  Nobody waits while he has it, no task is put aside, and the clock,
 *           which waits for nobody, does without.
 * ORDERING  What a task is to run is written before its baton (release), acquired by its thread;
 *           `due` before the signal.  A CPU that is quiesced is closed first: a task that sees
 *           `due` sees that.
 * CRASHES   All this is private and ends with the instance; which tasks there were, in which state
 *           and where, is in its flight recorder.
 * LIMITS    TASKS_MAX tasks.  The quantum is counted only while some task is ready: a task that has
 *           run alone for long still has a whole one when another comes.  A task that can't be
 *           interrupted keeps its CPU from other tasks until the CPU leaves.
 * NOT HERE  How a task is stopped between two instructions: task_thread.c.
 */
#include "instance/tasks.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "instance/instance.h"
#include "shm/shared.h"

static uint32_t place_of(const struct tasks *ts, const struct task *task)
{
	return (uint32_t)(task - ts->task);
}

void tasks_init(struct instance *in)
{
	struct tasks *ts = &in->tasks;

	pthread_mutex_init(&ts->lock, NULL);
	for (uint32_t i = 0; i < TASKS_MAX; i++)
		ts->task[i].in = in;
	task_threads_init();
}

/* ---- what it leaves behind when the instance ends ---- */

static struct apmp_recorder_task *record_of(const struct task *task)
{
	return &task->in->recorder->task[place_of(&task->in->tasks, task)];
}

/* It is in another state, on another CPU, or bound to another. */
static void record(const struct task *task)
{
	struct apmp_recorder_task *r = record_of(task);

	apmp_store_relaxed(&r->state, task->state);
	apmp_store_relaxed(&r->cpu, apmp_load_relaxed(&task->baton));
	apmp_store_relaxed(&r->bound, task->bound);
	if (task->state == TASK_FREE)
		apmp_store_relaxed(&r->number, 0);
}

static void record_begin(const struct task *task)
{
	struct apmp_recorder_task *r = record_of(task);

	memcpy(r->program, task->job->name, sizeof(r->program));
	/* Release: what has a number has the name of its own program. */
	apmp_store_release(&r->number, task->self.number);
}

/* ---- the queue ---- */

static bool may_run_on(const struct task *task, uint32_t cpu_idx)
{
	return !task->bound || task->bound == cpu_idx + 1;
}

static void enqueue(struct tasks *ts, struct task *task)
{
	task->state = TASK_READY;
	task->next = NULL;
	record(task);
	if (ts->last)
		ts->last->next = task;
	else
		ts->first = task;
	ts->last = task;
	apmp_fetch_add(&ts->ready, 1);
}

/* The first that may run there; it stays in the queue.  Also the one before it. */
static struct task *find_for(struct tasks *ts, uint32_t cpu_idx, struct task **ret_before)
{
	struct task *before = NULL, *task = ts->first;

	while (task && !may_run_on(task, cpu_idx)) {
		before = task;
		task = task->next;
	}
	*ret_before = before;
	return task;
}

static struct task *take_for(struct tasks *ts, uint32_t cpu_idx)
{
	struct task *before, *task = find_for(ts, cpu_idx, &before);

	if (!task)
		return NULL;
	if (before)
		before->next = task->next;
	else
		ts->first = task->next;
	if (ts->last == task)
		ts->last = before;
	apmp_fetch_add(&ts->ready, (uint32_t)-1);
	return task;
}

/* ---- batons ---- */

/* Puts its thread on the host CPU under the CPU, before this returns; only steers speed, so a
 * refusal is none. */
static void pin(struct tasks *ts, struct task *task, uint32_t cpu_idx)
{
	uint32_t host_cpu = apmp_load_relaxed(&task->in->hwrpb->slot[cpu_idx].host_cpu);
	cpu_set_t set;

	if ((task->pins == ts->pins && task->pinned == host_cpu) || host_cpu >= CPU_SETSIZE)
		return;
	task->pins = ts->pins;
	task->pinned = host_cpu;
	CPU_ZERO(&set);
	CPU_SET(host_cpu, &set);
	(void)sched_setaffinity(apmp_load_relaxed(&task->tid), sizeof(set), &set);
}

/* The CPU is open and has none. */
static void dispatch(struct tasks *ts, struct task *task, uint32_t cpu_idx)
{
	struct apmp_env *env = &task->in->env;

	task->state = TASK_RUNNING;
	apmp_store_relaxed(&task->ticks, 0);
	apmp_store_relaxed(&task->due, 0);
	apmp_store_release(&ts->cpu[cpu_idx].running, place_of(ts, task) + 1);
	pin(ts, task, cpu_idx);
	/* Acquired by its thread. */
	apmp_store_release(&task->baton, cpu_idx + 1);
	record(task);
	env->wake(env, &task->baton, 1);
}

/* Gives all CPUs that have no task one, as far as there are any. */
static void hand_out(struct instance *in)
{
	struct tasks *ts = &in->tasks;
	uint32_t count = apmp_load_relaxed(&in->hwrpb->cpu_count);

	for (uint32_t i = 0; i < count && i < APMP_MAX_CPUS && ts->first; i++) {
		struct tasks_cpu *cpu = &ts->cpu[i];
		struct task *task = NULL;

		if (apmp_load_relaxed(&cpu->open) && !apmp_load_relaxed(&cpu->running))
			task = take_for(ts, i);
		if (task)
			dispatch(ts, task, i);
	}
}

/* It lets go of its CPU, and is in this state from now on. */
static void put_down(struct task *task, enum task_state state)
{
	struct instance *in = task->in;
	struct tasks *ts = &in->tasks;
	uint32_t cpu_idx = apmp_load_relaxed(&task->baton) - 1;
	struct tasks_cpu *cpu = &ts->cpu[cpu_idx];
	bool open = apmp_load_relaxed(&cpu->open);
	struct task *next = open ? take_for(ts, cpu_idx) : NULL;

	apmp_store_relaxed(&task->baton, 0);
	task->state = state;
	record(task);
	apmp_store_release(&cpu->running, 0);
	if (!open) /* its CPU's thread waits for that */
		in->env.wake(&in->env, &cpu->running, 1);
	if (next)
		dispatch(ts, next, cpu_idx);
	if (state == TASK_READY)
		enqueue(ts, task);
	else
		apmp_fetch_add(&ts->depth, (uint32_t)-1);
	hand_out(in);
}

void task_await(struct task *task)
{
	struct apmp_env *env = &task->in->env;

	while (!apmp_load_acquire(&task->baton))
		(void)env->wait(env, &task->baton, 0, APMP_NEVER);
	/* The CPU has been looked at, and leaves. */
	if (instance_crash_begun(&task->in->crash))
		instance_crash_wait(task->in);
}

/* Takes the lock when its thread, which is the caller, has a CPU.  One from which it was taken away
 * has to wait for the next. */
static void lock_with_cpu(struct task *task)
{
	struct tasks *ts = &task->in->tasks;

	pthread_mutex_lock(&ts->lock);
	while (!apmp_load_relaxed(&task->baton)) {
		pthread_mutex_unlock(&ts->lock);
		task_await(task);
		pthread_mutex_lock(&ts->lock);
	}
}

void task_yield(struct task *task)
{
	struct tasks *ts = &task->in->tasks;
	struct task *before;
	uint32_t cpu_idx;

	lock_with_cpu(task);
	cpu_idx = apmp_load_relaxed(&task->baton) - 1;
	apmp_store_relaxed(&task->due, 0);
	apmp_store_relaxed(&task->ticks, 0);
	if (!apmp_load_relaxed(&ts->cpu[cpu_idx].open) || !may_run_on(task, cpu_idx) ||
	    find_for(ts, cpu_idx, &before))
		put_down(task, TASK_READY);
	pthread_mutex_unlock(&ts->lock);
	task_await(task);
}

int task_join(struct task *task)
{
	struct tasks *ts = &task->in->tasks;
	int failed;

	lock_with_cpu(task);
	if (task->children)
		put_down(task, TASK_WAITING);
	pthread_mutex_unlock(&ts->lock);
	task_await(task);
	pthread_mutex_lock(&ts->lock);
	failed = (int)task->failed;
	task->failed = 0;
	pthread_mutex_unlock(&ts->lock);
	return failed;
}

/* ---- binding ---- */

/* Where the console finds whom to name: one of those that are bound to a CPU. */
static void publish_bound(struct instance *in, uint32_t bound)
{
	const struct tasks *ts = &in->tasks;
	uint64_t number = 0;

	for (uint32_t i = 0; i < TASKS_MAX && !number; i++)
		if (ts->task[i].bound == bound)
			number = ts->task[i].self.number;
	apmp_store_relaxed(&in->hwrpb->slot[bound - 1].bound, (uint32_t)number);
}

static void set_bound(struct tasks *ts, struct task *task, uint32_t bound)
{
	uint32_t before = task->bound;

	task->bound = bound;
	if (before) {
		apmp_fetch_add(&ts->cpu[before - 1].bound, (uint32_t)-1);
		publish_bound(task->in, before);
	}
	if (bound) {
		apmp_fetch_add(&ts->cpu[bound - 1].bound, 1);
		publish_bound(task->in, bound);
	}
	record(task);
}

/* Whether a task can be bound to CPU bound - 1, or to none. */
static bool may_bind(const struct tasks *ts, uint32_t bound)
{
	return !bound || (bound <= APMP_MAX_CPUS && apmp_load_relaxed(&ts->cpu[bound - 1].open));
}

int task_bind(struct task *task, uint32_t bound)
{
	struct tasks *ts = &task->in->tasks;
	bool may;

	lock_with_cpu(task);
	may = may_bind(ts, bound);
	if (may)
		set_bound(ts, task, bound);
	pthread_mutex_unlock(&ts->lock);
	if (!may)
		return -ENODEV;
	task_yield(task); /* which takes it there */
	return 0;
}

/* ---- beginning and end ---- */

int task_place(struct instance *in, struct task_job *job, struct task **ret_task)
{
	struct tasks *ts = &in->tasks;
	struct task *task = NULL;
	int err = -EAGAIN;

	pthread_mutex_lock(&ts->lock);
	for (uint32_t i = 0; i < TASKS_MAX && !(task && task->has_thread); i++)
		if (ts->task[i].state == TASK_FREE && (!task || ts->task[i].has_thread))
			task = &ts->task[i];
	if (apmp_load_relaxed(&job->ending))
		err = -ECANCELED;
	else if (task)
		err = 0;
	if (!err) {
		task->state = TASK_BEGINNING;
		task->job = job;
		job->alive++;
		*ret_task = task;
	}
	pthread_mutex_unlock(&ts->lock);
	return err;
}

void task_place_free(struct task *task)
{
	struct tasks *ts = &task->in->tasks;

	pthread_mutex_lock(&ts->lock);
	task->state = TASK_FREE;
	task->job->alive--;
	pthread_mutex_unlock(&ts->lock);
}

int task_put(struct task *task, struct task *parent, uint32_t bound, uint64_t *ret_number)
{
	struct tasks *ts = &task->in->tasks;
	bool may;

	pthread_mutex_lock(&ts->lock);
	may = may_bind(ts, bound);
	if (may) {
		*ret_number = task->self.number = ++ts->numbers;
		if (!task->job->number)
			task->job->number = task->self.number;
		task->parent = parent;
		task->children = task->failed = 0;
		if (parent)
			parent->children++;
		set_bound(ts, task, bound);
		record_begin(task); /* with the state that it has by now */
		apmp_fetch_add(&ts->depth, 1);
		enqueue(ts, task);
		hand_out(task->in);
	}
	pthread_mutex_unlock(&ts->lock);
	return may ? 0 : -ENODEV;
}

static void ask_to_end(struct tasks *ts, struct task_job *job)
{
	if (apmp_load_relaxed(&job->ending) || apmp_load_relaxed(&job->done))
		return;
	apmp_store_relaxed(&job->ending, 1);
	apmp_fetch_add(&ts->ending, 1);
}

void task_job_end(struct instance *in, struct task_job *job)
{
	struct tasks *ts = &in->tasks;

	pthread_mutex_lock(&ts->lock);
	ask_to_end(ts, job);
	pthread_mutex_unlock(&ts->lock);
}

/* Its children are nobody's from now on. */
static void disown_children(struct tasks *ts, const struct task *task)
{
	for (uint32_t i = 0; i < TASKS_MAX && task->children; i++)
		if (ts->task[i].parent == task)
			ts->task[i].parent = NULL;
}

static void tell_parent(struct tasks *ts, const struct task *task)
{
	struct task *parent = task->parent;

	if (!parent)
		return;
	parent->failed += task->value != 0;
	if (--parent->children || parent->state != TASK_WAITING)
		return;
	apmp_fetch_add(&ts->depth, 1);
	enqueue(ts, parent);
}

/* Whether it was the last of its job. */
static bool end_in_job(struct tasks *ts, const struct task *task)
{
	struct task_job *job = task->job;

	if (task->self.number == job->number) {
		job->value = task->value;
		ask_to_end(ts, job);
	}
	if (--job->alive)
		return false;
	if (apmp_load_relaxed(&job->ending))
		apmp_fetch_add(&ts->ending, (uint32_t)-1);
	return true;
}

void task_finish(struct task *task)
{
	struct tasks *ts = &task->in->tasks;
	struct task_job *job = task->job;
	bool last;

	lock_with_cpu(task);
	disown_children(ts, task);
	tell_parent(ts, task);
	task->parent = NULL;
	set_bound(ts, task, 0);
	last = end_in_job(ts, task);
	put_down(task, TASK_FREE);
	/* Acquired by who then unloads the program. */
	if (last)
		apmp_store_release(&job->done, 1);
	pthread_mutex_unlock(&ts->lock);
	if (last)
		instance_apps_ring(task->in);
	task_await(task);
}

/* ---- CPUs ---- */

static void open_cpu(struct instance *in, struct tasks_cpu *cpu)
{
	struct tasks *ts = &in->tasks;

	pthread_mutex_lock(&ts->lock);
	apmp_store_relaxed(&cpu->open, 1);
	apmp_fetch_add(&ts->open_count, 1);
	hand_out(in);
	pthread_mutex_unlock(&ts->lock);
}

uint64_t instance_tasks_wait(struct instance *in, uint32_t cpu_idx)
{
	struct tasks_cpu *cpu = &in->tasks.cpu[cpu_idx];

	if (!apmp_load_relaxed(&cpu->open)) /* only this thread changes it */
		open_cpu(in, cpu);
	/* No deadline: a CPU that nobody interrupts uses no host CPU. */
	return apmp_intr_wait(&in->env, cpu_idx, APMP_NEVER);
}

/* Closes it.  -ETXTBSY. */
static int close_cpu(struct tasks *ts, struct tasks_cpu *cpu)
{
	int err = 0;

	pthread_mutex_lock(&ts->lock);
	if (apmp_load_relaxed(&cpu->bound)) {
		err = -ETXTBSY;
	} else if (apmp_load_relaxed(&cpu->open)) {
		apmp_store_relaxed(&cpu->open, 0);
		apmp_fetch_add(&ts->open_count, (uint32_t)-1);
		ts->pins++; /* with the CPU its host CPU may go */
	}
	pthread_mutex_unlock(&ts->lock);
	return err;
}

/* From a task that can't be interrupted, unless it has let go. */
static void take_away(struct tasks *ts, const struct tasks_cpu *cpu, struct task *task)
{
	pthread_mutex_lock(&ts->lock);
	if (apmp_load_relaxed(&cpu->running) == place_of(ts, task) + 1) {
		pin(ts, task, task->in->primary);
		put_down(task, TASK_READY);
	}
	pthread_mutex_unlock(&ts->lock);
}

int instance_tasks_quiesce(struct instance *in, uint32_t cpu_idx)
{
	struct tasks *ts = &in->tasks;
	struct tasks_cpu *cpu = &ts->cpu[cpu_idx];
	uint32_t running;
	int err = close_cpu(ts, cpu);

	if (err)
		return err;
	while ((running = apmp_load_acquire(&cpu->running))) {
		struct task *task = &ts->task[running - 1];

		apmp_store_release(&task->due, 1);
		task_interrupt(task);
		/* The time only says when to look at it, and to try again. */
		if (in->env.wait(&in->env, &cpu->running, running,
				 in->env.now(&in->env) + in->timing.tick_ns) &&
		    !task_hears(task))
			take_away(ts, cpu, task);
	}
	return 0;
}

bool instance_tasks_bound(struct instance *in, uint32_t cpu_idx)
{
	return apmp_load_acquire(&in->tasks.cpu[cpu_idx].bound);
}

bool instance_tasks_on(const struct instance *in, uint32_t cpu_idx, struct instance_task_on *ret_on)
{
	uint32_t running = apmp_load_acquire(&in->tasks.cpu[cpu_idx].running);
	const struct task *task;

	if (!running)
		return false;
	task = &in->tasks.task[running - 1];
	*ret_on = (struct instance_task_on){.number = task->self.number,
					    .tid = (int)apmp_load_relaxed(&task->tid),
					    .program = task->job->program,
					    .program_end = task->job->text_end};
	memcpy(ret_on->name, task->job->name, sizeof(task->job->name) - 1);
	return true;
}

uint32_t instance_tasks_depth(const struct instance *in)
{
	return apmp_load_relaxed(&in->tasks.depth) +
	       (uint32_t)apmp_load_relaxed(&in->hwrpb->programs);
}

static void count_grace(struct tasks *ts)
{
	for (uint32_t i = 0; i < TASKS_MAX; i++) {
		struct task_job *job = &ts->job[i];

		if (apmp_load_relaxed(&job->ending) && apmp_load_relaxed(&job->grace) < TASK_GRACE)
			apmp_fetch_add(&job->grace, 1);
	}
}

/* Whose quantum is over sees to it by itself.  It may have let go by now: then it is interrupted
 * for nothing. */
static void count_quantum(struct task *task)
{
	if (apmp_fetch_add(&task->ticks, 1) + 1 < TASK_QUANTUM)
		return;
	apmp_store_release(&task->due, 1);
	task_interrupt(task);
}

void instance_tasks_tick(struct instance *in)
{
	struct tasks *ts = &in->tasks;
	bool ending = apmp_load_relaxed(&ts->ending);
	uint32_t count = apmp_load_relaxed(&in->hwrpb->cpu_count);

	if (!ending && !apmp_load_relaxed(&ts->ready))
		return;
	if (ending)
		count_grace(ts);
	for (uint32_t i = 0; i < count && i < APMP_MAX_CPUS; i++) {
		uint32_t running = apmp_load_acquire(&ts->cpu[i].running);

		if (running)
			count_quantum(&ts->task[running - 1]);
	}
}
