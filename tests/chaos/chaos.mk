# Kills under load, the long way; `make test` has a short one.
KILLS ?= 1000

.PHONY: chaos
chaos: all ## kill -9 of random processes under load, against the sandbox's ledger: KILLS=, SEED=
	@$(PYTHON) tests/chaos/chaos.py --kills $(KILLS) $(if $(SEED),--seed $(SEED))
