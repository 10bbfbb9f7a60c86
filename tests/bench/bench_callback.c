/*
 * bench_callback.c - plays an instance (as apmp-instance in APMP_LIBEXEC) and measures callbacks:
 * one LIMITS of the console, one round trip with peer_socket, one LIMITS, ...
 *
 * APMP_BENCH_DIR has the peer's socket ("peer") and one of bench.py ("report"), which sends one
 * byte for each round that it wants, and gets its samples: ns of ours, ns of the peer's, in turns.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "instance/channel.h"
#include "shm/hwrpb.h"
#include "shm/shared.h"
#include "shm/wire/box.h"
#include "shm/wire/linux_env.h"

#define SAMPLES 400u

static struct channel channel;
static uint64_t self;
static int peer;

static int connect_to(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *dir = getenv("APMP_BENCH_DIR");
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (!dir || snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name) >=
			(int)sizeof(address.sun_path))
		errx(2, "APMP_BENCH_DIR is not set, or too long");
	if (sock < 0 || connect(sock, (void *)&address, sizeof(address)) < 0)
		err(1, "%s", address.sun_path);
	return sock;
}

static void learn_identity(void)
{
	const struct hwrpb *h =
	    mmap(NULL, HWRPB_SIZE, PROT_READ, MAP_SHARED, APMP_INSTANCE_HWRPB_FD, 0);

	if (h == MAP_FAILED)
		err(1, "HWRPB");
	self = apmp_load_relaxed(&h->unique);
}

static void report_booted(void)
{
	const struct apmp_call_request request = {
	    .identity = self, .op = APMP_CALL_REPORT, .arg = {APMP_REPORT_BOOTED, self}};

	if (channel_tell(&channel, &request))
		errx(1, "the console does not hear that we have booted");
}

static uint64_t callback(void)
{
	struct apmp_call call = {
	    .request = {.identity = self, .op = APMP_CALL_LIMITS, .arg = {APMP_LIMIT_MIN_ALLOC}}};
	uint64_t begin = apmp_linux_now(NULL), taken;
	int error = channel_call(&channel, &call);

	taken = apmp_linux_now(NULL) - begin;
	if (error || call.reply.error || call.reply.ret[0] != APMP_GRANULE)
		errx(1, "LIMITS: error %d, %d", error, call.reply.error);
	return taken;
}

static uint64_t round_trip(void)
{
	static struct apmp_call_request request;
	struct apmp_call_reply reply;
	uint64_t begin = apmp_linux_now(NULL);

	request.seq++;
	if (send(peer, &request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request) ||
	    recv(peer, &reply, sizeof(reply), 0) != (ssize_t)sizeof(reply))
		err(1, "the peer");
	return apmp_linux_now(NULL) - begin;
}

int main(void)
{
	static uint64_t samples[2 * SAMPLES];
	int report;
	char wanted;

	channel_init(&channel, APMP_INSTANCE_CHANNEL_FD);
	learn_identity();
	peer = connect_to("peer");
	report = connect_to("report");
	report_booted();
	while (recv(report, &wanted, 1, 0) == 1) {
		for (uint32_t i = 0; i < 2 * SAMPLES; i += 2) {
			samples[i] = callback();
			samples[i + 1] = round_trip();
		}
		if (send(report, samples, sizeof(samples), MSG_NOSIGNAL) < 0)
			err(1, "bench.py");
	}
	return 0;
}
