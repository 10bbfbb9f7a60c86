$(eval $(call program,apmp-console,console,$(LIBWIRE) $(LIBAPMP),libuv jansson))
