/*
 * crash_context.c - step 2700: the processing context of a CPU, into its HWRPB.
 *
 * The return addresses are found by frame pointers, with which the instance is compiled; code that
 * is not, of the C library or of a task, hides some.  The stack is read through the kernel: one
 * that is damaged, which may be why we are here, ends the list and nothing else.
 */
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "instance/crash_internal.h"

#if defined(__x86_64__)
#define FRAME_POINTER(uc) ((uint64_t)(uc)->uc_mcontext.gregs[REG_RBP])

/* A context that getcontext(3) has taken has no more than those up to rip: no signal did. */
static void copy_registers(struct apmp_context *context, const ucontext_t *uc)
{
	const bool of_signal = uc->uc_mcontext.gregs[REG_CSGSFS];

	context->register_count = of_signal ? NGREG : REG_RIP + 1;
	for (uint32_t i = 0; i < context->register_count; i++)
		context->reg[i] = (uint64_t)uc->uc_mcontext.gregs[i];
}
#elif defined(__aarch64__)
#define FRAME_POINTER(uc) ((uint64_t)(uc)->uc_mcontext.regs[29])

static void copy_registers(struct apmp_context *context, const ucontext_t *uc)
{
	context->register_count = HWRPB_REGISTERS;
	for (uint32_t i = 0; i < 19; i++)
		context->reg[i] = uc->uc_mcontext.regs[i];
	context->reg[19] = uc->uc_mcontext.regs[29];
	context->reg[20] = uc->uc_mcontext.regs[30];
	context->reg[21] = uc->uc_mcontext.sp;
	context->reg[22] = uc->uc_mcontext.pc;
	context->reg[23] = uc->uc_mcontext.pstate;
}
#endif

static void walk_frames(struct apmp_context *context, uint64_t frame_pointer)
{
	const pid_t self = getpid();

	while (context->frame_count < HWRPB_FRAMES) {
		uint64_t frame[2]; /* that of the caller, and where it goes on */
		struct iovec to = {frame, sizeof(frame)};
		struct iovec from = {(void *)(uintptr_t)frame_pointer, sizeof(frame)};

		if (frame_pointer % sizeof(frame[0]) ||
		    process_vm_readv(self, &to, 1, &from, 1, 0) != (ssize_t)sizeof(frame) ||
		    !frame[1])
			return;
		context->frame[context->frame_count++] = frame[1];
		if (frame[0] <= frame_pointer) /* stacks grow downwards */
			return;
		frame_pointer = frame[0];
	}
}

void crash_save_context(struct instance *in, uint32_t cpu_idx, uint64_t task, const ucontext_t *uc)
{
	struct apmp_context context = {
	    .thread = cpu_idx, .task = task, .t_ns = in->env.now(&in->env)};

	struct instance_task_on on;

	if (!apmp_context_begin(in->hwrpb, cpu_idx))
		return;
	if (task && instance_tasks_on(in, cpu_idx, &on) && on.number == task) {
		context.program = on.program;
		context.program_end = on.program_end;
		memcpy(context.task_name, on.name, sizeof(on.name));
	}
	copy_registers(&context, uc);
	walk_frames(&context, FRAME_POINTER(uc));
	apmp_context_finish(in->hwrpb, cpu_idx, &context);
}
