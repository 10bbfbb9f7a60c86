/*
 * plan_memory.c - whose memory is how large, and where it lies.
 *
 * WHAT      Of each piece it is decided how much of it stays where it is: nothing when its
 *           descriptor leaves the box, its owner another community, or when its descriptor has to
 *           serve others (plan_place.c); else what the file leaves to its owner, from the last
 *           piece backwards, and what he boots from last. What he lacks then is assigned.
 *           Where all memory of the file is of one domain, any place will do, and it is left to the
 *           console. Else each step says the address, so that none is refused.
 *           The address of memory that comes into the box in this very plan is not known: such
 *           steps stand last and name none, and who applies the plan makes it anew when the memory
 *           is there ("again").
 * LIMITS    A descriptor that is cut into more fragments than it may have is not foreseen.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/plan_internal.h"
#include "cli/plan_place.h"

enum {
	GRANULE = 2 << 20, /* memory comes in these (apmpd/machine_file.h) */
	BASE = 4 << 20,	   /* the piece that a partition boots from, at least [0097] */
};

/* Who has memory in the file: a community (shared), or a partition. */
struct owner {
	const char *name;
	bool shared;
	bool stays; /* keeps what it has: is there now, and in no other community */
	json_int_t wants, kept;
	int domain;
};

/* Free memory of a descriptor. */
struct room {
	size_t descriptor;
	json_int_t pa, size; /* pa 0: not known */
};

struct plan_memory_work {
	struct owner *owners;
	size_t owner_count;
	json_int_t *kept; /* of each of now's pieces: so many bytes from its beginning */
	struct place_descriptor *descriptors; /* now's, then one that comes into each SBB */
	json_int_t *needs;		      /* of each domain */
	bool exact;			      /* each step says where */
	struct room *rooms;
	size_t room_count;
};

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count + 1, size);

	if (!memory)
		cli_out_of_memory();
	return memory;
}

/* ---- owners ---- */

static struct owner *owner_of(const struct plan *plan, const struct plan_piece *piece)
{
	struct plan_memory_work *work = plan->memory;

	for (size_t i = 0; piece->owner && i < work->owner_count; i++)
		if (work->owners[i].shared == piece->shared &&
		    plan_same(work->owners[i].name, piece->owner))
			return &work->owners[i];
	return NULL;
}

static int domain_of(const struct plan *plan, const struct plan_partition *partition)
{
	const struct plan_community *community =
	    plan_find_community(plan->want, partition->community);

	return community ? (int)(community - plan->want->communities)
			 : (int)(plan->want->community_count +
				 (size_t)(partition - plan->want->partitions));
}

/* Communities first, as the machine is formed. */
static void list_owners(struct plan *plan)
{
	const struct plan_side *want = plan->want;
	struct plan_memory_work *work = plan->memory;

	for (size_t i = 0; i < want->community_count; i++)
		work->owners[work->owner_count++] = (struct owner){
		    .name = want->communities[i].name,
		    .shared = true,
		    .stays = plan_find_community(plan->now, want->communities[i].name),
		    .wants = want->communities[i].shared,
		    .domain = (int)i};
	for (size_t i = 0; i < want->partition_count; i++) {
		const struct plan_fate *fate = plan_fate(plan, want->partitions[i].name);

		work->owners[work->owner_count++] =
		    (struct owner){.name = want->partitions[i].name,
				   .stays = fate && !fate->moves,
				   .wants = want->partitions[i].memory,
				   .domain = domain_of(plan, &want->partitions[i])};
	}
	for (size_t i = 0; i < work->owner_count; i++)
		work->needs[work->owners[i].domain] += work->owners[i].wants;
}

/* ---- what stays ---- */

static void keep(struct plan *plan, size_t piece, json_int_t bytes)
{
	struct owner *owner = owner_of(plan, &plan->now->pieces[piece]);

	if (!owner)
		return;
	owner->kept += bytes - plan->memory->kept[piece];
	plan->memory->kept[piece] = bytes;
}

static void keep_pieces(struct plan *plan)
{
	for (size_t i = 0; i < plan->now->piece_count; i++) {
		const struct plan_piece *piece = &plan->now->pieces[i];
		const struct owner *owner = owner_of(plan, piece);

		if (owner && owner->stays && !plan->memory_goes[piece->memory])
			keep(plan, i, piece->size);
	}
}

