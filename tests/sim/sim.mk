# The simulator. `make sim` runs several seeds in both worlds, and a fresh one in that of one broker; `make sim SEED=7 STEPS=1000000`
# repeats one, WORLD=many only that one.
STEPS     ?= 700000
WORLD     ?= one many
SIM_SEEDS_one  := $(if $(SEED),$(SEED),1 2 3 fresh)
SIM_SEEDS_many := $(if $(SEED),$(SEED),1 2 3 4)
SIM       := $(BUILD)/sim/otpq-sim

.PHONY: sim sim-built sim-planted
sim-built: $(SIM)

sim: sim-built ## the dispatch core in simulated worlds of one broker and of several: SEED=, STEPS=, WORLD=
	@for run in $(foreach w,$(WORLD),$(SIM_SEEDS_$(w):%=$(w):%)); do \
	    world=$${run%:*} seed=$${run#*:}; \
	    if [ $$seed = fresh ]; then $(SIM) --world $$world --steps $(STEPS) || exit 1; \
	    else $(SIM) --world $$world --seed $$seed --steps $(STEPS) || exit 1; fi; \
	done

sim-planted: sim-built ## the test of that test: bugs planted into the simulator are found
	@$(PYTHON) tests/sim/planted.py $(SIM)

# Chance, and the core's word on what it adopts, go through the world of several brokers.
SIM_WRAP := -Wl,--wrap=rng_secure -Wl,--wrap=core_adopt

$(SIM): $(call obj,$(wildcard tests/sim/*.c tests/sim/many/*.c)) $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $(SIM_WRAP) $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@
