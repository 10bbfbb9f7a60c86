/*
 * hwrpb_message.c - the TX and RX buffers of CPU slots.
 *
 * WHAT      A message is a short text, zeroes behind it, and a ready word.  TX only ever holds
 *           STARTREQ: what it means follows from the state of the slot, and from `refused`.
 * STATES    slot->state is the primary's to move in AWAY, HALTED and 0: a command moves it on, to
 *           STARTING (START) or QUIESCED (the others), and then it is the CPU's.  So a CPU never
 *           has two commands, and STARTREQ of one that was started is a second one.
 * WRITERS   TX: the console, and console code of the CPU; both write the same text.  RX: the
 *           primary while rxrdy is 0; the CPU clears that when it has copied RX.
 * ORDERING  txrdy and rxrdy are released after the text and acquired before it.  A STARTREQ is
 *           taken in AWAY, HALTED and 0 only, and the state is read before it is taken: the console
 *           drops what is in TX when the CPU departs, and it departs in QUIESCED, so what is taken
 *           is of an arrival that no console takes back.  In the other states it stays in TX; the
 *           CPU that settles looks at txrdy after it has moved the state (pal.c), by a
 *           read-modify-write like the console's, so one of the two sees the other's, and no
 *           STARTREQ is forgotten.  One of a CPU that runs is a second one, and is dropped when it
 *           departs or halts.
 * CRASHES   rx_3102: RX is written and not ready.  rx_3104, halt_3024 to halt_3028, reassign_3202:
 *           all die, for they are one process.
 */
#include "shm/hwrpb_message.h"

#include <errno.h>
#include <string.h>

#include "shm/intr.h"
#include "shm/shared.h"

static bool holds(const char buffer[HWRPB_MSG_SIZE], const char *word)
{
	char copy[HWRPB_MSG_SIZE];

	apmp_copy_out(copy, buffer, sizeof(copy));
	return memcmp(copy, word, strlen(word) + 1) == 0; /* our words are shorter than a buffer */
}

static bool is_ours(const struct hwrpb_slot *slot)
{
	return apmp_load_acquire(&slot->flags) & HWRPB_PA;
}

enum apmp_startreq apmp_hwrpb_take_startreq(struct hwrpb *h, uint32_t cpu_idx, int *ret_refused)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	uint32_t state, refused;

	/* Acquires the state that a CPU which settled before it was in. */
	if (!apmp_load_acquire(&slot->txrdy))
		return APMP_STARTREQ_NONE;
	state = apmp_load_acquire(&slot->state);
	if (state != 0 && state != HWRPB_CPU_AWAY && state != HWRPB_CPU_HALTED)
		return APMP_STARTREQ_NONE;
	/* Acquires what was stored in TX, and before that in flags. */
	if (!apmp_swap(&slot->txrdy, 0) || !holds(slot->tx, HWRPB_MSG_STARTREQ))
		return APMP_STARTREQ_NONE;
	refused = apmp_swap(&slot->refused, 0);
	if (refused) {
		*ret_refused = (int)refused;
		return APMP_STARTREQ_REFUSED;
	}
	return state != HWRPB_CPU_HALTED && is_ours(slot) ? APMP_STARTREQ_COME : APMP_STARTREQ_NONE;
}

void apmp_hwrpb_say_refused(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx, int err)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	char text[HWRPB_MSG_SIZE] = HWRPB_MSG_STARTREQ;

	apmp_store_relaxed(&slot->refused, (uint32_t)-err);
	/* The primary may start it again from here on. */
	apmp_store_release(&slot->state, HWRPB_CPU_HALTED);
	apmp_copy_in(slot->tx, text, sizeof(text));
	APMP_POINT_ARG(env, halt_3024, cpu_idx);
	(void)apmp_swap(&slot->txrdy, 1);
	APMP_POINT_ARG(env, halt_3026, cpu_idx);
	apmp_intr_send(env, apmp_load_relaxed(&h->primary), APMP_INTR_TXRDY);
	APMP_POINT_ARG(env, halt_3028, cpu_idx);
}

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	return at;
}

static char *put_number(char *at, uint32_t number)
{
	char digit[10];
	uint32_t n = 0;

	do
		digit[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n > 0)
		*at++ = digit[--n];
	return at;
}

