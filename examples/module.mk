# Programs of tasks: examples/NN-name/X.c becomes $(B)/tasks/X.so.
TASK_SOURCES := $(wildcard examples/*/*.c)
TASKS        := $(patsubst %.c,$(B)/tasks/%.so,$(notdir $(TASK_SOURCES)))
LIBS         += $(TASKS)

vpath %.c $(sort $(dir $(TASK_SOURCES)))
$(TASKS): $(B)/tasks/%.so: %.c instance/task/apmp-task.h | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(filter-out -I.,$(ALL_CFLAGS)) -Iinstance/task -fPIC -shared -o $@ $< $(LDFLAGS_$(PROFILE))

# The programs of 04-failover: as anybody's, with libapmp.
FAILOVER := $(addprefix failover-,service client)
$(foreach p,$(FAILOVER),$(eval $(call program,$(p),examples/04-failover/$(p:failover-%=%),$(B)/libapmp-app.a,)))
$(foreach p,$(FAILOVER),$(eval $(B)/obj/examples/04-failover/$(p:failover-%=%)/$(p).o: CFLAGS += -Iinstance/app))
TEST_PROGRAMS += $(FAILOVER) # nothing to install
