/*
 * access.c - what the compiler calls at each access of the instrumented shm/ sources.
 *
 * WHAT      `-fsanitize=thread` puts a call before each plain access and in place of each atomic
 *           one.  Linked with these definitions instead of the sanitizer's runtime, every access
 *           to shared memory becomes a step of the simulator, without a word in the sources.
 *           A plain access to shared memory is a finding: each must go through shm/shared.h.
 *           Plain accesses to a life's private memory are its two threads' business: a word that
 *           both use, one of them to write, is a finding too.
 * ORDERING  --memory sc: each access is seen by all in program order.  --memory weak: a store is
 *           held back, up to SIM_STORES of them; they become visible one by one in any order, but a
 *           release after all before it and two to one word in order.  Read-modify-writes, fences,
 *           sequentially consistent stores and the environment's functions drain what is held, and
 *           so does death: what a CPU has stored arrives, whoever dies.
 * LIMITS    Loads are not reordered.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "chaos/sim/sim.h"
#include "shm/assert.h"

void sim_access_forget(uint32_t id)
{
	memset(sim.plain_use[id], 0, sizeof(sim.plain_use[id]));
}

/* --- steps --- */

/* Nothing is mapped there, or not for writing: a real one would get a signal. */
static void wild(const volatile void *p, enum sim_op op)
{
	sim_finding("%s %s address %p, %s",
		    sim.current->in ? sim.current->in->member->name : "the console",
		    op == SIM_LOAD ? "reads" : "writes", (const void *)(uintptr_t)p,
		    sim_arena_page(p) & SIM_PAGE_MAPPED ? "which is mapped to read only"
							: "where nothing is mapped any more");
	sim.over = true;
	coroutine_leave();
}

/* Every access comes here: as little as possible. */
static inline uint64_t step(const volatile void *p, enum sim_op op)
{
	const uint64_t wanted = SIM_PAGE_MAPPED | (op == SIM_LOAD ? 0 : SIM_PAGE_WRITABLE);
	uint64_t page = sim_arena_page(p), key;

	if (__builtin_expect((page & wanted) != wanted, 0))
		wild(p, op);
	key = (page & ~(uint64_t)(APMP_PAGE_SIZE - 1)) | ((uintptr_t)p & (APMP_PAGE_SIZE - 1));
	sim.accesses++;
	sim.now_ns += sim.plan.cost_ns;
	sim.hash = (sim.hash << 23 | sim.hash >> 41) ^ key << 8 ^ sim.current->idx << 3 ^ op;
	sim.hash *= UINT64_C(0x9e3779b97f4a7c15);
	if (__builtin_expect(sim.plan.noting, 0))
		sim_operation_note(op);
	if (sim.current->store_count && sim_chance(4) == 0)
		sim_stores_drain_one(sim.current);
	if (__builtin_expect(sim.accesses >= sim.attention, 0))
		sim_step_slow();
	return key;
}

/* So that the next run finds physical memory as it must be. */
static inline void written(const volatile void *p)
{
	uint64_t key = sim_arena_key(p);

	if (key < SIM_PHYSICAL)
		sim_written[key / APMP_PAGE_SIZE] = true;
}

/* --- stores that are held back --- */

static void make_store(const struct sim_store *s)
{
	switch (s->size) {
	case 1:
		__atomic_store_n((uint8_t *)s->to, (uint8_t)s->value, __ATOMIC_SEQ_CST);
		break;
	case 2:
		__atomic_store_n((uint16_t *)s->to, (uint16_t)s->value, __ATOMIC_SEQ_CST);
		break;
	case 4:
		__atomic_store_n((uint32_t *)s->to, (uint32_t)s->value, __ATOMIC_SEQ_CST);
		break;
	default:
		__atomic_store_n((uint64_t *)s->to, s->value, __ATOMIC_SEQ_CST);
	}
	if (sim.plan.cpus && sim_in_arena(s->to))
		sim_check_cpu_seen(sim_arena_key(s->to));
}

static void drain_at(struct sim_participant *p, uint32_t i)
{
	make_store(&p->stores[i]);
	memmove(&p->stores[i], &p->stores[i + 1], (--p->store_count - i) * sizeof(p->stores[0]));
}

void sim_stores_drain(struct sim_participant *p)
{
	while (p->store_count)
		drain_at(p, 0);
}

/* Whether store i may become visible before those that were made earlier. */
static bool may_pass(const struct sim_participant *p, uint32_t i)
{
	if (i && p->stores[i].release)
		return false;
	for (uint32_t j = 0; j < i; j++)
		if (p->stores[j].to == p->stores[i].to)
			return false;
	return true;
}

void sim_stores_drain_one(struct sim_participant *p)
{
	uint32_t i = (uint32_t)sim_chance(p->store_count);

	drain_at(p, may_pass(p, i) ? i : 0);
}

