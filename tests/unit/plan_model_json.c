/* The machine in miniature as the planner is given it. */
#include "tests/unit/plan_model.h"

static json_t *partition_text(int partition)
{
	return partition == MODEL_NONE ? json_null() : json_string(model_partition_name[partition]);
}

static json_t *cpus_json(const struct model *m, int sbb, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_CPUS; i++) {
		const struct model_cpu *cpu = &m->cpu[i];
		json_t *one;

		if (!cpu->there || cpu->sbb != sbb)
			continue;
		one = json_pack("{s:i, s:i, s:i, s:b}", "id", i, "type", cpu->type, "revision", 1,
				"primary", cpu->primary);
		if (!file) {
			json_object_set_new(one, "owner", partition_text(cpu->owner));
			json_object_set_new(one, "user", partition_text(cpu->user));
			json_object_set_new(one, "is_primary",
					    json_boolean(model_runs(m, cpu->user) &&
							 m->partition[cpu->user].primary == i));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *iops_json(const struct model *m, int sbb, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_BUSES; i++) {
		json_t *one;

		if (!m->bus[i].there || i / 4 != sbb)
			continue;
		one = json_pack("{s:o, s:[]}", "id", json_sprintf("%d.0.%d", sbb, i % 4), "disks");
		if (!file) {
			json_object_set_new(one, "owner", partition_text(m->bus[i].owner));
			json_object_set_new(one, "user", partition_text(m->bus[i].user));
		}
		json_array_append_new(list, one);
	}
	return json_pack("[{s:o}]", "buses", list);
}

static json_t *piece_json(const struct model_piece *p)
{
	const char *owner = p->owner == MODEL_NONE ? NULL
			    : p->shared		   ? model_community_name[p->owner]
						   : model_partition_name[p->owner];

	return json_pack("{s:I, s:I, s:s?, s:s?, s:b, s:b}", "pa", (json_int_t)p->pa, "size",
			 (json_int_t)p->size, "owner", owner, "user", owner, "shared", p->shared,
			 "base", p->base);
}

/* They tile their descriptor. */
static const struct model_piece *piece_at(const struct model *m, int sbb, int64_t pa)
{
	for (int i = 0; i < MODEL_PIECES; i++)
		if (m->piece[i].size && m->piece[i].pa == pa && m->piece[i].sbb == sbb)
			return &m->piece[i];
	return NULL;
}

static json_t *descriptors_json(const struct model *m, int sbb)
{
	json_t *list = json_array();

	for (int64_t pa = INT64_C(1) << 30; pa < m->next_pa; pa += INT64_C(1) << 30) {
		json_t *pieces = json_array();
		int64_t size = 0;

		for (const struct model_piece *p = piece_at(m, sbb, pa); p;
		     p = piece_at(m, sbb, pa + size)) {
			size += p->size;
			json_array_append_new(pieces, piece_json(p));
		}
		if (size)
			json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "pa",
							      (json_int_t)pa, "size",
							      (json_int_t)size, "pieces", pieces));
		else
			json_decref(pieces);
	}
	return list;
}

static json_t *hardware_json(const struct model *m, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_SBBS; i++)
		json_array_append_new(
		    list, json_pack("{s:i, s:o, s:o, s:o}", "sbb", i, "cpus", cpus_json(m, i, file),
				    "memory",
				    file ? json_integer((json_int_t)model_sbb_memory(m, i))
					 : descriptors_json(m, i),
				    "iops", iops_json(m, i, file)));
	return list;
}

static json_t *owned_list(const struct model *m, int partition, bool cpus)
{
	json_t *list = json_array();

	for (int i = 0; cpus && i < MODEL_CPUS; i++)
		if (m->cpu[i].there && m->cpu[i].owner == partition)
			json_array_append_new(list, json_integer(i));
	for (int i = 0; !cpus && i < MODEL_BUSES; i++)
		if (m->bus[i].there && m->bus[i].owner == partition)
			json_array_append_new(list, json_sprintf("%d.0.%d", i / 4, i % 4));
	return list;
}

static json_t *partitions_json(const struct model *m, bool file)
{
	json_t *list = json_array();

	for (int i = 0; i < MODEL_NAMES; i++) {
		const struct model_partition *p = &m->partition[i];
		json_t *one;

		if (!p->there)
			continue;
		one = json_pack("{s:s, s:s?, s:b}", "name", model_partition_name[i], "community",
				p->community == MODEL_NONE ? NULL
							   : model_community_name[p->community],
				"boot", p->boot);
		if (file) {
			json_object_set_new(one, "cpus", owned_list(m, i, true));
			json_object_set_new(one, "buses", owned_list(m, i, false));
			json_object_set_new(one, "memory", json_integer(model_owned(m, i, false)));
			json_object_set_new(one, "failover", json_object());
		} else {
			json_object_set_new(one, "running", json_boolean(p->running));
			json_object_set_new(one, "resume", json_boolean(p->resume));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *machine_json(const struct model *m, bool file)
{
	json_t *communities = json_array();

	for (int i = 0; i < MODEL_COMMUNITIES; i++) {
		json_t *one;

		if (!m->community[i])
			continue;
		one = json_pack("{s:s}", "name", model_community_name[i]);
		if (file)
			json_object_set_new(one, "shared", json_integer(model_owned(m, i, true)));
		json_array_append_new(communities, one);
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "machine", "model", "hardware",
			 hardware_json(m, file), "communities", communities, "partitions",
			 partitions_json(m, file));
}

json_t *model_file(const struct model *m)
{
	return machine_json(m, true);
}

json_t *model_now(const struct model *m)
{
	return machine_json(m, false);
}
