/*
 * shared.h - the only ways in which libapmp touches memory that two processes share.
 *
 * A shared field is _Atomic and is read and written through the names below, each with its
 * memory order written out; a run of fields that was published by a release is copied out whole,
 * checked, and used from the copy.  These are the places where the simulator may switch to
 * another participant or end the one that runs (chaos/sim/access.c).
 */
#ifndef APMP_SHM_SHARED_H
#define APMP_SHM_SHARED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define apmp_load_relaxed(p)	 atomic_load_explicit((p), memory_order_relaxed)
#define apmp_load_acquire(p)	 atomic_load_explicit((p), memory_order_acquire)
#define apmp_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define apmp_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define apmp_swap(p, v)		 atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define apmp_fetch_add(p, v)	 atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define apmp_fetch_or(p, v)	 atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define apmp_fetch_and(p, v)	 atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)
/* True when *p was *expected and now is v; otherwise *expected holds what stands there. */
#define apmp_cas(p, expected, v)                                                                   \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel,        \
						memory_order_acquire)

/* In a loop that looks at a shared word: lets the other hardware thread run. */
static inline void apmp_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Copies size bytes (a multiple of 8) out of shared memory (8-aligned), word by word. */
static inline void apmp_copy_out(void *dst, const volatile void *shared, size_t size)
{
	const volatile _Atomic uint64_t *from = shared;

	for (size_t i = 0; i < size / sizeof(*from); i++) {
		uint64_t word = apmp_load_relaxed(&from[i]);

		memcpy((char *)dst + i * sizeof(word), &word, sizeof(word));
	}
}

/* Copies size bytes (a multiple of 8) into shared memory (8-aligned), word by word. */
static inline void apmp_copy_in(volatile void *shared, const void *src, size_t size)
{
	volatile _Atomic uint64_t *to = shared;

	for (size_t i = 0; i < size / sizeof(*to); i++) {
		uint64_t word;

		memcpy(&word, (const char *)src + i * sizeof(word), sizeof(word));
		apmp_store_relaxed(&to[i], word);
	}
}

#endif
