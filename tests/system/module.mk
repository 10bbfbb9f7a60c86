# What system tests have in C: tests/system/X.c becomes $(B)/system/X.so, for LD_PRELOAD; but play_X.c
# is a program (tests/unit/module.mk).
SYSTEM_PROGRAMS := $(patsubst tests/system/%.c,$(B)/system/%.so, \
	$(filter-out tests/system/play_%,$(wildcard tests/system/*.c)))
$(B)/system/%.so: tests/system/%.c | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  SO    $@"
	@$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) -O2 -g -fPIC -shared -MMD -MP -o $@ $< -ldl

.PHONY: system-programs
system-programs: $(SYSTEM_PROGRAMS)
-include $(SYSTEM_PROGRAMS:.so=.d)
