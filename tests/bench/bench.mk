# The broker beside a bare ZeroMQ forwarder, and what a queued job costs in memory.
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/bench_*.c))

.PHONY: bench-built bench-broker
bench-built: $(BENCH_PROGRAMS)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@

bench-broker: all bench-built ## measure the broker beside a bare ZeroMQ forwarder
	@$(PYTHON) tests/bench/broker.py
