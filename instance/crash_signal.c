/*
 * crash_signal.c - how an instance learns that it fails, and what is told of it.
 *
 * WHAT      Panics, the signals of a fault and a task's exit(3) end here, in the thread that has
 *           it, and CRASH_SIGNAL, by which the primary takes control of the others
 *           (instance_crash.c).  Handlers of signals run on stacks of their own.
 * LIMITS    A signal that some process sent strikes a thread with which nothing is wrong: it goes
 *           on where it is no CPU's, so that the heartbeat is not lost with the clock's.
 *           A task that calls _exit(2) or ends its thread is not seen here.  One whose CPU was
 *           taken away (tasks.c) fails as a part of what serves programs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "instance/crash_internal.h"
#include "shm/shared.h"
#include "shm/wire/linux_env.h"

#define CRASH_SIGNAL SIGUSR2
#define STACK_SIZE   (32u << 10)  /* what a handler needs, and what the host's registers take */
#define STACKS	     APMP_BEACONS /* one for each thread */

static struct instance *the_one; /* a handler gets no argument */
static _Atomic int tids[APMP_MAX_CPUS];
static _Atomic uint32_t stacks_used;
static _Alignas(64) unsigned char stacks[STACKS][STACK_SIZE];

static const struct {
	int signal;
	const char *name;
} fatal[] = {{SIGSEGV, "SIGSEGV"},
	     {SIGBUS, "SIGBUS"},
	     {SIGFPE, "SIGFPE"},
	     {SIGILL, "SIGILL"},
	     {SIGABRT, "SIGABRT"}};

#define FATAL (sizeof(fatal) / sizeof(fatal[0]))

void instance_crash_thread(uint32_t thread)
{
	uint32_t mine = apmp_fetch_add(&stacks_used, 1);
	stack_t stack = {.ss_sp = stacks[mine % STACKS], .ss_size = STACK_SIZE};

	if (thread < APMP_MAX_CPUS)
		apmp_store_release(&tids[thread], gettid());
	if (mine < STACKS)
		(void)sigaltstack(&stack, NULL); /* refused: handlers run on the thread's own */
}

int crash_tid(uint32_t cpu_idx)
{
	return apmp_load_acquire(&tids[cpu_idx]);
}

void crash_catch(int tid)
{
	/* One that has no thread, or whose thread has ended, is waited for in vain, not long. */
	if (tid)
		(void)syscall(SYS_tgkill, getpid(), tid, CRASH_SIGNAL);
}

struct crash_self crash_self(struct instance *in)
{
	struct crash_self self = {.thread = instance_thread()};
	const int tid = gettid();
	struct instance_task_on on;

	self.is_cpu = self.thread < APMP_MAX_CPUS && crash_tid(self.thread) == tid;
	for (uint32_t i = 0; !self.is_cpu && i < apmp_load_relaxed(&in->hwrpb->cpu_count); i++) {
		if (!instance_tasks_on(in, i, &on) || on.tid != tid)
			continue;
		self.thread = i;
		self.task = on.number;
		memcpy(self.task_name, on.name, sizeof(self.task_name));
		break;
	}
	return self;
}

static void add_task(struct crash_line *line, const struct crash_self *self)
{
	crash_line_add(line, "task ");
	crash_line_add_number(line, self->task);
	crash_line_add(line, " (");
	crash_line_add(line, self->task_name);
	crash_line_add(line, ")");
}

static void add_thread(struct crash_line *line, const struct crash_self *self)
{
	if (self->thread < APMP_MAX_CPUS) {
		crash_line_add(line, " on CPU ");
		crash_line_add_number(line, self->thread);
	} else {
		crash_line_add(line, self->thread == APMP_THREAD_CLOCK
					 ? " in the clock"
					 : " in what serves programs");
	}
}

static void add_where(struct crash_line *line, const struct crash_self *self)
{
	if (self->task) {
		crash_line_add(line, " in ");
		add_task(line, self);
	}
	add_thread(line, self);
}

