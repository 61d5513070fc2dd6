# Only Python and make are needed: everything else is installed into environments of this folder, .venv and its like.
PYTHON ?= python3
# On Linux, PyPI's torch brings several gigabytes of CUDA packages; it runs on CPUs, too. Where a smaller build is wanted:
# make test TORCH_OPTIONS="--index-url https://download.pytorch.org/whl/cpu"
TORCH_OPTIONS ?=
# The newest and the oldest releases that are tested
TORCH ?= torch==2.14.1 torchvision==0.29.1
TRANSFORMERS ?= transformers==5.24.0
OLDEST_TORCH ?= torch==2.13.0
OLDEST_TRANSFORMERS ?= transformers==5.17.0
# Pinned, so that a new release of a linter breaks nothing
LINTERS := ruff==0.17.6 codespell==2.4.3
# As the extra `docs` of setup.cfg, which cannot be installed without torch
DOCS := "mkdocs-material>=9.6" "mkdocstrings[python]>=1.0"
PYTEST := -m pytest -n 2

.PHONY: help quickstart test test-all test-oldest transformers-tests package types lint format docs gpu-counts clean

help:
	@echo "make quickstart          pre-train a small model on handwritten digits, on the CPU, in two to three minutes on two idle cores"
	@echo "make test                run the tests"
	@echo "make test-all            also the slow tests, those of the targets below, and conversions for other environments"
	@echo "make test-oldest         the tests of the model and of conversions with the oldest supported torch and transformers"
	@echo "make transformers-tests  fetch and run the tests that transformers has for all of its models"
	@echo "make package             build wheel and source distribution, install and import them"
	@echo "make types               check types"
	@echo "make lint                check style and spelling, without torch (make format: fix style)"
	@echo "make docs                build the documentation into site/, without torch"
	@echo "make gpu-counts          count kernels, bytes and plan shapes of a training step on a GPU, without one"
	@echo "make clean               remove environments and outputs"

.venv/.installed: setup.cfg
	@echo "Installing into .venv, once: about three minutes for a build of PyTorch with CUDA"
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet $(TORCH_OPTIONS) $(TORCH)
	.venv/bin/pip install --quiet $(TORCH) $(TRANSFORMERS) --editable ".[dev]"
	touch $@

# Without the extra `training`, and so without torchvision
.venv-oldest/.installed: setup.cfg
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet $(TORCH_OPTIONS) $(OLDEST_TORCH)
	.venv-oldest/bin/pip install --quiet $(OLDEST_TORCH) $(OLDEST_TRANSFORMERS) --editable ".[test-model]"
	touch $@

# Where converted models must load without this package
.venv-4.57/.installed:
	$(PYTHON) -m venv .venv-4.57
	.venv-4.57/bin/pip install --quiet $(TORCH_OPTIONS) $(OLDEST_TORCH)
	.venv-4.57/bin/pip install --quiet $(OLDEST_TORCH) transformers==4.57.6 pillow
	touch $@

.venv-lint/.installed: Makefile
	$(PYTHON) -m venv .venv-lint
	.venv-lint/bin/pip install --quiet $(LINTERS)
	touch $@

# API pages are read from the files: the package is not imported
.venv-docs/.installed: Makefile
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet $(DOCS)
	touch $@

quickstart: .venv/.installed
	.venv/bin/python examples/quickstart/quickstart.py

test: .venv/.installed
	.venv/bin/python $(PYTEST) -m "not slow"

test-all: .venv/.installed .venv-4.57/.installed test-oldest transformers-tests
	.venv/bin/python $(PYTEST)

# test_fake_cuda.py needs a CPU build of torch
test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python $(PYTEST) -m "not slow" tests/model tests/conversion
	.venv-oldest/bin/python -m pytest tests/benchmarks/test_fake_cuda.py

# The index gives these tests with the source distribution of transformers only, see tests/helpers/transformers_tests.py
transformers-tests: .venv/.installed
	.venv/bin/python -m tests.helpers.transformers_tests
	.venv/bin/python $(PYTEST) -m "not slow" tests/model/test_common_modeling_greenmim.py tests/data/test_common_image_processing_greenmim.py

package: .venv/.installed
	.venv/bin/python -m pytest tests/test_packaging.py

types: .venv/.installed
	.venv/bin/python -m mypy

lint: .venv-lint/.installed
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	git ls-files -z | xargs -0 .venv-lint/bin/codespell --dictionary=- --dictionary=.ci/house_words.txt

format: .venv-lint/.installed
	.venv-lint/bin/ruff check --fix .
	.venv-lint/bin/ruff format .

docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build

# What a training step would launch and move on a GPU, and what plans of one shape cost; needs a CPU build of torch and g++.
gpu-counts: .venv-oldest/.installed
	.venv-oldest/bin/python -m benchmarks.fake_cuda --model_size base --batch_size 256 --cases masks "shared mask" "full images" "full images, inference" "Swin, inference" --json benchmarks/results/fake_cuda_base_224_batch256.json
	.venv-oldest/bin/python -m benchmarks.static_plans --json benchmarks/results/static_plans.json

clean:
	rm -rf .venv .venv-oldest .venv-4.57 .venv-lint .venv-docs .transformers_tests build dist site *.egg-info quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
