$(eval $(call program,apmp,cli,$(LIBWIRE) $(LIBAPMP),libuv jansson))
