/*
 * member_fence.c - making sure that one judged dead runs no more [0143], and interrupts.
 *
 * WHAT      Bugcheck bit, interrupt to all its CPUs, then the console callback that removes the
 *           instance and answers when every process of it is gone.  Only then may it be recovered.
 * WRITERS   The primary of any instance; several may fence the same one: the console's answer is
 *           the same for all.
 * CRASHES   fence_bugcheck, fence_interrupt: the bit stays; whoever watches next fences again.
 *           fence_done: the tree says it is fenced; any member recovers it.
 */
#include <errno.h>

#include "shm/intr.h"
#include "shm/member_internal.h"

void apmp__interrupt(struct apmp_member *m, struct apmp_db *db, uint32_t id, uint64_t reasons,
		     bool all_cpus)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node node;

	apmp_fetch_or(&db->node[id].reasons, reasons);
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk_type(m->tree, &walk, GCT_CPU, &node) > 0) {
		if (apmp_tree_owner_id(m->tree, node.current_owner) != id)
			continue;
		if (all_cpus || node.flags & NODE_PRIMARY)
			apmp_intr_send(m->env, (uint32_t)node.id, APMP_INTR_APMP);
	}
}

bool apmp__bugchecked(struct apmp_member *m, struct apmp_db *db)
{
	struct apmp_db_node *own = apmp__own_node(m, db);

	return (apmp_load_acquire(&own->reasons) & APMP_REASON_BUGCHECK) &&
	       apmp_load_relaxed(&own->bugcheck_of) == m->env->self;
}

/* Says whom the bugcheck bit is for.  Identities of one partition only rise, and so does this; but
 * a life that is not yet is somebody's stray store. */
static void set_bugcheck(struct apmp_db_node *node, uint64_t identity, uint64_t present)
{
	uint64_t seen = apmp_load_relaxed(&node->bugcheck_of);

	while ((seen < identity || (present && seen > present)) &&
	       !apmp_cas(&node->bugcheck_of, &seen, identity))
		;
	/* Release: who acquires the bit sees whom it is for. */
	apmp_fetch_or(&node->reasons, APMP_REASON_BUGCHECK);
}

static void fence(struct apmp_member *m, struct apmp_db *db, uint32_t id, uint64_t identity)
{
	struct apmp_env *env = m->env;
	struct apmp_call call = {.request = {.op = APMP_CALL_REMOVE_INSTANCE, .arg = {identity}}};

	if (!apmp_tree_alive(m->tree, identity) || apmp_tree_debugged(m->tree, identity))
		return;
	set_bugcheck(&db->node[id], identity, apmp_tree_present(m->tree, id));
	APMP_POINT_ARG(env, fence_bugcheck, identity);
	apmp__interrupt(m, db, id, APMP_REASON_BUGCHECK, true);
	APMP_POINT(env, fence_interrupt);
	if (env->call(env, &call) == 0 && call.reply.error == 0)
		APMP_POINT(env, fence_done);
	/* Otherwise the fence is pending or the console was away: the clock suspects again. */
}

void apmp__fence_dead(struct apmp_member *m, struct apmp_db *db)
{
	/* Each once: the clock judges anew at each tick of silence. */
	for (uint64_t left = apmp_load_acquire(&m->dead_mask); left; left &= left - 1) {
		uint32_t id = (uint32_t)__builtin_ctzll(left);
		uint64_t bit = UINT64_C(1) << id;

		/* One by one: while the console fences another, the clock may see that this one
		 * beats, and takes it back. */
		if (!(apmp_fetch_and(&m->dead_mask, ~bit) & bit))
			continue;
		/* Who was late itself suspects nobody; nor does who has looked no more since, as
		 * others in between beat again. */
		if (apmp_env_since(m->env, &m->judged_ns[id]) > 2 * m->timing.tick_ns)
			continue;
		fence(m, db, id, apmp_load_relaxed(&m->dead[id]));
	}
}
