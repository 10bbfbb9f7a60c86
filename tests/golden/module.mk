# `layouts` prints every shared structure as JSON; layouts.json beside it is what it printed when
# somebody last looked and agreed. `make golden` accepts what it prints now.
$(eval $(call program,layouts,tests/golden,,))

.PHONY: golden
golden: $(B)/layouts
	@$(B)/layouts > $(B)/layouts.json
	@mv $(B)/layouts.json tests/golden/layouts.json && echo "  GOLDEN tests/golden/layouts.json"
