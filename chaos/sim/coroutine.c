/* coroutine.c - switching stacks: a few instructions on x86-64, ucontext elsewhere. */
#include "chaos/sim/coroutine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_SIZE (256u << 10)
#else
/* The same names, without a sanitizer that must be told. */
#define __sanitizer_start_switch_fiber(save, bottom, size)                                         \
	((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(fake, bottom, size)                                        \
	((void)(fake), (void)(bottom), (void)(size))
#define __asan_unpoison_memory_region(base, size) ((void)(base), (void)(size))
#define STACK_SIZE				  (64u << 10)
#endif

static struct coroutine *current;
static void *main_context;
static void *main_fake;
static const void *main_stack;
static size_t main_size;

static void entry(void)
{
	__sanitizer_finish_switch_fiber(NULL, &main_stack, &main_size);
	current->body(current->arg);
	coroutine_leave();
}

#if defined(__x86_64__) && !defined(APMP_SIM_UCONTEXT)

/* Saves what a callee must preserve on this stack, and goes on where the other one did so. */
void apmp_sim_swap(void **ret_save, void *load);
__asm__(".text\n"
	".globl apmp_sim_swap\n"
	".type apmp_sim_swap, @function\n"
	"apmp_sim_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size apmp_sim_swap, . - apmp_sim_swap\n");

static void make_context(struct coroutine *c)
{
	/* Six registers, the return address, and one word so that the stack is aligned as after
	 * a call. */
	uintptr_t *top = (uintptr_t *)(void *)((unsigned char *)c->stack + c->size) - 8;

	for (int i = 0; i < 8; i++)
		top[i] = 0;
	top[6] = (uintptr_t)entry;
	c->context = top;
}

static void free_context(struct coroutine *c)
{
	(void)c; /* it lies on the stack */
}

static void swap(void **ret_save, void *load)
{
	apmp_sim_swap(ret_save, load);
}

bool coroutine_can_copy(void)
{
#ifdef WITH_ASAN
	return false; /* it keeps a shadow of each stack */
#else
	return true;
#endif
}

#else

#include <ucontext.h>

static ucontext_t main_ucontext;

static void make_context(struct coroutine *c)
{
	ucontext_t *context = c->context ? c->context : malloc(sizeof(*context));

	apmp_assert(context && getcontext(context) == 0);
	context->uc_stack.ss_sp = c->stack;
	context->uc_stack.ss_size = c->size;
	context->uc_link = NULL;
	makecontext(context, entry, 0);
	c->context = context;
	main_context = &main_ucontext;
}

static void free_context(struct coroutine *c)
{
	free(c->context);
}

static void swap(void **ret_save, void *load)
{
	(void)swapcontext(*ret_save, load); /* fails only for lack of memory, at first use */
}

bool coroutine_can_copy(void)
{
	return false; /* registers lie elsewhere */
}

#endif

void coroutine_make(struct coroutine *c)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *base = mmap(NULL, STACK_SIZE + guard, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (base == MAP_FAILED || mprotect(base, guard, PROT_NONE)) {
		perror("apmp-sim: no memory for the stack of a participant");
		exit(1);
	}
	c->stack = base + guard;
	c->size = STACK_SIZE;
}

void coroutine_begin(struct coroutine *c, void (*body)(void *arg), void *arg)
{
	apmp_assert(!c->live);
	__asan_unpoison_memory_region(c->stack, c->size); /* frames that were left for ever */
	c->body = body;
	c->arg = arg;
	c->fake = NULL;
	c->ending = false;
	c->live = true;
	make_context(c);
}

void coroutine_resume(struct coroutine *c)
{
	apmp_assert(!current && c->live);
	current = c;
	__sanitizer_start_switch_fiber(&main_fake, c->stack, c->size);
	swap(&main_context, c->context);
	__sanitizer_finish_switch_fiber(main_fake, NULL, NULL);
	current = NULL;
}

void coroutine_yield(void)
{
	struct coroutine *c = current;

	__sanitizer_start_switch_fiber(&c->fake, main_stack, main_size);
	swap(&c->context, main_context);
	__sanitizer_finish_switch_fiber(c->fake, &main_stack, &main_size);
	if (c->ending)
		coroutine_leave();
}

void coroutine_leave(void)
{
	struct coroutine *c = current;

	c->live = false;
	__sanitizer_start_switch_fiber(NULL, main_stack, main_size);
	swap(&c->context, main_context);
	abort(); /* nobody resumes what is not live */
}

void coroutine_end(struct coroutine *c)
{
	if (!c->live)
		return;
	c->ending = true;
	if (c->fake)
		coroutine_resume(c); /* so that the sanitizer gets its stack back */
	c->live = false;
}

void coroutine_free(struct coroutine *c)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);

	if (c->stack) {
		free_context(c);
		(void)munmap((unsigned char *)c->stack - guard, c->size + guard);
	}
	*c = (struct coroutine){0};
}
