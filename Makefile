# A thin alias of `labkit`. Works in the active environment, else makes .venv.
ifneq ($(VIRTUAL_ENV)$(CONDA_PREFIX),)
ENV := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
else
ENV := .venv
endif
BIN := $(ENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PYTHON ?= python3
export LABKIT_MAKE := 1
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
LABKIT := $(BIN)/python -m labkit.cli
CORE := $(ENV)/.labkit-core
TEST := $(ENV)/.labkit-test

.PHONY: help start test check watch next hint grade test-cuda skeletons figures house-models bench lint doctor
help:            ## this list
	@grep -E '^[a-z%-]+:.*##' Makefile | sed 's/:[^#]*## /\t/' | expand -t 22

# Stamps: an install happens once per change of the pins, so that later runs need no network.
$(BIN)/python:
	@echo "making $(ENV)"
	@$(PYTHON) -m venv $(ENV)
$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the core packages into $(ENV) (no torch; under a minute)"
	@$(PIP) -e . && touch $@
$(TEST): $(CORE)
	@echo "installing what the tests need into $(ENV) (with torch: some minutes on a slow line)"
	@$(PIP) -e '.[test]' && touch $@

start: $(CORE)   ## the first run: see the goal, your place, your first TODO
	@$(LABKIT) start
test: $(TEST)    ## everything, on the reference solutions
	@$(LABKIT) test
test-phase%: $(CORE) ## grade your labs of one phase: make test-phase1
	@$(LABKIT) check --phase $* --install
check: $(CORE)   ## grade one lab: make check LAB=1.1
	@$(LABKIT) check $(LAB) $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)) --install
watch: $(CORE)   ## grade after every save: make watch LAB=1.1
	@$(LABKIT) watch $(LAB)
next: $(CORE)    ## the next TODO, of LAB=1.1 if you like
	@$(LABKIT) next $(LAB)
hint: $(CORE)    ## a hint: make hint LAB=1.1 LEVEL=2
	@$(LABKIT) hint $(LAB) $(if $(TODO),--todo $(TODO)) $(if $(LEVEL),--level $(LEVEL))
grade: $(TEST)   ## grade other people's code: make grade SUBMISSIONS=dir
	@$(LABKIT) grade $(SUBMISSIONS)
test-cuda: $(TEST) ## the CUDA twins of all checks, on the references
	@$(BIN)/python -m pytest -m cuda --answers solution tests
skeletons: $(CORE) ## generate lab.py and requirements.txt from the solutions
	@$(LABKIT) skeletons
figures: $(TEST) ## run the solutions and write figures/: make figures LAB=1.1
	@$(LABKIT) figures $(LAB)
house-models: $(TEST) ## train the house models of phases 6 to 11 anew (hours)
	@cd phase-05-training/lab-02-nano-gpt && $(abspath $(BIN)/python) house_models.py --prepare --train target draft --export
bench: $(TEST)   ## speed against the usual peers, as ratios
	@$(LABKIT) bench
lint: $(TEST)    ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
doctor: $(CORE)  ## what this machine has
	@$(LABKIT) doctor
