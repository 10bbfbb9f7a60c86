$(eval $(call program,apmp-instance,instance,$(LIBAPMP),))
