/* move_cpus.c - a program sees the loads of the members of its sharing set, and moves CPUs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/app/connect.h"

_Static_assert(APMP_APP_PARTITIONS == APMP_MAX_PARTITIONS, "all members fit");
_Static_assert(sizeof(struct apmp_app_cpu_set) == sizeof(struct apmp_cpu_bits), "all CPUs fit");

struct apmp_app_cpus {
	int sock;
	struct apmp_app_partition self;
	struct apmp_app_reply reply; /* the last one */
};

int apmp_app_cpus_open(struct apmp_app_cpus **ret_cpus)
{
	struct apmp_app_cpus *cpus = calloc(1, sizeof(*cpus));
	int err = cpus ? apmp__app_connect(APMP_APP_CPUS, 0, &cpus->sock, &cpus->self) : -ENOMEM;

	if (err)
		free(cpus);
	else
		*ret_cpus = cpus;
	return err;
}

void apmp_app_cpus_close(struct apmp_app_cpus *cpus)
{
	if (!cpus)
		return;
	close(cpus->sock);
	free(cpus);
}

const struct apmp_app_partition *apmp_app_cpus_self(const struct apmp_app_cpus *cpus)
{
	return &cpus->self;
}

int apmp_app_cpus_fd(const struct apmp_app_cpus *cpus)
{
	return cpus->sock;
}

const char *apmp_app_cpus_sentence(const struct apmp_app_cpus *cpus)
{
	return cpus->reply.text;
}

static int ask(struct apmp_app_cpus *cpus, uint32_t op, uint32_t number, uint32_t to,
	       uint32_t flags)
{
	const struct apmp_app_request request = {
	    .version = APMP_APP_VERSION, .op = op, .lock = number, .rank = to, .timeout_ns = flags};

	return apmp__app_ask(cpus->sock, &request, &cpus->reply);
}

/* One of the messages behind the answer. */
static int receive_load(struct apmp_app_cpus *cpus, struct apmp_app_load *ret_load)
{
	struct apmp_app_member_load load;
	int err;

	do
		err = apmp__app_receive(cpus->sock, &load, sizeof(load));
	while (err == -EINTR);
	if (err)
		return err;
	if (load.version != APMP_APP_VERSION)
		return -EPROTO;
	*ret_load = (struct apmp_app_load){
	    .partition = {.id = load.partition, .incarnation = load.incarnation},
	    .self = load.partition == cpus->self.id,
	    .depth = load.depth};
	memcpy(ret_load->partition.name, load.name, sizeof(ret_load->partition.name) - 1);
	memcpy(&ret_load->active, load.active, sizeof(ret_load->active));
	memcpy(&ret_load->potential, load.potential, sizeof(ret_load->potential));
	for (uint32_t w = 0; w < APMP_MAX_CPUS / 64u; w++)
		ret_load->cpu_count += (uint32_t)__builtin_popcountll(load.active[w]);
	return 0;
}

int apmp_app_cpus_load(struct apmp_app_cpus *cpus,
		       struct apmp_app_load ret_load[APMP_APP_PARTITIONS])
{
	int err = ask(cpus, APMP_APP_LOADS, 0, 0, 0);
	uint32_t count = cpus->reply.lock;

	if (!err && count > APMP_APP_PARTITIONS)
		err = -EPROTO;
	for (uint32_t i = 0; i < count && !err; i++)
		err = receive_load(cpus, &ret_load[i]);
	if (err && !cpus->reply.error)
		snprintf(cpus->reply.text, sizeof(cpus->reply.text), "%s", apmp_app_explain(err));
	return err ? err : (int)count;
}

int apmp_app_cpus_give(struct apmp_app_cpus *cpus, uint32_t cpu, uint32_t to, uint32_t flags,
		       uint32_t *ret_cpu)
{
	int err = ask(cpus, APMP_APP_GIVE, cpu + 1, to, flags); /* any: 0 */

	if (!err && ret_cpu)
		*ret_cpu = cpus->reply.lock;
	return err;
}

int apmp_app_cpus_wish(struct apmp_app_cpus *cpus, uint32_t count)
{
	int err = ask(cpus, APMP_APP_WISH, count, 0, 0);

	return err ? err : (int)cpus->reply.lock;
}
