# Tests in C. tests/unit/test_X.c (libcheck) becomes $(B)/unit/test_X; every tests/race/X.c (threads
# on one mapping, for tsan) $(B)/race/X; every tests/bench/X.c $(B)/bench/X. The other files of
# tests/unit are helpers of all three.
#
# A test is linked with the two libraries, and with the helpers and the program folders that it
# includes headers of.  These stand in archives, so the linker takes only the modules that are needed, and never main().
# More objects for one test: test_X_EXTRA := $(B)/obj/some/file.o

PART     = $(B)/parts/$(1).a
# A program that decides is tested without the program.
test_balance_EXTRA := $(B)/obj/instance/balance/decide.o

FOLDERS := apmpd chaos cli console instance
$(foreach f,$(FOLDERS),$(eval \
	$(call PART,$(f)): $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(f)/*.c))))
$(call PART,tests): $(patsubst %.c,$(B)/obj/%.o,$(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
$(B)/parts/%.a: | $(B)/parts
	@echo "  AR    $@"
	@rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(B)/parts:
	@mkdir -p $@

TEST_PKGS := check libuv jansson hwloc libfyaml
includes   = $(filter $(FOLDERS) tests,$(shell sed -n 's|^\#include "\([a-z]*\)/.*|\1|p' $(1)))
# The helpers judge trees with the checker of chaos.
parts      = $(sort $(1) $(if $(filter tests,$(1)),chaos))

# $(call test_program,kind,source): one program, added to TESTS_kind
define test_program
TESTS_$(1) += $(B)/$(1)/$(basename $(notdir $(2)))
$(B)/obj/$(2:.c=.o): PKGS := $(TEST_PKGS)
$(B)/$(1)/$(basename $(notdir $(2))): $(B)/obj/$(2:.c=.o) $($(basename $(notdir $(2)))_EXTRA) \
		$(foreach f,$(call parts,$(call includes,$(2))),$(call PART,$(f))) \
		$(LIBWIRE) $(LIBAPMP)
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	@$$(CC) $$(ALL_LDFLAGS) -o $$@ -Wl,--as-needed -Wl,--start-group $$^ -Wl,--end-group \
		$$(shell pkg-config --libs $(TEST_PKGS)) $$(LDLIBS)
endef

# LIBWIRE and LIBAPMP are set by shm/module.mk, which make reads before this file.
$(foreach f,$(sort $(wildcard tests/unit/test_*.c)),$(eval $(call test_program,unit,$(f))))
$(foreach f,$(sort $(wildcard tests/race/*.c)),$(eval $(call test_program,race,$(f))))
$(foreach f,$(sort $(wildcard tests/bench/*.c)),$(eval $(call test_program,bench,$(f))))
# What plays an instance in a system test.
$(foreach f,$(sort $(wildcard tests/system/play_*.c)),$(eval $(call test_program,system,$(f))))

# Built without being run; tests/check.py runs them.
.PHONY: unit-programs race-programs bench-programs
unit-programs:  $(TESTS_unit)
race-programs:  $(TESTS_race)
bench-programs: $(TESTS_bench)
system-programs: $(TESTS_system)
