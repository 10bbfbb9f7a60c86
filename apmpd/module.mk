$(eval $(call program,apmpd,apmpd,$(LIBWIRE) $(LIBAPMP),libuv jansson hwloc libfyaml))
