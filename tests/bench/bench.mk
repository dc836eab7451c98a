# Benchmarks. Each compares with a bare part in the same run; `make bench` runs those that the
# project promises figures for, and what a look at a phone number costs.
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/bench_*.c))

.PHONY: bench-built bench-broker bench-stored bench-whole bench-systems bench-worker bench-core \
        bench-wire bench-phone
bench-built: $(BENCH_PROGRAMS)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@

bench-broker: all bench-built ## measure the broker beside a bare ZeroMQ forwarder
	@$(PYTHON) tests/bench/broker.py

bench-stored: all bench-built ## measure stored jobs beside Redis Streams alone, and the death of their broker
	@$(PYTHON) tests/bench/stored.py

bench-whole: all ## measure gateway, broker, worker, Redis beside the same load straight onto the sandbox
	@$(PYTHON) tests/bench/whole.py

bench-systems: all ## measure sends and added latency of each served system
	@$(PYTHON) tests/bench/systems.py

bench-worker: all bench-built ## measure ten thousand calls in flight beside bare libcurl
	@$(PYTHON) tests/bench/flight.py

bench-core: $(BUILD)/bench/bench_core ## measure the dispatch core by itself
	@$<

bench-wire: $(BUILD)/bench/bench_wire ## measure the codec by itself
	@$<

bench-phone: $(BUILD)/bench/bench_phone ## measure the look at a phone number beside its normalising
	@$<
