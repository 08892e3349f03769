# `make` lists the targets. Every target sets up what it needs; nothing here needs a GPU, Docker or an account.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
VLLM_VENV ?= .venv-vllm
RUN ?= demo-run
WORKERS ?= $(shell nproc)

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.weights: $(VENV)/.installed pipeline/weights.toml
	$(BIN)/rushes weights get
	touch $@

setup: $(VENV)/.weights ## install into .venv, with the default weights
	@echo "rushes is ready: $(BIN)/rushes --help"

demo-media/.fetched: $(VENV)/.weights examples/demo.media.toml
	$(BIN)/rushes weights get --catalogue examples/demo.media.toml --into demo-media
	touch $@

demo: demo-media/.fetched ## the whole chain on real video, in minutes: shards and a report in demo-run/
	$(BIN)/rushes run --config examples/demo.toml --out $(RUN) --workers $(WORKERS)

review-demo: demo ## judge a sample of the demo's clips on a local page
	$(BIN)/rushes review $(RUN) --gate pretrain --pool 256p --reviewer you --reviewer second

test: demo-media/.fetched ## every test, fast and slow
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not promise"

test-fast: $(VENV)/.weights ## the tests that take seconds
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slow and not promise"

# Its own environment: vLLM pins what everything else need not, and its build for the CPU is for tests alone.
$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm.txt tests/captioner/torchvision_cpu.py
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --requirement constraints-vllm.txt
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --editable .
	cp tests/captioner/torchvision_cpu.py $$($(VLLM_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')
	echo 'import torchvision_cpu' > $$($(VLLM_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/torchvision_cpu.pth
	touch $@

test-vllm: $(VLLM_VENV)/.installed ## captioning through a real vLLM, on a CPU, in an environment of its own (3 GB, minutes)
	$(VLLM_VENV)/bin/python -m pytest -q -W ignore --timeout 900 tests/captioner/engines/test_vllm.py \
		tests/captioner/engines/test_vllm_server.py tests/contracts/test_generators.py

check: $(VENV)/.installed ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

promises: $(VENV)/.weights ## the long versions of the promises' tests, and docs/promises.md anew
	rm -f .promises.jsonl
	$(BIN)/python -m pytest -q -n 1 --dist loadgroup tests/promises --promises-record .promises.jsonl
	$(BIN)/python -m benchmarks.promises .promises.jsonl
	rm -f .promises.jsonl

sbom: $(VENV)/.installed ## docs/sbom.md and docs/sbom.json: what is installed, with licences and bundled codecs
	$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/python -m pip install --quiet 'cyclonedx-bom==7.5.0'
	$(BIN)/python -m benchmarks.sbom $(VENV)/sbom/bin/cyclonedx-py

bench: demo-media/.fetched ## the ratios of docs/log.md, measured side by side on this machine
	$(BIN)/python -m benchmarks.chain demo-media

accuracy-media/.fetched: $(VENV)/.weights benchmarks/accuracy/footage.toml
	$(BIN)/rushes weights get --catalogue benchmarks/accuracy/footage.toml --into accuracy-media
	touch $@

accuracy: demo-media/.fetched accuracy-media/.fetched ## docs/accuracy.md: every filter on rendered faults over real footage
	$(BIN)/python -m benchmarks.accuracy.harness demo-media accuracy-media
	$(BIN)/rushes ingest demo-media accuracy-media --out accuracy-run
	$(BIN)/rushes segment accuracy-run
	$(BIN)/rushes annotate accuracy-run
	$(BIN)/python -m benchmarks.accuracy.spot accuracy-run
	$(BIN)/python -m benchmarks.accuracy.people accuracy-people
	$(BIN)/python -m benchmarks.accuracy.camera demo-media accuracy-media
	$(BIN)/python -m benchmarks.accuracy.harness

clean: ## remove the demo run, its media, and those of the accuracy page
	rm -rf demo-run demo-media accuracy-run accuracy-media accuracy-people

.PHONY: help setup demo review-demo test test-fast test-vllm check format promises sbom bench accuracy clean