static void store(volatile void *p, uint32_t size, uint64_t value, int order)
{
	struct sim_participant *self = sim.current;
	struct sim_store s = {(void *)(uintptr_t)p, value, size, order != __ATOMIC_RELAXED};

	if (!sim_in_arena(p) || !self) {
		if (sim_in_arena(p))
			written(p);
		make_store(&s);
		return;
	}
	sim_check_write(step(p, SIM_STORE), size, SIM_STORE, value);
	written(p);
	if (!sim.plan.weak) {
		make_store(&s);
		return;
	}
	if (self->store_count == SIM_STORES)
		drain_at(self, 0);
	self->stores[self->store_count++] = s;
	if (order == __ATOMIC_SEQ_CST)
		sim_stores_drain(self);
}

/* The newest store that we hold back ourselves, or NULL. */
static const struct sim_store *own_store(const volatile void *p)
{
	struct sim_participant *self = sim.current;

	for (uint32_t i = self->store_count; i > 0; i--)
		if (self->stores[i - 1].to == (const void *)(uintptr_t)p)
			return &self->stores[i - 1];
	return NULL;
}

/* --- plain accesses --- */

static const char *function_at(const void *pc)
{
	Dl_info info;

	return dladdr(pc, &info) && info.dli_sname ? info.dli_sname : "a static function";
}

static void plain_private(const volatile void *p, bool write)
{
	uint32_t thread = sim.current->thread, id = sim.current->in->id;
	uint64_t word = (sim_arena_key(p) - SIM_PRIVATE_KEY(id)) / 8;
	uint16_t *use, users;

	if (word >= SIM_PRIVATE_WORDS)
		return;
	use = &sim.plain_use[id][word];
	*use |= (uint16_t)(1u << (thread + (write ? 8 : 0)));
	users = (*use | *use >> 8) & 0xff;
	if (users & (users - 1) && *use >> 8) {
		*use = 0;
		sim_finding("two threads of %s use a private word plainly: struct apmp_member + "
			    "%llu, and one of them writes",
			    sim.current->in->member->name, (unsigned long long)word * 8);
	}
}

static void plain(const volatile void *p, uint64_t size, bool write, const void *pc)
{
	char name[64];

	if (!sim_in_arena(p) || !sim.current || sim.over)
		return;
	if (!(sim_arena_page(p) & SIM_PAGE_MAPPED))
		wild(p, write ? SIM_STORE : SIM_LOAD);
	if (sim_arena_page(p) & SIM_PAGE_PRIVATE) {
		if (sim.current->in)
			plain_private(p, write);
		return;
	}
	sim_finding("plain %s of %llu bytes in shared memory, %s, by %s (%p)",
		    write ? "store" : "load", (unsigned long long)size,
		    sim_key_name(sim_arena_key(p), name, sizeof(name)), function_at(pc), pc);
}

/* --- what the compiler calls --- */

#define CALLER __builtin_return_address(0)

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void)
{
}

#define PLAIN(n)                                                                                   \
	void __tsan_read##n(void *p);                                                              \
	void __tsan_write##n(void *p);                                                             \
	void __tsan_unaligned_read##n(void *p);                                                    \
	void __tsan_unaligned_write##n(void *p);                                                   \
	void __tsan_volatile_read##n(void *p);                                                     \
	void __tsan_volatile_write##n(void *p);                                                    \
	void __tsan_read##n(void *p)                                                               \
	{                                                                                          \
		plain(p, n, false, CALLER);                                                        \
	}                                                                                          \
	void __tsan_write##n(void *p)                                                              \
	{                                                                                          \
		plain(p, n, true, CALLER);                                                         \
	}                                                                                          \
	void __tsan_unaligned_read##n(void *p)                                                     \
	{                                                                                          \
		plain(p, n, false, CALLER);                                                        \
	}                                                                                          \
	void __tsan_unaligned_write##n(void *p)                                                    \
	{                                                                                          \
		plain(p, n, true, CALLER);                                                         \
	}                                                                                          \
	void __tsan_volatile_read##n(void *p)                                                      \
	{                                                                                          \
		plain(p, n, false, CALLER);                                                        \
	}                                                                                          \
	void __tsan_volatile_write##n(void *p)                                                     \
	{                                                                                          \
		plain(p, n, true, CALLER);                                                         \
	}

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size);

void __tsan_read_range(void *p, size_t size)
{
	plain(p, size, false, CALLER);
}

void __tsan_write_range(void *p, size_t size)
{
	plain(p, size, true, CALLER);
}

#define ATOMIC_RMW(bits, type, name, expression)                                                   \
	type __tsan_atomic##bits##_##name(volatile type *p, type v, int order);                    \
	type __tsan_atomic##bits##_##name(volatile type *p, type v, int order)                     \
	{                                                                                          \
		uint64_t key = rmw_begin(p);                                                       \
		type old = *p;                                                                     \
		(void)order;                                                                       \
		rmw_end(p, key, bits / 8, old, (type)(expression));                                \
		return old;                                                                        \
	}

