$(eval $(call program,apmp-instance,instance,$(LIBWIRE) $(LIBAPMP),))
