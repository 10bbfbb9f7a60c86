$(eval $(call program,apmp-chaos,chaos,$(LIBWIRE) $(LIBAPMP),libuv jansson))