/* A read-modify-write sees and shows everything that was stored before. */
static uint64_t rmw_begin(const volatile void *p)
{
	uint64_t key = 0;

	if (sim.current && sim_in_arena(p)) {
		key = step(p, SIM_RMW);
		sim_stores_drain(sim.current);
	}
	return key;
}

static void rmw_end(volatile void *p, uint64_t key, uint32_t size, uint64_t old, uint64_t value)
{
	struct sim_store s = {(void *)(uintptr_t)p, value, size, true};

	if (sim_in_arena(p))
		written(p);
	if (sim.current && sim_in_arena(p)) {
		sim_check_write(key, size, SIM_RMW, value);
		make_store(&s);
		if (old != value)
			sim_check_rmw(key, old, value);
		return;
	}
	make_store(&s);
}

#define ATOMIC(bits, type)                                                                         \
	type __tsan_atomic##bits##_load(const volatile type *p, int order);                        \
	type __tsan_atomic##bits##_load(const volatile type *p, int order)                         \
	{                                                                                          \
		const struct sim_store *own;                                                       \
		(void)order;                                                                       \
		if (sim.current && sim_in_arena(p)) {                                              \
			(void)step(p, SIM_LOAD);                                                   \
			own = own_store(p);                                                        \
			if (own)                                                                   \
				return (type)own->value;                                           \
		}                                                                                  \
		return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                       \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order);                     \
	void __tsan_atomic##bits##_store(volatile type *p, type v, int order)                      \
	{                                                                                          \
		store(p, bits / 8, v, order);                                                      \
	}                                                                                          \
	ATOMIC_RMW(bits, type, exchange, v)                                                        \
	ATOMIC_RMW(bits, type, fetch_add, old + v)                                                 \
	ATOMIC_RMW(bits, type, fetch_sub, old - v)                                                 \
	ATOMIC_RMW(bits, type, fetch_and, old &v)                                                  \
	ATOMIC_RMW(bits, type, fetch_or, old | v)                                                  \
	ATOMIC_RMW(bits, type, fetch_xor, old ^ v)                                                 \
	ATOMIC_RMW(bits, type, fetch_nand, ~(old & v))                                             \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type expected, type v,   \
							int order, int failed);                    \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected,        \
							  type v, int order, int failed);          \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *p, type *expected, type v,  \
							int order, int failed);                    \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type expected, type v,   \
							int order, int failed)                     \
	{                                                                                          \
		uint64_t key = rmw_begin(p);                                                       \
		type old = *p;                                                                     \
		(void)order;                                                                       \
		(void)failed;                                                                      \
		if (old == expected)                                                               \
			rmw_end(p, key, bits / 8, old, v);                                         \
		return old;                                                                        \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected,        \
							  type v, int order, int failed)           \
	{                                                                                          \
		type seen = *expected;                                                             \
		*expected = __tsan_atomic##bits##_compare_exchange_val(p, seen, v, order, failed); \
		return *expected == seen;                                                          \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *p, type *expected, type v,  \
							int order, int failed)                     \
	{                                                                                          \
		return __tsan_atomic##bits##_compare_exchange_strong(p, expected, v, order,        \
								     failed);                      \
	}

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	if (sim.current)
		sim_stores_drain(sim.current);
}

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

/*
 * memcpy and its kin: clang calls these names, and in our objects the build renames what gcc calls
 * (chaos/module.mk), since the sanitizer's runtime would have replaced those functions.
 */
void *__tsan_memcpy(void *to, const void *from, size_t size);
void *__tsan_memmove(void *to, const void *from, size_t size);
void *__tsan_memset(void *to, int byte, size_t size);
int __tsan_memcmp(const void *a, const void *b, size_t size);
int __tsan_strncmp(const char *a, const char *b, size_t size);
size_t __tsan_strnlen(const char *a, size_t size);

void *__tsan_memcpy(void *to, const void *from, size_t size)
{
	plain(from, size, false, CALLER);
	plain(to, size, true, CALLER);
	return memcpy(to, from, size);
}

void *__tsan_memmove(void *to, const void *from, size_t size)
{
	plain(from, size, false, CALLER);
	plain(to, size, true, CALLER);
	return memmove(to, from, size);
}

void *__tsan_memset(void *to, int byte, size_t size)
{
	plain(to, size, true, CALLER);
	return memset(to, byte, size);
}

int __tsan_memcmp(const void *a, const void *b, size_t size)
{
	plain(a, size, false, CALLER);
	plain(b, size, false, CALLER);
	return memcmp(a, b, size);
}

int __tsan_strncmp(const char *a, const char *b, size_t size)
{
	plain(a, size, false, CALLER);
	plain(b, size, false, CALLER);
	return strncmp(a, b, size);
}

size_t __tsan_strnlen(const char *a, size_t size)
{
	plain(a, size, false, CALLER);
	return strnlen(a, size);
}
