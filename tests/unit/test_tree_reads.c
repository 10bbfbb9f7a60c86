/*
 * test_tree_reads.c - reading the tree makes no system call: a process that may make none (seccomp,
 * strict: read, write and the ends of a thread and of a signal) reads all of it 10,000 times.
 *
 * The thread sanitizer has a thread of its own, which strict mode and the end of ours leave behind:
 * with it there is nothing to see.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "tests/unit/world.h"

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#ifndef WITH_TSAN
#define WITH_TSAN 0
#endif

#define READS	 10000
#define DONE	 7
#define MISMATCH 8

static struct world w;
static struct apmp_tree tree;

static void setup(void)
{
	world_init(&w);
	tree = world_boot(&w, ALPHA)->tree;
}

static void teardown(void)
{
	world_fini(&w);
}

/* exit_group, which _exit makes, is a system call too much. */
__attribute__((noreturn)) static void leave(int status)
{
	for (;;)
		syscall(SYS_exit, status);
}

/* Every function of shm/tree.h; how many of them failed. */
static int read_all(void)
{
	struct apmp_tree_walk walk;
	struct apmp_tree_node n;
	struct apmp_tree_partition p;
	struct apmp_tree_community c;
	struct apmp_tree_fragment f[WORLD_RANGES];
	uint64_t before, after;
	int failed = 0, nodes = 0;

	failed += apmp_tree_level(&tree, &before) != 0;
	apmp_tree_walk_init(&walk, 0);
	while (apmp_tree_walk(&tree, &walk, &n) > 0)
		nodes++;
	failed += nodes == 0;
	failed += apmp_tree_find_self(&tree, WORLD_HWRPB_PA(ALPHA), &p) != 0;
	failed += apmp_tree_partition(&tree, BETA, &p) != 0;
	failed += apmp_tree_community(&tree, 0, &c) != 0;
	failed += apmp_tree_cpu(&tree, 0, &n) != 0;
	failed += apmp_tree_shared_memory(&tree, c.node.handle, f, WORLD_RANGES) != WORLD_RANGES;
	failed += apmp_tree_memory_at(&tree, f[0].pa, &f[0]) != 0;
	failed += !apmp_tree_alive(&tree, apmp_tree_present(&tree, ALPHA));
	failed += apmp_tree_owner_id(&tree, p.node.handle) != BETA;
	failed += apmp_tree_level(&tree, &after) != 0 || before != after;
	return failed;
}

/* How a process ended that read the tree under seccomp, with one more system call or without. */
static int wait_status(int forbidden)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int failed = read_all();

		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			_exit(errno);
		for (int i = 0; i < READS && !failed; i++)
			failed = read_all();
		if (forbidden)
			(void)syscall(SYS_getppid);
		leave(failed ? MISMATCH : DONE);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

START_TEST(reading_makes_no_system_call)
{
	int status;

	if (WITH_TSAN)
		return;
	status = wait_status(0);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == DONE,
		      "%s %d: %d is a system call, %d a read that failed",
		      WIFSIGNALED(status) ? "signal" : "exit",
		      status & 0x7f ? status & 0x7f : status >> 8, SIGKILL, MISMATCH);
	status = wait_status(1); /* so that the above means something */
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tree_reads");
	TCase *tc = suite_case(suite, "reads");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reading_makes_no_system_call);
	return suite_run(suite);
}