static void format(const struct apmp_hwrpb_command *command, char text[HWRPB_MSG_SIZE])
{
	memset(text, 0, HWRPB_MSG_SIZE);
	switch (command->word) {
	case APMP_COMMAND_START:
		put_text(text, HWRPB_MSG_START);
		break;
	case APMP_COMMAND_DEASSIGN:
		put_text(text, HWRPB_MSG_DEASSIGN);
		break;
	case APMP_COMMAND_MIGRATE: /* with ten digits and the loan it just fits */
		text = put_number(put_text(text, HWRPB_MSG_MIGRATE " "), command->to_id);
		put_text(text, command->loan ? " loan" : "");
		break;
	}
}

/* What would be written as this text, to the last byte. */
static bool parse(const char text[HWRPB_MSG_SIZE], struct apmp_hwrpb_command *ret_command)
{
	uint32_t to_id = 0;

	for (const char *d = text + sizeof(HWRPB_MSG_MIGRATE);
	     d < text + HWRPB_MSG_SIZE && *d >= '0' && *d <= '9'; d++)
		to_id = to_id * 10 + (uint32_t)(*d - '0');
	for (uint32_t i = 0; i < 4; i++) {
		const struct apmp_hwrpb_command may_be[] = {
		    {.word = APMP_COMMAND_START},
		    {.word = APMP_COMMAND_DEASSIGN},
		    {.word = APMP_COMMAND_MIGRATE, .to_id = to_id},
		    {.word = APMP_COMMAND_MIGRATE, .to_id = to_id, .loan = true}};
		char written[HWRPB_MSG_SIZE];

		format(&may_be[i], written);
		if (memcmp(written, text, HWRPB_MSG_SIZE) == 0) {
			*ret_command = may_be[i];
			return true;
		}
	}
	return false;
}

/* Whether the CPU takes this command in the state it is in, and the state that it is in then. */
static bool takes(uint32_t state, enum apmp_command word, uint32_t *ret_next)
{
	if (word == APMP_COMMAND_START) {
		*ret_next = HWRPB_CPU_STARTING;
		return state == 0 || state == HWRPB_CPU_AWAY || state == HWRPB_CPU_HALTED;
	}
	*ret_next = state == HWRPB_CPU_ACTIVE ? HWRPB_CPU_ACTIVE : HWRPB_CPU_QUIESCED;
	return state == HWRPB_CPU_HALTED ||
	       (state == HWRPB_CPU_ACTIVE && word == APMP_COMMAND_DEASSIGN);
}

int apmp_hwrpb_send(struct apmp_env *env, struct hwrpb *h, uint32_t cpu_idx,
		    const struct apmp_hwrpb_command *command)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	uint32_t state = apmp_load_acquire(&slot->state), next;
	char text[HWRPB_MSG_SIZE];

	if (apmp_load_acquire(&slot->rxrdy) || !takes(state, command->word, &next))
		return -EAGAIN;
	/* What it says of the command before is to be taken first, or it would be taken for this
	 * one's. */
	if (apmp_load_relaxed(&slot->refused))
		return -EAGAIN;
	if (next != state)
		apmp_store_release(&slot->state, next);
	format(command, text);
	apmp_copy_in(slot->rx, text, sizeof(text));
	if (command->word == APMP_COMMAND_MIGRATE)
		APMP_POINT_ARG(env, rx_3102, cpu_idx);
	/* Acquired by the CPU, which then reads RX. */
	apmp_store_release(&slot->rxrdy, 1);
	if (command->word == APMP_COMMAND_MIGRATE)
		APMP_POINT_ARG(env, rx_3104, cpu_idx);
	if (command->word == APMP_COMMAND_DEASSIGN)
		APMP_POINT_ARG(env, reassign_3202, cpu_idx);
	env->wake(env, &slot->rxrdy, INT32_MAX);
	return 0;
}

bool apmp_hwrpb_receive(struct hwrpb *h, uint32_t cpu_idx, struct apmp_hwrpb_command *ret_command)
{
	struct hwrpb_slot *slot = &h->slot[cpu_idx];
	_Alignas(8) char text[HWRPB_MSG_SIZE] = {0};

	/* Acquires what the primary stored in RX. */
	if (!apmp_load_acquire(&slot->rxrdy))
		return false;
	apmp_copy_out(text, slot->rx, sizeof(text));
	apmp_store_release(&slot->rxrdy, 0); /* acquired by the primary, who may write RX again */
	return parse(text, ret_command);
}
