# Only Python and make are needed: everything else is installed into .venv.
PYTHON ?= python3
# The tested release. On Linux, PyPI's build brings several gigabytes of CUDA packages; where the CPU is enough:
# make test TORCH_OPTIONS="--index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
TORCH_OPTIONS ?=
TRANSFORMERS ?= transformers==5.23.0
TORCHVISION ?= torchvision==0.28.0
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help quickstart gpu-counts docs test test-all test-torchvision test-oldest smoke-oldest transformers-tests other-environments lint format clean

help:
	@echo "make quickstart  pre-train a small model on handwritten digits, on the CPU, in two to three minutes"
	@echo "make test        run the tests (make test-all: also the slow ones, and the oldest transformers)"
	@echo "make gpu-counts  count kernels, bytes and plan shapes of a training step on a GPU, without one"
	@echo "make docs        build the documentation into site/"
	@echo "make lint        check style (make format: mend it)"
	@echo "make clean       remove environments and outputs"

$(VENV)/.installed: setup.cfg
	@echo "Installing into $(VENV), once: about 2 GB for the CPU, a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH_OPTIONS) "$(TORCH)"
	$(BIN)/pip install --quiet "$(TORCH)" "$(TRANSFORMERS)" --editable ".[dev]"
	touch $@

# Beside the environment, not in it: where torchvision has no build for this torch, its compiled operators cannot be
# loaded, and transformers cannot be imported with it unless tests/torchvision_shim.py stands in for them.
.torchvision/.installed: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target .torchvision "$(TORCHVISION)"
	touch $@

# Not part of any installed package: see tests/transformers_tests.py. Where the package index does not give them, what needs
# them is skipped, and says so.
transformers-tests: $(VENV)/.installed
	-$(BIN)/python -m tests.transformers_tests

quickstart: $(VENV)/.installed
	$(BIN)/python examples/quickstart/quickstart.py

test: transformers-tests test-torchvision
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-torchvision: transformers-tests .torchvision/.installed
	PYTHONPATH=.torchvision:tests $(BIN)/python -m pytest -p torchvision_shim -k "torchvision or backends or common" tests/test_image_processing_greenmim.py tests/test_common_image_processing_greenmim.py tests/test_image_classification.py

test-all: transformers-tests test-torchvision other-environments test-oldest
	$(BIN)/python -m pytest -n 2

# The oldest supported transformers: everything, or what touches it most.
OLDEST := $(MAKE) VENV=.venv-oldest TRANSFORMERS=transformers==5.17.0

test-oldest:
	$(OLDEST) transformers-tests
	.venv-oldest/bin/python -m pytest -n 2 -m "not slow"

smoke-oldest:
	$(OLDEST) transformers-tests
	.venv-oldest/bin/python -m pytest -n 2 tests/test_heads_greenmim.py tests/test_common_modeling_greenmim.py

# Where converted models must load: releases of transformers without this package, and timm, which needs a torchvision (see
# tests/torchvision_shim.py) and so an environment of its own.
other-environments: .venv-4.57/.installed .venv-timm/.installed
	$(OLDEST) .venv-oldest/.installed

.venv-4.57/.installed:
	$(PYTHON) -m venv .venv-4.57
	.venv-4.57/bin/pip install --quiet $(TORCH_OPTIONS) "$(TORCH)"
	.venv-4.57/bin/pip install --quiet "$(TORCH)" "transformers==4.57.6" pillow
	touch $@

.venv-timm/.installed:
	$(PYTHON) -m venv .venv-timm
	.venv-timm/bin/pip install --quiet $(TORCH_OPTIONS) "$(TORCH)"
	.venv-timm/bin/pip install --quiet "$(TORCH)" "$(TRANSFORMERS)" pillow jinja2 pyyaml
	.venv-timm/bin/pip install --quiet --no-deps timm "$(TORCHVISION)"
	touch $@

# What a training step would launch and move on a GPU, and what plans of one shape cost; needs a CPU build of torch and g++.
gpu-counts: $(VENV)/.installed
	$(BIN)/python benchmarks/fake_cuda.py --model_size base --batch_size 256 --cases masks "shared mask" "full images" "full images, inference" "Swin, inference" --json benchmarks/results/fake_cuda_base_224_batch256.json
	$(BIN)/python benchmarks/static_plans.py --json benchmarks/results/static_plans.json

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-oldest .venv-4.57 .venv-timm .torchvision .transformers_tests build dist site *.egg-info quickstart .pytest_cache .ruff_cache .hypothesis
