# Failing calls: a library for LD_PRELOAD that lets the n-th call of a kind fail, and the loop over n.
INJECT := $(BUILD)/failing/inject.so

.PHONY: failing failing-built
failing-built: $(INJECT)

failing: all failing-built ## let every allocation and system call fail once: PROGRAM=, KIND=, SAN=1
	@OTPQ_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/failing/loop.py $(if $(PROGRAM),--program $(PROGRAM)) \
	    $(if $(KIND),--kind $(KIND))

# Never sanitized itself: it stands before the sanitizer's own allocator.
$(INJECT): tests/failing/inject.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -Wall -Wextra $(if $(WERROR),-Werror) -O1 -g -fPIC -fno-builtin -shared $< -ldl -o $@
