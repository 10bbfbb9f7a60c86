/*
 * instance_env.c - the world of libapmp in a real instance: the host, and the console's channel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "instance/instance.h"
#include "shm/assert.h"
#include "shm/wire/beacon_futex.h"
#include "shm/wire/linux_env.h"

static _Thread_local uint32_t this_thread;

void instance_thread_is(uint32_t thread)
{
	this_thread = thread;
	instance_crash_thread(thread);
}

uint32_t instance_thread(void)
{
	return this_thread;
}

void instance_beacon(struct instance *in, uint32_t idx)
{
	/* Refused: the box sees the end of this thread when the process is reaped. */
	if (apmp_beacon_futex_light(in->recorder, idx))
		instance_say(in, "no death beacon for thread %u", idx);
}

static struct instance *instance_of(struct apmp_env *env)
{
	return (struct instance *)env; /* env is its first member */
}

static int env_call(struct apmp_env *env, struct apmp_call *call)
{
	call->request.identity = env->self;
	call->request.thread = this_thread;
	return channel_call(&instance_of(env)->channel, call);
}

/* at NULL: anywhere. */
static int map(struct apmp_env *env, uint64_t pa, uint64_t size, void *at, void **ret_base)
{
	struct apmp_call call = {.request = {.op = APMP_CALL_MAP, .arg = {pa, size}}};
	int err = env_call(env, &call), prot;
	void *base;

	if (!err)
		err = call.reply.error;
	if (!err && call.fd < 0)
		err = -EBADMSG;
	if (err)
		return err;
	prot = PROT_READ | (call.reply.ret[1] ? PROT_WRITE : 0);
	base = mmap(at, size, prot, MAP_SHARED | (at ? MAP_FIXED : 0), call.fd,
		    (off_t)call.reply.ret[0]);
	err = base == MAP_FAILED ? -errno : 0;
	close(call.fd);
	if (!err)
		*ret_base = base;
	return err;
}

static int env_map(struct apmp_env *env, uint64_t pa, uint64_t size, void **ret_base)
{
	return map(env, pa, size, NULL, ret_base);
}

static int env_map_at(struct apmp_env *env, uint64_t pa, uint64_t size, void *at)
{
	void *base;

	return map(env, pa, size, at, &base);
}

static int env_reserve(struct apmp_env *env, uint64_t size, void **ret_base)
{
	void *base =
	    mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)env;
	if (base == MAP_FAILED)
		return -errno;
	*ret_base = base;
	return 0;
}

static void env_unmap(struct apmp_env *env, void *base, uint64_t size)
{
	(void)env;
	apmp_assert(munmap(base, size) == 0);
}

static void env_point(struct apmp_env *env, enum apmp_point point, uint64_t arg)
{
	apmp_linux_pass(instance_of(env)->recorder, point, this_thread, arg);
}

static void env_report(struct apmp_env *env, uint32_t report, uint64_t about)
{
	struct apmp_call_request request = {.identity = env->self,
					    .op = APMP_CALL_REPORT,
					    .thread = this_thread,
					    .arg = {report, about}};

	/* A channel full of reports has a console that is away; the next one looks for itself. */
	if (channel_tell(&instance_of(env)->channel, &request))
		instance_of(env)->reports_lost++;
}

void instance_env_init(struct instance *in)
{
	in->env = (struct apmp_env){.now = apmp_linux_now,
				    .wait = apmp_linux_wait,
				    .wake = apmp_linux_wake,
				    .call = env_call,
				    .map = env_map,
				    .reserve = env_reserve,
				    .map_at = env_map_at,
				    .unmap = env_unmap,
				    .point = env_point,
				    .report = env_report};
	/* Looks of a nanosecond; a lock that is held longer is not worth the CPU. */
	in->env.spin = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 50 : 0;
	if (apmp_linux_has_fence_all())
		in->env.fence_all = apmp_linux_fence_all;
	/* A console port whose other end is full must not stop a CPU. */
	(void)fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK | O_RDWR);
}

void instance_say(struct instance *in, const char *format, ...)
{
	char line[512];
	va_list args;
	int n, head = snprintf(line, sizeof(line), "%s: ", in->member.name);

	va_start(args, format);
	n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
	va_end(args);
	if (n < 0)
		return;
	n = head + n < (int)sizeof(line) - 1 ? head + n : (int)sizeof(line) - 2;
	line[n++] = '\n';
	n = (int)write(STDOUT_FILENO, line, (size_t)n); /* lost when the port is full */
	(void)n;
}
