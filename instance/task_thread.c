/*
 * task_thread.c - the thread of a task: how it begins, is put aside, asks for services and ends.
 *
 * WHAT      A thread in the instance with a stack in private memory.  It runs the program only
 *           while it has the baton of a CPU (tasks.c).  Who wants the CPU back sets `due` and sends
 *           a signal, whose handler lets go of the baton and waits for the next one: so a task can
 *           be put aside between any two instructions, also in the middle of the C library or of a
 *           system call, which goes on afterwards (a wait with a time ends with EINTR).  SIGURG, as
 *           no program needs it, debuggers pass over it, and one that is pending already is as good
 *           as two.
 * STATES    of a thread: inside (ours: waits for the baton, or serves its program; not to be put
 *           aside, for it may have the scheduler's lock) -> outside (the program's code, or the C
 *           library's on its behalf) -> inside (service, handler, end).
 * LOCKS     A task that is put aside keeps what it had: malloc's locks, those of stdio, its own.
 *           That stops no CPU, as a CPU's thread takes none of them on the way to or from a task,
 *           and so the task will run again and let go.  What may have to wait for that: the thread
 *           of programs, which loads, and the primary when it gets a new CPU a thread.  The clock,
 *           and threads on their way out, never do.
 * ORDERING  `inside` is set and read by the thread and its own signal handler: the compiler alone
 *           could reorder them.  `due` is read behind the store of `inside`, so that a signal is
 *           either seen by its handler or by who comes out.
 * CRASHES   A fault of a task is one of the instance, and so is its exit(3) (crash_signal.c).
 * LIMITS    A task that is asked to end and has not after TASK_GRACE ticks is made to: at the end
 *           of a quantum, if it is in its own instructions or in apmp_task_write, never in the
 *           middle of a library, which may have locks that others need.  So one that waits in a
 *           library for ever ends with its instance; what one that a library calls back had locked
 *           there, as dl_iterate_phdr does, stays locked.  What it has allocated is not freed.
 *           Thread-local variables of libraries live as long as the thread, which serves task after
 *           task.  A task that blocks SIGURG is not put aside, until it lets the signal in again;
 *           its CPU is taken away from it (tasks.c).  A handler of its own for that signal is lost:
 *           others have to be interrupted, too.  A frame of more than APMP_INSTANCE_STACK_GAP leads
 *           over that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/shared.h"
#include "shm/wire/box.h"

static _Thread_local struct task *this_task;

/* ---- inside and outside ---- */

static void enter(struct task *task)
{
	if (!task)
		return;
	apmp_store_relaxed(&task->inside, 1);
	atomic_signal_fence(memory_order_seq_cst);
}

static void come_out(struct task *task)
{
	atomic_signal_fence(memory_order_seq_cst);
	apmp_store_relaxed(&task->inside, 0);
	atomic_signal_fence(memory_order_seq_cst);
}

static void leave(struct task *task)
{
	if (!task)
		return;
	come_out(task);
	while (apmp_load_acquire(&task->due)) { /* its signal came while it was inside */
		enter(task);
		task_yield(task);
		come_out(task);
	}
}

/* Whether it was interrupted where its end can do no harm to others. */
static bool may_be_ended(const struct task *task, const ucontext_t *context)
{
#if defined(__x86_64__)
	uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	uintptr_t pc = (uintptr_t)context->uc_mcontext.pc;
#endif
	return task->in_write || (pc >= task->job->text && pc < task->job->text_end);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	struct task *task = this_task;
	int before = errno;

	(void)number;
	(void)info;
	if (task && !apmp_load_relaxed(&task->inside) && apmp_load_acquire(&task->due)) {
		enter(task);
		task_yield(task);
		if (apmp_load_relaxed(&task->job->grace) == TASK_GRACE &&
		    may_be_ended(task, context))
			siglongjmp(task->base, 1);
		leave(task);
	}
	errno = before;
}

/* Programs may have taken it. */
static void take_signal(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&action.sa_mask);
	(void)sigaction(SIGURG, &action, NULL);
}

void task_threads_init(void)
{
	take_signal();
	/* The reader of a task's output may go at any time. */
	(void)signal(SIGPIPE, SIG_IGN);
}

void task_interrupt(const struct task *task)
{
	take_signal();
	/* It can't fail: the thread never ends. */
	(void)syscall(SYS_tgkill, getpid(), apmp_load_relaxed(&task->tid), SIGURG);
}

/* Signals that a thread keeps back, as bits; none, where the kernel doesn't say. */
static uint64_t blocked_by(uint32_t tid)
{
	char path[48], text[4096], *field;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%u/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	field = strstr(text, "\nSigBlk:");
	return field ? strtoull(field + strlen("\nSigBlk:"), NULL, 16) : 0;
}

bool task_hears(const struct task *task)
{
	struct sigaction action;

	return sigaction(SIGURG, NULL, &action) == 0 && action.sa_sigaction == on_signal &&
	       !(blocked_by(apmp_load_relaxed(&task->tid)) >> (SIGURG - 1) & 1);
}

/* ---- services ---- */

/* What the program has is the first member. */
static struct task *task_of(const struct apmp_task *self)
{
	return (struct task *)(uintptr_t)self;
}

static void service_yield(struct apmp_task *self)
{
	struct task *task = task_of(self);

	enter(task);
	task_yield(task);
	leave(task);
}

