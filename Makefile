# Needs only Python and make. Everything else is installed into environments in this folder, such as .venv.
PYTHON ?= python3
# On Linux, PyPI's torch also runs on CPUs, but brings several gigabytes of CUDA packages. For a smaller build:
# make test TORCH_OPTIONS="--index-url https://download.pytorch.org/whl/cpu"
TORCH_OPTIONS ?=
# The newest and the oldest tested releases
TORCH ?= torch==2.14.1 torchvision==0.29.1
TRANSFORMERS ?= transformers==5.24.0
OLDEST_TORCH ?= torch==2.13.0
OLDEST_TRANSFORMERS ?= transformers==5.17.0
# Pinned, so that new linter releases break nothing
LINTERS := ruff==0.17.6 codespell==2.4.3
# Same as the extra `docs` in setup.cfg, which cannot be installed without torch
DOCS := "mkdocs-material>=9.6" "mkdocstrings[python]>=1.0"
PYTEST := -m pytest -n 2

.PHONY: help quickstart test test-all test-oldest transformers-tests package types lint format docs gpu-counts clean

help:
	@echo "make quickstart          pre-train a small model on handwritten digits: two to three minutes on two idle CPU cores"
	@echo "make test                run the fast tests"
	@echo "make test-all            run all tests, including slow ones, the two targets below, and conversions for other environments"
	@echo "make test-oldest         run the model and conversion tests with the oldest tested torch and transformers"
	@echo "make transformers-tests  fetch and run transformers' common model and image processor tests"
	@echo "make package             build the wheel and source distribution, install and import them"
	@echo "make types               check types"
	@echo "make lint                check style and wording, without torch (make format: fix style)"
	@echo "make docs                build the documentation into site/, without torch"
	@echo "make gpu-counts          count kernels, bytes and plan shapes of a GPU training step, without a GPU"
	@echo "make clean               remove environments and outputs"

.venv/.installed: setup.cfg
	@echo "Installing into .venv, only once: about three minutes for a PyTorch build with CUDA"
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet $(TORCH_OPTIONS) $(TORCH)
	.venv/bin/pip install --quiet $(TORCH) $(TRANSFORMERS) --editable ".[dev]"
	touch $@

# Without the extra `training`, and therefore without torchvision
.venv-oldest/.installed: setup.cfg
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet $(TORCH_OPTIONS) $(OLDEST_TORCH)
	.venv-oldest/bin/pip install --quiet $(OLDEST_TORCH) $(OLDEST_TRANSFORMERS) --editable ".[test-model]"
	touch $@

# Environment in which converted models must load without this package
.venv-4.57/.installed:
	$(PYTHON) -m venv .venv-4.57
	.venv-4.57/bin/pip install --quiet $(TORCH_OPTIONS) $(OLDEST_TORCH)
	.venv-4.57/bin/pip install --quiet $(OLDEST_TORCH) transformers==4.57.6 pillow
	touch $@

.venv-lint/.installed: Makefile
	$(PYTHON) -m venv .venv-lint
	.venv-lint/bin/pip install --quiet $(LINTERS)
	touch $@

# API pages are generated from the source files without importing the package
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

# On PyPI, only transformers' source distribution contains these tests, see tests/helpers/transformers_tests.py
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
	! git grep -nIiE -f .ci/house_phrases.txt -- '*.py' '*.md' '*.ipynb' '*.cfg' '*.toml' '*Makefile'

format: .venv-lint/.installed
	.venv-lint/bin/ruff check --fix .
	.venv-lint/bin/ruff format .

docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build

# Count the kernels and bytes of a GPU training step, and measure the cost of static plans. Needs a CPU build of torch and g++.
gpu-counts: .venv-oldest/.installed
	.venv-oldest/bin/python -m benchmarks.fake_cuda --model_size base --batch_size 256 --cases masks "shared mask" "full images" "full images, inference" "Swin, inference" --json benchmarks/results/fake_cuda_base_224_batch256.json
	.venv-oldest/bin/python -m benchmarks.static_plans --json benchmarks/results/static_plans.json

clean:
	rm -rf .venv .venv-oldest .venv-4.57 .venv-lint .venv-docs .transformers_tests build dist site *.egg-info quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
