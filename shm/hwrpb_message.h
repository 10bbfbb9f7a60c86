/*
 * hwrpb_message.h - what a CPU in console code and the primary say to each other, through the TX
 * and RX buffers of its slot [0293, 0313, 0330-0332].
 */
#ifndef APMP_SHM_HWRPB_MESSAGE_H
#define APMP_SHM_HWRPB_MESSAGE_H

#include "shm/hwrpb.h"

enum apmp_startreq {
	APMP_STARTREQ_NONE = 0,
	APMP_STARTREQ_COME = 1,	   /* the CPU has been given to us and asks to be started [0293] */
	APMP_STARTREQ_REFUSED = 2, /* it could not do as it was told, and stays halted [0330] */
};

/* The primary takes a CPU's STARTREQ.  Of REFUSED, *ret_refused is the errno.  Of COME, the CPU is
 * ours, and no console that dies takes that back.  A message of a CPU that is on its way, or works,
 * stays until it has settled in console mode; one that is a stray store is dropped. */
APMP_CHECK enum apmp_startreq apmp_hwrpb_take_startreq(struct hwrpb *h, uint32_t cpu_idx,
						       int *ret_refused);

/* Console code of a CPU: steps 3024 to 3028. */
void apmp_hwrpb_say_refused(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx, int err);

enum apmp_command {
	APMP_COMMAND_START = 1,
	APMP_COMMAND_MIGRATE = 2,
	APMP_COMMAND_DEASSIGN = 3,
};

struct apmp_hwrpb_command {
	enum apmp_command word;
	uint32_t to_id; /* of MIGRATE */
	bool loan;	/* of MIGRATE */
};

/* The primary commands a CPU of ours in console code, which has its state to itself from then on.
 * START also goes to one that was never seen here, or was away; DEASSIGN also to an active one,
 * which must be told to HALT then [0334].
 * -EAGAIN: it is not there, has not read what it was told before, or has refused that and was not
 * heard yet. */
APMP_CHECK int apmp_hwrpb_send(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx,
			       const struct apmp_hwrpb_command *command);

/* Console code of a CPU takes the command from RX; false: there is none, or nonsense, which is
 * dropped. */
APMP_CHECK bool apmp_hwrpb_receive(struct hwrpb *h, uint32_t cpu_idx,
				   struct apmp_hwrpb_command *ret_command);

#endif
