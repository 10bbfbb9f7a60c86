# The one Makefile: every folder adds its part in module.mk; output goes only to build/PROFILE/.
#
#   make            build everything          make check   all tests
#   make demo       the first thing to type   make bench   speed, as ratios
#   make campaign   10,000 kills of a console, 10,000 joins while others die, 100,000 races of a fence
#                   with SIGCONT, in an hour; make campaign-quiet an hour in which nobody is removed
#   make lint       layer rules, clang-tidy   make spec    which requirements are shown
#   make unit race system examples simulator  one stage of the tests
#   make exhaust    every pair of deaths and every two switches in the simulator, in an hour; less
#                   with STRIDE=10
#   make mutants    the sources without one step of a flowchart each, and the tests that notice
#   make model      spin on all models, the largest too, in ten to twenty minutes
#   make check-v2   chosen tests on a host with cgroup v2, a virtual machine; make deps-vm before
#   make install uninstall                    PREFIX=/usr/local DESTDIR=
#   make deps       install missing packages  make format  apply .clang-format
#   PROFILE=release (default) debug asan tsan cover;  CC=gcc (default) or clang

PROFILE ?= release
BUILD   := build
B       := $(BUILD)/$(PROFILE)
PREFIX  ?= /usr/local
DESTDIR ?=
PYTHON  ?= /usr/bin/python3

# All that is needed beyond a bare Debian 12, in this one place. `make DEBS= ...` skips the check,
# for who builds on something else and has the same things under other names.
DEBS := gcc clang make pkg-config libuv1-dev libjansson-dev libfyaml-dev libhwloc-dev liburing-dev \
	check uthash-dev python3-pytest python3-jsonschema clang-tidy clang-format mandoc util-linux \
	procps jq spin

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

ifeq ($(origin CC),default)
CC := gcc
endif

CFLAGS_release := -O2 -g
CFLAGS_debug   := -O0 -g3
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -fsanitize=thread
CFLAGS_cover   := -O0 -g --coverage
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_cover  := --coverage

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. -pthread $(WARN) $(CFLAGS_$(PROFILE)) $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS_$(PROFILE)) $(LDFLAGS)

.DEFAULT_GOAL := all
PROGRAMS :=
TEST_PROGRAMS :=
LIBS     :=
CHECKS   :=
CLEANUP  :=

# A program: $(call program,name,folder,libraries of ours,pkg-config modules)
define program
PROGRAMS += $(B)/$(1)
TEST_PROGRAMS += $(if $(filter tests/%,$(2)),$(1))
$(1)_OBJS := $$(patsubst %.c,$(B)/obj/%.o,$$(wildcard $(2)/*.c))
$$($(1)_OBJS): PKGS := $(4)
$(B)/$(1): $$($(1)_OBJS) $(3)
	@echo "  LD    $$@"
	@$$(CC) $$(ALL_LDFLAGS) -o $$@ $$($(1)_OBJS) $(3) $$(if $(4),$$(shell pkg-config --libs $(4))) $$(LDLIBS)
endef

# The packages are looked at once, and again when this file changes: every object waits for it.
DEPS_STAMP := $(BUILD)/deps.stamp
$(DEPS_STAMP): Makefile
	@tests/deps.sh $(DEBS)
	@mkdir -p $(@D) && touch $@

$(B)/obj/%.o: %.c | $(DEPS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(if $(PKGS),$(shell pkg-config --cflags $(PKGS))) -MMD -MP -c -o $@ $<

%.a:
	@echo "  AR    $@"
	@rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

LIBAPMP := $(B)/libapmp.a
LIBWIRE := $(B)/libapmpwire.a
include $(sort $(wildcard */module.mk tests/*/module.mk))

.PHONY: all clean deps demo format install uninstall
all: $(LIBS) $(PROGRAMS)

deps:
	@tests/deps.sh $(DEBS)
	@mkdir -p $(BUILD) && touch $(DEPS_STAMP)

demo: $(DEPS_STAMP)
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@APMP_BIN=$(abspath $(B)) examples/01-trio/run.sh

format: | $(DEPS_STAMP)
	clang-format -i $(wildcard */*.[ch] */*/*.[ch])

clean:
	rm -rf $(BUILD)

# Where things go: what a person types to bin, what only apmp starts to libexec, contracts, examples
# and what shells and man(1) read to share, what programs in a partition are built with to include
# and lib. A pair is FILE|PLACE.
BINARIES    := apmp apmp-balance apmp-events apmp-lock apmp-task
LIBEXEC     := $(filter-out $(BINARIES) $(TEST_PROGRAMS),$(notdir $(PROGRAMS)))
PAGES       := $(wildcard */*.[158] */*/*.[13])
CONTRACTS   := $(wildcard */*.schema.json */*.varlink */*/*.varlink)
EXAMPLES    := $(wildcard examples/*/machine.yaml)
datadir     := $(PREFIX)/share/apmp
page_path    = $(PREFIX)/share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
PROGRAM_PAIRS := $(foreach p,$(BINARIES),$(B)/$(p)|$(PREFIX)/bin/$(p)) \
	$(foreach p,$(LIBEXEC),$(B)/$(p)|$(PREFIX)/libexec/apmp/$(p))
DATA_PAIRS  := $(foreach f,$(CONTRACTS),$(f)|$(datadir)/$(notdir $(f))) \
	$(foreach f,$(PAGES),$(f)|$(call page_path,$(f))) $(foreach f,$(EXAMPLES),$(f)|$(datadir)/$(f)) \
	cli/completion.bash|$(PREFIX)/share/bash-completion/completions/apmp \
	cli/completion.zsh|$(PREFIX)/share/zsh/site-functions/_apmp \
	cli/completion.fish|$(PREFIX)/share/fish/vendor_completions.d/apmp.fish \
	instance/app/apmp.h|$(PREFIX)/include/apmp.h \
	instance/task/apmp-task.h|$(PREFIX)/include/apmp-task.h $(LIBAPP)|$(PREFIX)/lib/libapmp.a \
	instance/app/libapmp.pc|$(PREFIX)/lib/pkgconfig/libapmp.pc
INSTALLED   := $(foreach p,$(PROGRAM_PAIRS) $(DATA_PAIRS),$(DESTDIR)$(lastword $(subst |, ,$(p))))
FOLDERS_MADE := $(DESTDIR)$(datadir)/folders

# The folders that did not exist are written down, so that uninstall removes them and no others.
install: all
	@made=$$(LC_ALL=C install -dv $(sort $(dir $(INSTALLED) $(FOLDERS_MADE))) | \
		sed -n "s|^install: creating directory '$(DESTDIR)\(/.*\)'$$|\1|p") && \
		printf '%s\n' $$made >> $(FOLDERS_MADE)
	@$(foreach p,$(PROGRAM_PAIRS),install -m 755 $(subst |, $(DESTDIR),$(p)) &&) true
	@$(foreach p,$(DATA_PAIRS),install -m 644 $(subst |, $(DESTDIR),$(p)) &&) true
	@printf '  INSTALL %s\n' $(INSTALLED)

uninstall:
	@rm -fv $(INSTALLED)
	@made=$$(sort -ru $(FOLDERS_MADE) 2>/dev/null); rm -f $(FOLDERS_MADE); for folder in $$made; do \
		if [ -d "$(DESTDIR)$$folder" ]; then \
			rmdir --ignore-fail-on-non-empty "$(DESTDIR)$$folder"; fi; done

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
