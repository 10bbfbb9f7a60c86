# An instance that fails finds its return addresses by them (instance/crash_context.c).
$(B)/obj/instance/%.o $(B)/obj/shm/%.o: CFLAGS += -fno-omit-frame-pointer

$(eval $(call program,apmp-instance,instance,$(LIBWIRE) $(LIBAPMP),))

# What programs in a partition are linked with, installed as libapmp.a; it needs nothing of ours.
LIBAPP := $(B)/libapmp-app.a
LIBS += $(LIBAPP)
$(LIBAPP): $(patsubst %.c,$(B)/obj/%.o,$(wildcard instance/app/*.c))
$(eval $(call program,apmp-lock,instance/lock,$(LIBAPP),))
$(eval $(call program,apmp-events,instance/events,$(LIBAPP),))
$(eval $(call program,apmp-task,instance/task,$(LIBAPP),))
$(eval $(call program,apmp-balance,instance/balance,$(LIBAPP),))