/* The piece that it gives first: the last one, and what it boots from last. */
static size_t last_piece(const struct plan *plan, const struct owner *owner)
{
	const struct plan_side *now = plan->now;
	size_t last = now->piece_count;

	for (size_t i = 0; i < now->piece_count; i++) {
		const struct plan_piece *piece = &now->pieces[i];
		const struct plan_piece *other =
		    last < now->piece_count ? &now->pieces[last] : NULL;

		if (plan->memory->kept[i] == 0 || owner_of(plan, piece) != owner)
			continue;
		if (!other || (piece->base != other->base ? other->base : piece->pa > other->pa))
			last = i;
	}
	return last;
}

static void shrink(struct plan *plan, const struct owner *owner)
{
	while (owner->kept > owner->wants) {
		json_int_t over = owner->kept - owner->wants;
		size_t piece = last_piece(plan, owner);
		json_int_t bytes = plan->memory->kept[piece];

		keep(plan, piece, bytes > over ? bytes - over : 0);
	}
}

static bool has_base(const struct plan *plan, const struct owner *owner)
{
	for (size_t i = 0; i < plan->now->piece_count; i++)
		if (plan->now->pieces[i].base && plan->memory->kept[i] > 0 &&
		    owner_of(plan, &plan->now->pieces[i]) == owner)
			return true;
	return false;
}

/* What a partition boots from is whole: who loses it gives all, and gets it anew [0097]. */
static void give_all_without_base(struct plan *plan, const struct owner *owner)
{
	if (owner->shared || owner->kept >= owner->wants || has_base(plan, owner))
		return;
	for (size_t i = 0; i < plan->now->piece_count; i++)
		if (owner_of(plan, &plan->now->pieces[i]) == owner)
			keep(plan, i, 0);
}

/* ---- which descriptor serves whom ---- */

static void describe_descriptors(struct plan *plan)
{
	struct plan_memory_work *work = plan->memory;
	const struct plan_side *now = plan->now;

	for (size_t i = 0; i < now->memory_count; i++)
		work->descriptors[i] = (struct place_descriptor){
		    .size = plan->memory_goes[i] ? 0 : now->memories[i].size, .domain = PLACE_FREE};
	for (size_t sbb = 0; sbb < PLAN_SBBS; sbb++)
		work->descriptors[now->memory_count + sbb] = (struct place_descriptor){
		    .size = plan_memory_comes(plan, (json_int_t)sbb), .domain = PLACE_FREE};
	for (size_t i = 0; i < now->piece_count; i++) {
		struct place_descriptor *one = &work->descriptors[now->pieces[i].memory];

		if (work->kept[i] == 0)
			continue;
		one->kept += work->kept[i];
		one->domain = owner_of(plan, &now->pieces[i])->domain;
	}
}

static void place(struct plan *plan)
{
	struct plan_memory_work *work = plan->memory;
	const struct plan_side *now = plan->now;
	size_t domains = plan->want->community_count + plan->want->partition_count, used = 0;
	bool lacks = false;

	for (size_t i = 0; i < domains; i++)
		used += work->needs[i] > 0;
	for (size_t i = 0; i < work->owner_count; i++)
		lacks |= work->owners[i].kept < work->owners[i].wants;
	work->exact = lacks && used > 1;
	if (!work->exact)
		return;
	describe_descriptors(plan);
	if (!place_domains(work->descriptors, now->memory_count + PLAN_SBBS, work->needs,
			   domains)) {
		work->exact = false;
		plan_say(plan->impossible,
			 "not all memory finds a place: the memory of an SBB serves one community, "
			 "or one partition that is in none");
		return;
	}
	for (size_t i = 0; i < now->piece_count; i++)
		if (work->kept[i] > 0 && work->descriptors[now->pieces[i].memory].domain !=
					     owner_of(plan, &now->pieces[i])->domain)
			keep(plan, i, 0);
}

/* ---- who is halted ---- */

