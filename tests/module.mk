# The tests. tests/check.py runs all of them: it asks make for what each stage needs, runs it with a
# time limit, counts, and ends with "N passed, N failed". `make check` is all stages in order.
#
#   make unit PROFILE=asan    one stage, with the programs of one profile
#   make system K=join        only the system tests whose name contains "join"

CHECK = $(PYTHON) tests/check.py --make "$(MAKE)" --cc "$(CC)" --build $(BUILD)
K    ?=

.PHONY: check lint unit race simulator examples model system spec bench
check: | $(DEPS_STAMP)
	@$(CHECK)

lint: | $(DEPS_STAMP)
	@$(CHECK) lint

unit race simulator examples system: | $(DEPS_STAMP)
	@$(CHECK) --profile $(PROFILE) --dir $(B) $(if $(K),-k "$(K)") $@

# What `make check` does without the largest.
model: | $(DEPS_STAMP)
	@tests/model/models.py --large $(if $(K),-k "$(K)")

# What `make check` does a part of. Each has a bound of its own for hangs:
#   campaign-console   10,000 kills of the console at stores of the tree's updates; half a second each
#   campaign-joins     10,000 starts while others die and leave; a tenth of a second each
#   campaign-fences    100,000 races of SIGSTOP, fence and SIGCONT; a tenth of a second each
#   campaign-migrations  100,000 migrations from all sides; a million samples from outside
#   campaign-quiet     30 minutes idle and 30 with the host CPUs loaded fourfold: nobody is removed
# COUNT=N instead; of quiet that is heartbeats, 500 a second.
CAMPAIGNS := campaign-console campaign-joins campaign-fences campaign-migrations \
	     campaign-quiet
campaign-console: WHAT := APMP_CONSOLE_KILLS=$(or $(COUNT),10000) test_console_kills
campaign-joins:   WHAT := APMP_JOINS=$(or $(COUNT),10000) test_joins
campaign-fences:  WHAT := APMP_FENCE_RACES=$(or $(COUNT),100000) test_fence_races
campaign-migrations: WHAT := APMP_MIGRATIONS=$(or $(COUNT),100000) test_migrations
campaign-quiet:   WHAT := APMP_QUIET_BEATS=$(or $(COUNT),900000) test_quiet
.PHONY: campaign $(CAMPAIGNS)
campaign: campaign-console campaign-joins campaign-fences campaign-migrations
$(CAMPAIGNS): | $(DEPS_STAMP)
	@$(MAKE) --no-print-directory PROFILE=$(PROFILE) all system-programs
	@$(firstword $(WHAT)) APMP_BIN=$(abspath $(B)) APMP_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest \
		-q -s -p no:cacheprovider --tb=short tests/system/$(lastword $(WHAT)).py

# Named in tests, passed in the last test run, and what is in neither.
spec:
	@$(PYTHON) tests/spec.py --points $(BUILD)/points --mutants $(BUILD)/mutants.json

# Ratios to a peer measured in the same run; always of the release build.
bench: | $(DEPS_STAMP)
	@$(MAKE) --no-print-directory PROFILE=release -j$$(nproc) all bench-programs
	@tests/bench/bench.py --bin $(BUILD)/release --json $(BUILD)/bench.json $(if $(K),-k "$(K)")