static void describe(struct instance *in, struct apmp_crash *crash, const siginfo_t *info,
		     bool outside)
{
	struct crash_self self = crash_self(in);
	struct crash_line line = {.length = 0};

	for (size_t i = 0; i < FATAL; i++)
		if (fatal[i].signal == (int)crash->signal)
			crash_line_add(&line, fatal[i].name);
	if (outside) {
		crash_line_add(&line, " sent by process ");
		crash_line_add_number(&line, (uint64_t)info->si_pid);
	} else if (crash->signal != SIGABRT) {
		crash->address = (uintptr_t)info->si_addr;
		crash_line_add(&line, " at ");
		crash_line_add_address(&line, crash->address);
	}
	add_where(&line, &self);
	memcpy(crash->text, line.text, sizeof(crash->text) - 1);
}

static void on_fault(int signal, siginfo_t *info, void *uc)
{
	struct apmp_crash crash = {.reason = HWRPB_CRASH_SIGNAL, .signal = (uint32_t)signal};
	const bool outside = info->si_code <= 0 && info->si_pid != getpid();
	const int interrupted = errno;

	if (outside && crash_entered())
		return; /* it fails already, by itself */
	if (crash_enter() == 1)
		describe(the_one, &crash, info, outside);
	else /* it may be describe() that fails */
		strncpy(crash.text, "a fault in what is done because of a fault",
			sizeof(crash.text) - 1);
	crash_fail(the_one, &crash, uc, outside);
	errno = interrupted;
}

static void on_panic(const char *text)
{
	struct crash_self self = crash_self(the_one);
	struct crash_line line = {.length = 0};

	crash_line_add(&line, text);
	add_where(&line, &self);
	instance_crash(the_one, HWRPB_CRASH_ASSERTION, line.text);
}

/* The instance itself never calls exit(3).  Not in a signal handler, but its callers are as careful
 * as in one: other tasks may have been put aside with any lock. */
__attribute__((noreturn)) static void end_by_task(const char *call, int status)
{
	struct crash_line line = {.length = 0};
	struct crash_self self;
	sigset_t all;

	/* What the task has printed; what another one is just at is lost. */
	if (ftrylockfile(stdout) == 0) {
		(void)fflush_unlocked(stdout);
		funlockfile(stdout);
	}
	sigfillset(&all); /* it is not put aside any more, but can be caught */
	sigdelset(&all, CRASH_SIGNAL);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
	self = crash_self(the_one);
	if (self.task)
		add_task(&line, &self);
	else
		crash_line_add(&line, "a thread that is no task's");
	crash_line_add(&line, " called ");
	crash_line_add(&line, call);
	if (status >= 0)
		crash_line_add_number(&line, (uint64_t)status);
	crash_line_add(&line, ")");
	add_thread(&line, &self);
	instance_crash(the_one, HWRPB_CRASH_EXIT, line.text);
}

static void on_exit_called(int status, void *arg)
{
	(void)arg;
	end_by_task("exit(", status & 0xff);
}

static void on_quick_exit(void)
{
	end_by_task("quick_exit(", -1); /* its handlers are not told the status */
}

static void on_catch(int signal, siginfo_t *info, void *uc)
{
	const int interrupted = errno;

	(void)signal;
	(void)info;
	crash_caught(the_one, uc);
	errno = interrupted;
}

int instance_living(int err)
{
	if (err == -EOWNERDEAD)
		instance_crash(the_one, HWRPB_CRASH_REMOVED, "judged dead by the others");
	return err;
}

void instance_crash_init(struct instance *in)
{
	struct sigaction fault = {.sa_sigaction = on_fault,
				  .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	struct sigaction caught = {.sa_sigaction = on_catch, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	the_one = in;
	/* Who has failed is not caught as well, and no task is put aside; but a fault in a handler
	 * is seen. */
	sigfillset(&fault.sa_mask);
	for (size_t i = 0; i < FATAL; i++)
		sigdelset(&fault.sa_mask, fatal[i].signal);
	caught.sa_mask = fault.sa_mask;
	for (size_t i = 0; i < FATAL; i++)
		(void)sigaction(fatal[i].signal, &fault, NULL); /* it can't fail */
	(void)sigaction(CRASH_SIGNAL, &caught, NULL);
	(void)on_exit(on_exit_called, NULL); /* no memory for it: a silent death as before */
	(void)at_quick_exit(on_quick_exit);
	apmp_linux_panic_by(on_panic);
}
