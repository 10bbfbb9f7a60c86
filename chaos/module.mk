$(eval $(call program,apmp-chaos,chaos,$(LIBWIRE) $(LIBAPMP),libuv jansson))

# It has a fence, which gcc's tsan does not know, and no second thread that writes.
$(B)/obj/chaos/samples.o: CFLAGS_tsan += $(if $(findstring clang,$(CC)),,-Wno-tsan)

# The simulator.  It has the shm/ sources a second time, instrumented at each access; the calls go to
# chaos/sim/access.c in place of the sanitizer's runtime.  The tsan profile builds it without: two
# can't answer the same calls.
SIM_OBJS   := $(patsubst %.c,$(B)/obj/%.o,$(filter-out chaos/sim/play_%,$(wildcard chaos/sim/*.c)))
# What plays console and CPUs touches shared memory as they do.
SIM_SHARED := $(patsubst %.c,$(B)/simobj/%.o,$(wildcard shm/*.c chaos/sim/play_*.c))
PROGRAMS   += $(B)/apmp-sim
# Few locks and lockers: it dies at each access to each of them.
SIM_FLAGS  := -DAPMP_LOCK_COUNT=4u -DAPMP_LOCKER_COUNT=2u
$(SIM_OBJS): CFLAGS_tsan := -O2 -g
$(SIM_OBJS): CFLAGS += $(SIM_FLAGS)
# gcc with any sanitizer has built-in declarations of what this file defines.
$(B)/obj/chaos/sim/access.o: CFLAGS_asan := -O2 -g
$(B)/apmp-sim: LDFLAGS_tsan :=
$(B)/apmp-sim: $(SIM_OBJS) $(SIM_SHARED)
	@echo "  LD    $@"
	@$(CC) $(ALL_LDFLAGS) -rdynamic -o $@ $^ $(LDLIBS)

# What a function calls at entry and exit is for stacks in reports alone.
SIM_NO_ENTRY := $(if $(findstring clang,$(CC)),-mllvm -tsan-instrument-func-entry-exit=0,--param=tsan-instrument-func-entry-exit=0)

# The runtime would also have replaced these functions.
SIM_RENAME := $(foreach f,memcpy memmove memset memcmp strncmp strnlen,--redefine-sym $(f)=__tsan_$(f))
$(B)/simobj/%.o: %.c | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  SIMCC $<"
	@$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(CFLAGS) $(SIM_FLAGS) -O2 -g -fsanitize=thread $(SIM_NO_ENTRY) -MMD -MP -c -o $@ $<
	@objcopy $(SIM_RENAME) $@

-include $(shell find $(B)/simobj -name '*.d' 2>/dev/null)

# Every pair of deaths, every two switches; STRIDE=10 every tenth.
STRIDE ?= 1
.PHONY: exhaust
exhaust: $(B)/apmp-sim
	set -e; for op in create join leave tick fence recover acquire release \
			migrate halt rx deassign failover crash; do \
		echo "== $$op: every death, and every second one"; \
		$< --exhaust-kills $$op --pairs --stride $(STRIDE) --instances 3 --seed 1 \
			--workers $$(nproc); done
	set -e; for op in join-join join-death leave-suspicion lock-death; do \
		echo "== $$op: every two switches"; \
		$< --exhaust-switches $$op --stride $(STRIDE) --instances 3 --seed 1 \
			--workers $$(nproc); done

# The disk of the simulator has a libcheck test too.
test_nvram_EXTRA := $(addprefix $(B)/obj/chaos/sim/,sim_disk.o nvram_deaths.o)