static uint32_t service_cpu(const struct apmp_task *self)
{
	struct task *task = task_of(self);
	uint32_t baton;

	while (!(baton = apmp_load_relaxed(&task->baton)))
		service_yield(&task->self); /* its CPU was taken away */
	return baton - 1;
}

static uint32_t service_cpu_count(const struct apmp_task *self)
{
	return apmp_load_relaxed(&task_of(self)->in->tasks.open_count);
}

static int service_should_end(const struct apmp_task *self)
{
	return apmp_load_relaxed(&task_of(self)->job->ending) != 0;
}

static int service_bind(struct apmp_task *self, uint32_t cpu)
{
	struct task *task = task_of(self);
	int err;

	if (cpu != APMP_TASK_ANY_CPU && cpu >= APMP_MAX_CPUS)
		return -ENODEV;
	enter(task);
	err = task_bind(task, cpu + 1); /* of any: 0 */
	leave(task);
	return err;
}

static int service_spawn(struct apmp_task *self, apmp_task_function *function, void *arg)
{
	struct task *task = task_of(self);
	uint64_t number;

	return task_begin(task->in, task->job, task, function, arg, 0, &number);
}

static int service_join(struct apmp_task *self)
{
	struct task *task = task_of(self);
	int failed;

	enter(task);
	failed = task_join(task);
	leave(task);
	return failed;
}

static int service_write(struct apmp_task *self, const void *data, size_t size)
{
	struct task *task = task_of(self);
	const char *from = data;
	int err = 0;

	task->in_write = true;
	atomic_signal_fence(memory_order_seq_cst);
	while (size && !err) {
		ssize_t n = write(task->job->output, from, size);

		if (n < 0)
			err = errno == EINTR ? 0 : -errno;
		else
			size -= (size_t)n, from += n;
	}
	atomic_signal_fence(memory_order_seq_cst);
	task->in_write = false;
	return err;
}

__attribute__((noreturn)) static void service_exit(struct apmp_task *self, int value)
{
	struct task *task = task_of(self);

	task->value = value;
	enter(task);
	siglongjmp(task->base, 1);
}

static const struct apmp_task_services services = {
    .version = APMP_TASK_VERSION,
    .cpu = service_cpu,
    .cpu_count = service_cpu_count,
    .should_end = service_should_end,
    .yield = service_yield,
    .bind = service_bind,
    .spawn = service_spawn,
    .join = service_join,
    .write = service_write,
    .exit = service_exit,
};

/* ---- beginning and end ---- */

/* One task after the other: a program's value, or what apmp_task_exit said; of one that was made
 * to end TASK_VALUE_ENDED. */
static void *thread_main(void *arg)
{
	struct task *task = arg;
	sigset_t none;

	sigemptyset(&none);
	enter(task);
	this_task = task;
	instance_thread_is(APMP_THREAD_APPS);
	instance_beacon(task->in, APMP_BEACON_TASK + (uint32_t)(task - task->in->tasks.task));
	(void)pthread_setname_np(pthread_self(), "task"); /* for top -H and gdb */
	apmp_store_release(&task->tid, (uint32_t)syscall(SYS_gettid));
	task->in->env.wake(&task->in->env, &task->tid, 1);
	task_await(task);
	for (;;) {
		/* The one before, or who has begun it, may have blocked some: those by which it is
		 * put aside and caught, too. */
		(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
		task->in_write = false;
		task->value = TASK_VALUE_ENDED;
		if (!sigsetjmp(task->base, 1)) {
			leave(task);
			task->value = task->function(&task->self, task->arg);
			enter(task);
		}
		task_finish(task);
	}
	return NULL;
}

/* Its stack.  -ENOMEM. */
static int take_stack(struct task *task)
{
	struct instance *in = task->in;
	struct tasks *ts = &in->tasks;
	uint64_t before;

	if (task->stack)
		return 0;
	/* The other half is for CPUs that come. */
	before = apmp_fetch_add(&ts->stacks, TASK_STACK_SIZE);
	if (before + TASK_STACK_SIZE <= in->stacks_size / 2)
		task->stack = instance_stack_take(in, TASK_STACK_SIZE);
	if (task->stack)
		return 0;
	apmp_fetch_add(&ts->stacks, -TASK_STACK_SIZE);
	return -ENOMEM;
}

static int start_thread(struct task *task)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = take_stack(task);

	if (err)
		return err;
	pthread_attr_init(&attr);
	err = -pthread_attr_setstack(&attr, task->stack, TASK_STACK_SIZE);
	if (!err)
		err = -pthread_create(&thread, &attr, thread_main, task);
	pthread_attr_destroy(&attr);
	/* Who interrupts it needs its number. */
	while (!err && !apmp_load_acquire(&task->tid))
		(void)task->in->env.wait(&task->in->env, &task->tid, 0, APMP_NEVER);
	return err;
}

int task_begin(struct instance *in, struct task_job *job, struct task *parent,
	       apmp_task_function *function, void *arg, uint32_t bound, uint64_t *ret_number)
{
	struct task *self = this_task, *task;
	int err;

	enter(self);
	err = task_place(in, job, &task);
	leave(self);
	if (err)
		return err;
	/* Outside: who is put aside here holds up nobody but who makes threads himself. */
	if (!task->has_thread)
		err = start_thread(task);
	enter(self);
	if (!err) {
		task->has_thread = true;
		task->self.services = &services;
		task->function = function;
		task->arg = arg;
		err = task_put(task, parent, bound, ret_number);
	}
	if (err)
		task_place_free(task);
	leave(self);
	return err;
}
