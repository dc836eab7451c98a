# The simulator. `make sim` runs several seeds and a fresh one; `make sim SEED=7 STEPS=1000000` repeats one.
STEPS     ?= 1000000
SIM_SEEDS := $(if $(SEED),$(SEED),1 2 3 4 fresh)
SIM       := $(BUILD)/sim/otpq-sim

.PHONY: sim sim-built
sim-built: $(SIM)

sim: sim-built ## the dispatch core in a simulated world: SEED=, STEPS=
	@for seed in $(SIM_SEEDS); do \
	    if [ $$seed = fresh ]; then $(SIM) --steps $(STEPS) || exit 1; \
	    else $(SIM) --seed $$seed --steps $(STEPS) || exit 1; fi; done

$(SIM): $(call obj,$(wildcard tests/sim/*.c)) $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@