/* What is taken from it; also what goes with its descriptor. */
static json_int_t given(const struct plan *plan, const struct owner *owner)
{
	json_int_t bytes = 0;

	for (size_t i = 0; i < plan->now->piece_count; i++)
		if (owner_of(plan, &plan->now->pieces[i]) == owner)
			bytes += plan->now->pieces[i].size - plan->memory->kept[i];
	return bytes;
}

static void decide_halts(struct plan *plan, const struct owner *owner)
{
	json_int_t bytes = given(plan, owner);
	char *size = cli_size_text((unsigned long long)bytes);

	for (size_t i = 0; bytes > 0 && owner->shared && i < plan->now->partition_count; i++)
		if (plan_same(plan->now->partitions[i].community, owner->name))
			plan_halt(plan, plan->now->partitions[i].name,
				  cli_text("%s of shared memory leave %s", size, owner->name));
	if (bytes > 0 && !owner->shared)
		plan_halt(plan, owner->name, cli_text("%s of memory leave it", size));
	free(size);
}

void plan_memory_decide(struct plan *plan)
{
	size_t owners = plan->want->community_count + plan->want->partition_count;
	struct plan_memory_work *work = zeroed(1, sizeof(*work));

	plan->memory = work;
	work->owners = zeroed(owners, sizeof(*work->owners));
	work->needs = zeroed(owners, sizeof(*work->needs));
	work->kept = zeroed(plan->now->piece_count, sizeof(*work->kept));
	work->descriptors = zeroed(plan->now->memory_count + PLAN_SBBS, sizeof(*work->descriptors));
	list_owners(plan);
	keep_pieces(plan);
	for (size_t i = 0; i < work->owner_count; i++) {
		shrink(plan, &work->owners[i]);
		give_all_without_base(plan, &work->owners[i]);
	}
	place(plan);
	for (size_t i = 0; i < work->owner_count; i++)
		give_all_without_base(plan, &work->owners[i]);
	for (size_t i = 0; i < work->owner_count; i++)
		decide_halts(plan, &work->owners[i]);
}

void plan_memory_end(struct plan *plan)
{
	free(plan->memory->owners);
	free(plan->memory->needs);
	free(plan->memory->kept);
	free(plan->memory->descriptors);
	free(plan->memory->rooms);
	free(plan->memory);
}

/* ---- steps: taking ---- */

static void because(struct plan *plan, const struct owner *owner)
{
	char *size = cli_size_text((unsigned long long)owner->wants);

	if (owner->wants > 0)
		plan_because(plan, "in the file %s has %s", owner->name, size);
	else
		plan_because(plan, "in the file %s has no memory", owner->name);
	free(size);
}

/* A step of either method; pa 0: the console chooses. */
static void step(struct plan *plan, bool assign, const struct owner *owner, json_int_t size,
		 json_int_t pa)
{
	json_t *parameters =
	    json_pack("{s:I, s:s}", "size", size, assign ? "to" : "from", owner->name);
	char *text = cli_size_text((unsigned long long)size);
	char *at = pa ? cli_text(" --at %#llx", (long long)pa) : cli_text("%s", "");

	if (pa)
		json_object_set_new(parameters, "pa", json_integer(pa));
	plan_step(plan, assign ? "MemoryAssign" : "MemoryDeassign", parameters,
		  "memory %s %s --%s %s%s", assign ? "assign" : "remove", text,
		  assign ? "to" : "from", owner->name, at);
	because(plan, owner);
	free(text);
	free(at);
}

/* Piece by piece where it must be just that memory, the rest as a sum. */
static void release(struct plan *plan, const struct owner *owner)
{
	const struct plan_side *now = plan->now;
	json_int_t sum = 0;

	for (size_t i = 0; i < now->piece_count; i++) {
		const struct plan_piece *piece = &now->pieces[i];
		json_int_t kept = plan->memory->kept[i], bytes = piece->size - kept;

		if (bytes == 0 || owner_of(plan, piece) != owner)
			continue;
		if (owner->stays && (plan->memory->exact || plan->memory_goes[piece->memory]))
			step(plan, false, owner, bytes, piece->pa + kept);
		else
			sum += bytes;
	}
	if (sum > 0)
		step(plan, false, owner, sum, 0);
}

/* What is deleted lets go of its memory by itself. */
void plan_memory_release(struct plan *plan)
{
	for (size_t i = 0; i < plan->memory->owner_count; i++)
		release(plan, &plan->memory->owners[i]);
}

