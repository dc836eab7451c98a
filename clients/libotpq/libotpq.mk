# libotpq: the client library, installable. Its objects are its own, base and the codec; at link time
# it needs libzmq alone. Only what otpq.h declares is visible.
LIBOTPQ_SONAME := libotpq.so.0
LIBOTPQ_SRC := $(libotpq_src) $(addprefix common/base/,buf.c clock.c map.c rng.c secret_file.c slice.c) \
               $(addprefix common/meaning/,curve_key.c fields.c pack.c result.c wire.c)
LIBOTPQ_OBJ := $(patsubst %.c,$(BUILD)/obj-lib/%.o,$(LIBOTPQ_SRC))
PREFIX ?= /usr/local

.PHONY: libotpq examples install-libotpq

libotpq: $(BUILD)/lib/libotpq.so $(BUILD)/lib/libotpq.a $(BUILD)/lib/pkgconfig/otpq.pc ## the client library into build/lib

$(BUILD)/obj-lib/%.o: %.c Makefile clients/libotpq/libotpq.mk
	$(NEEDED)@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@

$(BUILD)/lib/$(LIBOTPQ_SONAME): $(LIBOTPQ_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-soname,$(LIBOTPQ_SONAME) $(filter-out -pie,$(LDOPT)) $^ -lzmq $(LDFLAGS) -o $@

$(BUILD)/lib/libotpq.so: $(BUILD)/lib/$(LIBOTPQ_SONAME)
	ln -sf $(LIBOTPQ_SONAME) $@

# One object, so that names which are not of the API stay inside the archive too.
$(BUILD)/lib/libotpq.a: $(LIBOTPQ_OBJ)
	@mkdir -p $(@D)
	ld -r $^ -o $(BUILD)/obj-lib/libotpq.o
	objcopy --localize-hidden $(BUILD)/obj-lib/libotpq.o
	@rm -f $@
	ar rcs $@ $(BUILD)/obj-lib/libotpq.o

$(BUILD)/lib/pkgconfig/otpq.pc: clients/libotpq/otpq.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

examples: $(BUILD)/bin/example-push

$(BUILD)/bin/example-push: clients/examples/push.c $(BUILD)/lib/libotpq.a
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) $(OPT) -Iclients/libotpq $< $(BUILD)/lib/libotpq.a $(LDOPT) -lzmq -o $@

install-libotpq: libotpq ## the client library into DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 644 $(BUILD)/lib/$(LIBOTPQ_SONAME) $(BUILD)/lib/libotpq.a $(DESTDIR)$(PREFIX)/lib
	ln -sf $(LIBOTPQ_SONAME) $(DESTDIR)$(PREFIX)/lib/libotpq.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' clients/libotpq/otpq.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/otpq.pc
	install -m 644 clients/libotpq/otpq.h $(DESTDIR)$(PREFIX)/include

-include $(patsubst %.o,%.d,$(LIBOTPQ_OBJ))
