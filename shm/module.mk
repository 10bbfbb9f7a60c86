# libapmp: layouts and protocols, pure (no system calls). libapmpwire: messages and Varlink.


LIBS += $(LIBAPMP) $(LIBWIRE)
SHM_OBJS  := $(patsubst %.c,$(B)/obj/%.o,$(wildcard shm/*.c))
WIRE_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard shm/wire/*.c))
$(WIRE_OBJS): PKGS := jansson libuv
$(LIBAPMP): $(SHM_OBJS)
$(LIBWIRE): $(WIRE_OBJS)
# The interface definition is built into this object as text (.incbin).
$(B)/obj/shm/wire/varlink_interface.o: shm/wire/org.apmp.machine.varlink