/* ---- steps: giving ---- */

static void add_room(struct plan_memory_work *work, size_t descriptor, json_int_t pa,
		     json_int_t size)
{
	struct room *last = work->room_count > 0 ? &work->rooms[work->room_count - 1] : NULL;

	if (size == 0)
		return;
	if (pa && last && last->descriptor == descriptor && last->pa + last->size == pa)
		last->size += size;
	else
		work->rooms[work->room_count++] = (struct room){descriptor, pa, size};
}

/* Pieces come in the order of their addresses, so what is free and touches becomes one. */
static void list_rooms(struct plan *plan)
{
	struct plan_memory_work *work = plan->memory;
	const struct plan_side *now = plan->now;

	work->rooms = zeroed(now->piece_count + PLAN_SBBS, sizeof(*work->rooms));
	for (size_t i = 0; i < now->piece_count; i++) {
		const struct plan_piece *piece = &now->pieces[i];

		if (!plan->memory_goes[piece->memory] && (piece->owner || !piece->user))
			add_room(work, piece->memory, piece->pa + work->kept[i],
				 piece->size - work->kept[i]);
	}
	for (size_t sbb = 0; sbb < PLAN_SBBS; sbb++)
		add_room(work, now->memory_count + sbb, 0,
			 work->descriptors[now->memory_count + sbb].size);
}

/* The smallest room of its domain that holds so much, else the largest of at least least bytes. */
static struct room *find_room(const struct plan_memory_work *work, const struct owner *owner,
			      json_int_t size, json_int_t least)
{
	struct room *best = NULL;

	for (size_t i = 0; i < work->room_count; i++) {
		struct room *room = &work->rooms[i];
		bool holds = room->size >= size, other = best && best->size >= size;

		if (work->descriptors[room->descriptor].domain != owner->domain ||
		    room->size < least)
			continue;
		if (!best || holds > other ||
		    (holds == other && (holds ? room->size < best->size : room->size > best->size)))
			best = room;
	}
	return best;
}

/* In pieces whose place is known; what is left for memory that comes is returned. */
static json_int_t assign_exactly(struct plan *plan, const struct owner *owner, json_int_t missing)
{
	json_int_t least =
	    !owner->shared && !has_base(plan, owner) && missing >= BASE ? BASE : GRANULE;
	json_int_t later = 0;

	while (missing > 0) {
		struct room *room = find_room(plan->memory, owner, missing, least);
		json_int_t take = !room || room->size > missing ? missing : room->size;

		/* What a partition boots from is the first that it is given. */
		if (room && room->pa && (later == 0 || least == GRANULE)) {
			step(plan, true, owner, take, room->pa);
			room->pa += take;
		} else {
			later += take;
		}
		if (room)
			room->size -= take;
		missing -= take;
		least = GRANULE;
	}
	return later;
}

static void assign(struct plan *plan, const struct owner *owner, json_int_t *later)
{
	*later = owner->wants - owner->kept;
	if (plan->memory->exact)
		*later = assign_exactly(plan, owner, *later);
}

/* The console chooses where; of memory that comes it alone knows the address. */
static void assign_later(struct plan *plan, const json_int_t *later)
{
	const struct plan_memory_work *work = plan->memory;
	bool again = false;

	for (size_t i = 0; i < work->owner_count; i++) {
		if (later[i] > 0)
			step(plan, true, &work->owners[i], later[i], 0);
		again |= work->exact && later[i] > 0;
	}
	if (again && plan->memory_came)
		json_object_set_new(plan->memory_came, "again", json_true());
}

/* What partitions boot from is whole, so it is given first; else communities are first, as when a
 * machine is formed: a descriptor that is shared, or split, is theirs. */
void plan_memory_assign(struct plan *plan)
{
	struct plan_memory_work *work = plan->memory;
	json_int_t *later = zeroed(work->owner_count, sizeof(*later));

	list_rooms(plan);
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < work->owner_count; i++) {
			const struct owner *owner = &work->owners[i];
			bool boots = work->exact && !owner->shared && !has_base(plan, owner);

			if (boots == (turn == 0))
				assign(plan, owner, &later[i]);
		}
	assign_later(plan, later);
	free(later);
}
