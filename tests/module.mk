# The tests. tests/check.py runs all of them: it asks make for what each stage needs, runs it with a
# time limit, counts, and ends with "N passed, N failed". `make check` is all stages in order.
#
#   make unit PROFILE=asan    one stage, with the programs of one profile
#   make system K=join        only the system tests whose name contains "join"

CHECK = $(PYTHON) tests/check.py --make "$(MAKE)" --cc "$(CC)" --build $(BUILD)
K    ?=

.PHONY: check lint unit race simulator examples model system spec bench campaign
check: | $(DEPS_STAMP)
	@$(CHECK)

lint: | $(DEPS_STAMP)
	@$(CHECK) lint

unit race simulator examples system: | $(DEPS_STAMP)
	@$(CHECK) --profile $(PROFILE) --dir $(B) $(if $(K),-k "$(K)") $@

# What `make check` does without the largest.
model: | $(DEPS_STAMP)
	@tests/model/models.py --large $(if $(K),-k "$(K)")

# What `make check` does a part of: COUNT kills of the console at stores of the tree's updates. It has
# a bound of half a second for each.
COUNT ?= 10000
campaign: | $(DEPS_STAMP)
	@$(MAKE) --no-print-directory PROFILE=$(PROFILE) all
	@APMP_CONSOLE_KILLS=$(COUNT) APMP_BIN=$(abspath $(B)) APMP_BUILD=$(abspath $(BUILD)) \
		$(PYTHON) -m pytest -q -s -p no:cacheprovider --tb=short tests/system/test_console_kills.py

# Named in tests, passed in the last test run, and what is in neither.
spec:
	@$(PYTHON) tests/spec.py --points $(BUILD)/points

# Ratios to a peer measured in the same run; always of the release build.
bench: | $(DEPS_STAMP)
	@$(MAKE) --no-print-directory PROFILE=release -j$$(nproc) all bench-programs
	@tests/bench/bench.py --bin $(BUILD)/release --json $(BUILD)/bench.json $(if $(K),-k "$(K)")
