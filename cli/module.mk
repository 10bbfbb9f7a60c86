$(eval $(call program,apmp,cli,$(LIBWIRE) $(LIBAPMP),libuv jansson))

# The scripts of the shells are built into this object as text (.incbin).
$(B)/obj/cli/completion.o: $(wildcard cli/completion.*sh)
