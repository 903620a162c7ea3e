# Everything a person does here is one of these; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export PYTHONUNBUFFERED := 1

##@ Use
run: $(VENV)/ready ## Start a real cluster, install mlpools, train a model (on your cluster: CONTEXT=name REGISTRY=place STORAGE_CLASS=name)
	@$(RUN) -m tools.quickstart $(if $(CONTEXT),--context $(CONTEXT)) $(if $(REGISTRY),--registry $(REGISTRY)) \
	  $(if $(STORAGE_CLASS),--storage-class $(STORAGE_CLASS))

down: $(VENV)/ready ## Remove the cluster that `make run` made, and nothing else
	@$(RUN) -m tools.cluster down

##@ Test
test: $(VENV)/ready ## Lint, types, layers, unit, integration, chart and end-to-end tests
	@$(RUN) -m tools.stages test

test-full: $(VENV)/ready ## The same and all that is too long for every change
	@$(RUN) -m tools.stages test-full

test-%: $(VENV)/ready ## One stage only: lint, types, layers, generated, unit, gangs, integration, chart, libraries, images-full, e2e
	@$(RUN) -m tools.stages $*

##@ Change
generate: $(VENV)/ready ## Write the CRDs, the chart's copies and the reference pages from the models
	@$(RUN) -m mlpools_operator.crdgen

format: $(VENV)/ready ## Format the code and mend what the linter can mend
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

lock: $(VENV)/ready ## Compile requirements/*.txt anew from pyproject.toml
	@$(RUN) -m tools.lock

images: $(VENV)/ready ## Build the operator and runtime images
	@$(RUN) -m tools.images

images-full: $(VENV)/ready ## Build the full runtime image, with PyTorch and CUDA (takes 20 GB of disk)
	@$(RUN) -m tools.images runtime-full

##@ Measure
bench-launch: $(VENV)/ready ## Launch: first and later `make run`, CR to pods, container to first round, requests per job
	@$(RUN) -m bench.launch

bench-data: $(VENV)-libraries/ready ## Reading: rows/s, CPU, memory, first batch, beside Arrow, torch, Ray, Hugging Face, polars
	@PYTHONPATH=workloads:operator:. $(VENV)-libraries/bin/python -m bench.data

bench-train: $(VENV)-libraries/ready ## Training: XGBoost, LightGBM, PyTorch, beside the bare libraries and Ray Train (10 minutes)
	@PYTHONPATH=workloads:operator:. $(VENV)-libraries/bin/python -m bench.train

bench-infer: $(VENV)-libraries/ready ## Batch inference: rows/s, CPU, memory, first part, beside the same by hand and Ray Data
	@PYTHONPATH=workloads:operator:. $(VENV)-libraries/bin/python -m bench.infer

bench-packages: $(VENV)/ready ## Packages: a pod's installation from an index and from the pool's cache, beside pip
	@$(RUN) -m bench.packages

bench-start: $(VENV)/ready ## Notebooks: manifest to page by stage, on a real kubelet, beside `jupyter lab`; also with 200,000 files
	@$(RUN) -m bench.start

bench-notebooks: $(VENV)/ready ## Notebooks: what 200 that are used cost the operator (some four minutes)
	@$(RUN) -m bench.notebooks

bench-scale: $(VENV)/ready ## Scale: 1,000 pools, 5,000 pods, 10,000 queued jobs before a real API server (some minutes)
	@$(RUN) -m bench.scale

##@ Housekeeping
venv: $(VENV)/ready ## Install the development environment

$(VENV)/ready: pyproject.toml requirements/dev.txt tools/bootstrap.sh
	@PYTHON=$(PYTHON) tools/bootstrap.sh $(VENV)

# What tests/libraries needs on top: PyTorch, TensorFlow, datasets and others (5 GB; packages are linked, not copied).
$(VENV)-libraries/ready: pyproject.toml requirements/libraries.txt tools/bootstrap.sh
	@PYTHON=$(PYTHON) tools/bootstrap.sh $(VENV)-libraries requirements/libraries.txt

clean: ## Remove what builds and tests left in this folder (not the caches)
	@rm -rf $(VENV) $(VENV)-libraries dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z%_-]+:.*## / {printf "  \033[36mmake %-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run down test test-full generate format lock images images-full bench-launch bench-data bench-train bench-infer bench-packages bench-start bench-notebooks bench-scale venv clean help
