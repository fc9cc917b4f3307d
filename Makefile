# Everything happens in a virtual environment of this folder's own; nothing needs activating.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_TRACE ?= $(firstword $(sort $(wildcard traces/loader_bound_*.json.gz)))
FUZZ_SECONDS ?= 600
# As many workers as there are CPUs; PARALLEL= runs all tests one by one.
PARALLEL ?= --numprocesses auto --dist loadgroup
# The longest test takes half a minute: one that waits for what never comes fails, and the others go on.
PYTEST := $(BIN)/pytest --timeout 600

# Objects are kept between builds.
BUILD := build/cmake
export SKBUILD_BUILD_DIR := $(BUILD)/{wheel_tag}

# Programs are started hundreds of times below: what Python compiles is kept.
unexport PYTHONDONTWRITEBYTECODE

# Nothing is built in isolation below, so this pins the build too.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip --quiet

# The installation is editable: only what is compiled needs building again.
COMPILED := CMakeLists.txt $(shell find perfkit -name '*.[ch]pp')

.DEFAULT_GOAL := help
.PHONY: help demo test check scripts kernels bench bench-kernels figures gallery wheel fuzz chart-library clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | sort | expand -t 15

demo: $(VENV)/.perfkit ## set up, then diagnose a sample trace
	$(BIN)/perfkit diagnose $(DEMO_TRACE)

test: $(VENV)/.perfkit $(VENV)/.dev ## set up, then run the tests
	TRITON_INTERPRET=1 $(PYTEST) $(PARALLEL) $(addprefix tests/kernels/test_,numerics.py generate.py opinfo.py dropout.py large.py optimize.py)
	$(PYTEST) $(PARALLEL) -m 'not alone'
	$(PYTEST) -m alone

check: $(VENV)/.perfkit $(VENV)/.dev ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	PYTHONPATH=kernels $(BIN)/lint-imports --no-cache

scripts: $(VENV)/.perfkit ## lint the scripts of the page, as the one that they become, with Biome from npm
	$(BIN)/python -c "from perfkit.report.page import diagnosis as page; print(*page.SCRIPTS)" | \
	  (cd perfkit/report/page/assets && xargs cat) >$(VENV)/page.js
	npx --yes @biomejs/biome@2.6.8 lint --config-path=.ci --error-on-warnings $(VENV)/page.js

kernels: $(VENV)/.perfkit $(VENV)/.dev ## compile every kernel for every architecture
	$(BIN)/python -m perfkit_kernels

bench: build/bench-venv/.ready build/hta-venv/.ready ## measure against peers, in one run; BENCH=--large adds 3 GB
	build/bench-venv/bin/python -m benchmarks --hta build/hta-venv/bin/python $(BENCH)

gallery: $(VENV)/.perfkit $(VENV)/.dev $(VENV)/.gallery ## diagnose programs with a planted fault; compare promised with measured gains
	$(BIN)/python -m benchmarks.gallery $(GALLERY)

bench-kernels: $(VENV)/.perfkit $(VENV)/.dev ## measure every kernel against its rivals, on the GPU where there is one
	PYTHONPATH=kernels $(BIN)/python -m benchmarks.kernels $(BENCH)

figures: $(VENV)/.perfkit $(VENV)/.dev ## draw the results that there are into docs/figures
	$(BIN)/python -m benchmarks.figures

bench-nsight: $(VENV)/.perfkit $(VENV)/.dev build/nsys-ai-venv/.ready ## read Nsight Systems exports against pandas and nsys-ai
	$(BIN)/python -m benchmarks.nsight --nsys-ai build/nsys-ai-venv/bin/python $(BENCH)

bench-ranks: $(VENV)/.perfkit $(VENV)/.dev ## diagnose 8, 64 and 1,024 simulated ranks, in processes and on Ray
	$(BIN)/python -m benchmarks.ranks

fuzz: $(VENV)/.perfkit $(VENV)/.dev ## fuzz the scanner and its twin, for ten minutes or FUZZ_SECONDS
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

wheel: dist/.built ## build dist/*.whl, then diagnose with it in an environment holding nothing else
	rm -rf build/wheel-venv
	$(PYTHON) .ci/make_venv.py build/wheel-venv
	build/wheel-venv/bin/python -m pip --quiet install dist/*.whl
	cd build && wheel-venv/bin/perfkit diagnose ../$(DEMO_TRACE)

chart-library: ## fetch the page's chart library again, by version and hash (needs npm)
	$(PYTHON) .ci/chart_library.py

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------------ set-up

# The build requirements of pyproject.toml, and cmake and ninja from PyPI if scikit-build-core finds none on the machine.
$(VENV)/.build: pyproject.toml constraints.txt .ci/make_venv.py .ci/requirements.py
	$(PYTHON) .ci/make_venv.py $(VENV)
	$(BIN)/python .ci/requirements.py build-system | $(PIP) install -r /dev/stdin
	$(BIN)/python .ci/requirements.py backend | $(PIP) install -r /dev/stdin
	@touch $@

$(VENV)/.perfkit: $(VENV)/.build $(COMPILED)
	$(PIP) install --no-build-isolation --editable .
	@# CMake remembers a compiler that failed: forget it, so that the next build tries again.
	@$(BIN)/python -c 'import perfkit.ingest._scan' 2>/dev/null || { rm -rf $(BUILD); \
		echo 'note: no C++20 compiler worked here, so traces are read by the slower scanner in Python'; }
	@touch $@

$(VENV)/.dev: $(VENV)/.build
	$(BIN)/python .ci/requirements.py dev | $(PIP) install -r /dev/stdin
	@touch $@

# Any torch will do, the machine's own build for its GPU too: what is there is kept.
$(VENV)/.gallery: $(VENV)/.build
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) install torch
	@touch $@

dist/.built: $(VENV)/.build $(COMPILED) $(shell find perfkit kernels -type f ! -path '*/__pycache__/*' ! -name '*.so')
	rm -rf dist
	$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .
	@touch $@

# What is measured is what a user has: the wheel.
build/bench-venv/.ready: dist/.built
	rm -rf build/bench-venv
	$(PYTHON) .ci/make_venv.py build/bench-venv
	$(BIN)/python .ci/requirements.py bench | build/bench-venv/bin/python -m pip --quiet install dist/*.whl -r /dev/stdin
	@touch $@

build/hta-venv/.ready: benchmarks/hta.txt
	rm -rf build/hta-venv
	$(PYTHON) .ci/make_venv.py build/hta-venv
	PIP_CONSTRAINT= build/hta-venv/bin/python -m pip --quiet install --no-deps -r benchmarks/hta.txt
	@touch $@

build/nsys-ai-venv/.ready: benchmarks/nsys-ai.txt
	rm -rf build/nsys-ai-venv
	$(PYTHON) .ci/make_venv.py build/nsys-ai-venv
	PIP_CONSTRAINT= build/nsys-ai-venv/bin/python -m pip --quiet install -r benchmarks/nsys-ai.txt
	@touch $@
