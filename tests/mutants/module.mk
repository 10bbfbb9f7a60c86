# The sources without one step of a flowchart each, and the tests that notice: mutants.py.
#
#   make mutants            all of them, in some minutes
#   make mutants K=pal_22   those whose name, or whose test, contains this
.PHONY: mutants
mutants: | $(DEPS_STAMP)
	@$(PYTHON) tests/mutants/mutants.py --make "$(MAKE)" --cc "$(CC)" --build $(BUILD) $(if $(K),-k "$(K)")
