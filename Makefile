# elir-edge. `make` lists the targets.

PYTHON    ?= python3
VENV      ?= .venv
OUT       ?= dist
TARGET    ?= onnx
BIN       := $(VENV)/bin
PIP       := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock
SOURCES   := elir_edge export benchmarks tests apps
WEB       := apps/web
ENV_FILES := requirements.lock pyproject.toml
TASKS     := bfr sr denoising inpainting bsr

# What a command line may set. The values reach commands through the environment: as text of the
# recipe the shell would run what is in them. `value` keeps what make would take for its own `$`.
VALUES := TASK TARGET PRECISION SIZE CHECKPOINT MODEL NOISE BATCH CALIBRATION CROPS GPU FIT FORCE DECODER OUT \
  DATA VAL PRESET AUTOENCODER RUN TEACHER METRIC_WEIGHTS LPIPS DEGRADATION STEPS MINUTES RESUME QUICK ARGS \
  PACKAGES BUNDLE PORT
$(foreach name,$(VALUES),$(eval override $(name) := $$(value $(name))))
export $(VALUES)

given   := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
unknown := $(filter-out $(VALUES) PYTHON VENV MAKEFLAGS,$(given))
$(if $(unknown),$(error unknown variable $(unknown); expected some of: $(VALUES) PYTHON VENV))

# Options of the commands, passed on only when they are given.
flag = $(if $($(1)),$(2) "$$$(1)")
# Of switches, 0, no and false are off.
switch = $(if $(filter-out 0 no false,$($(1))),$(2))
need_task = $(if $(TASK),,$(error no TASK given; expected one of: $(TASKS)$(1)))

# The extras that each export target installs on its first use.
EXTRA_onnx := export
EXTRA_tensorrt := tensorrt
EXTRA_tflite := tflite
EXTRA_imx500 := export
TARGETS := $(patsubst EXTRA_%,%,$(filter EXTRA_%,$(.VARIABLES)))
EXTRA := $(if $(filter $(TARGETS),$(TARGET)),$(EXTRA_$(TARGET)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help export train test test-slow mutants lint check format bundles demo page test-page wheel fps lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make export TASK=denoising TARGET=onnx [PRECISION=int8] [SIZE=512] [CHECKPOINT=weights.pth]"
	@echo "              [MODEL=nano] [NOISE=constant|input|zero] [BATCH=1] [CALIBRATION=photos] [CROPS=128] [QUICK=1] [GPU=sm75] [DECODER=slim] [FORCE=1] [OUT=dist]"
	@echo "  make demo   [BUNDLE=dist/denoising-nano-onnx-fp32] [PORT=8000]"
	@echo "  make export TASK=denoising TARGET=imx500 [FIT=1]    (FIT=1 only tells whether it fits the sensor)"
	@echo "  make train  TASK=denoising DATA=photos [VAL=photos-val] [PRESET=nano|sensor|paper] [AUTOENCODER=file] [RUN=runs/denoising]"
	@echo "              [TEACHER=taesd3.safetensors] [METRIC_WEIGHTS=weights] [LPIPS=0.5] [DEGRADATION=broad]"
	@echo "              [STEPS=6000] [MINUTES=30] [RESUME=1] [ARGS='--device cuda']"

# One environment; a stamp per set of extras, made again when the lock changes.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; fix: make ... PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.has-%: $(ENV_FILES) | $(BIN)/python
	@echo "installing what '$*' needs into $(VENV) (first use, or the lock changed) ..."
	$(PIP) --editable '.[$*]'
	@touch $@

export: $(if $(EXTRA),$(VENV)/.has-$(EXTRA)) ## export a checkpoint: TASK=..., TARGET=...
	$(call need_task)
	$(if $(EXTRA),,$(error unknown TARGET; expected one of: $(TARGETS)))
	@$(BIN)/python -m export --task "$$TASK" --target "$$TARGET" --out "$$OUT" \
	  $(call flag,PRECISION,--precision) $(call flag,SIZE,--size) $(call flag,CHECKPOINT,--checkpoint) \
	  $(call flag,MODEL,--model) $(call flag,NOISE,--noise) $(call flag,BATCH,--batch) \
	  $(call flag,CALIBRATION,--calibration) $(call flag,CROPS,--crops) \
	  $(call flag,GPU,--gpu) $(call switch,FIT,--fit) $(call switch,QUICK,--quick) \
	  $(call flag,DECODER,--decoder) $(call flag,METRIC_WEIGHTS,--metric-weights) \
	  $(call switch,FORCE,--force)

train: $(VENV)/.has-train ## train a checkpoint: TASK=... (or autoencoder), DATA=folder
	$(call need_task, autoencoder)
	$(if $(DATA),,$(error no DATA given; expected: make train TASK=... DATA=folder-of-photos))
	@set -f; $(BIN)/elir-edge train "$$TASK" --data "$$DATA" --out "$${RUN:-runs/$$TASK}" \
	  $(call flag,VAL,--validation) $(call flag,PRESET,--preset) $(call flag,AUTOENCODER,--autoencoder) \
	  $(call flag,TEACHER,--teacher) $(call flag,METRIC_WEIGHTS,--metric-weights) \
	  $(call flag,LPIPS,--lpips) $(call flag,DEGRADATION,--degradation) \
	  $(call flag,STEPS,--steps) $(call flag,MINUTES,--minutes) $(call switch,RESUME,--resume) $$ARGS

test: $(VENV)/.has-dev ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: $(VENV)/.has-dev ## the slow end-to-end checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadscope -m slow --durations=15

mutants: $(VENV)/.has-mutants ## does the fast suite notice small wrong changes? [MINUTES=60] [PACKAGES=flow,parity]
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py run $(call flag,MINUTES,--minutes) $(call flag,PACKAGES,--packages)

lint: $(VENV)/.has-dev ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint test ## lint, then the fast tests

format: $(VENV)/.has-dev ## format, and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bundles: $(VENV)/.has-export ## the ready bundles of the five tasks, for `restore --task`
	@$(BIN)/python -m export.ready

demo: page $(VENV)/.has-faces $(if $(BUNDLE),$(VENV)/.has-export,bundles) ## restore photos in the browser, at 127.0.0.1 [BUNDLE=...] [PORT=8000]
	@$(BIN)/elir-edge demo $(call flag,BUNDLE,--bundle) $(call flag,PORT,--port)

page: $(WEB)/dist/index.html ## the browser app, built in apps/web/dist

$(WEB)/node_modules/.package-lock.json: $(WEB)/package.json $(WEB)/package-lock.json
	@command -v npm >/dev/null || { echo "error: npm is not found; fix: install Node.js 18.18 or newer with npm"; exit 2; }
	cd $(WEB) && npm ci --no-audit --no-fund
	@touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(wildcard $(WEB)/src/*.* $(WEB)/src/faces/* $(WEB)/public/* docs/images/task-*.jpg) $(addprefix $(WEB)/,index.html vite.config.ts tsconfig.json)
	cd $(WEB) && npm run --silent build

test-page: $(WEB)/node_modules/.package-lock.json ## the unit tests of the browser app
	cd $(WEB) && npm test

wheel: bundles $(VENV)/.has-dev ## the wheel, with the ready bundles, in dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir "$$OUT"

fps: $(VENV)/.has-tflite ## frames per second of every runtime on this machine [QUICK=1]
	$(BIN)/python benchmarks/fps.py $(call switch,QUICK,--quick)

# torch pins its own CUDA packages exactly, and which of them apply differs by platform: they are
# left to it. `perceptual` stays outside: pyiqa brings hundreds of megabytes and an old setuptools.
lock: $(VENV)/.has-dev ## resolve the dependencies anew into requirements.lock
	$(BIN)/pip-compile --quiet --upgrade $(foreach extra,faces video ray train export tensorrt tflite evaluate benchmark dev mutants,--extra $(extra)) --strip-extras --no-header --no-annotate \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-options --allow-unsafe \
	  --output-file requirements.new pyproject.toml
	grep -vE '^(elir-edge|nvidia-|cuda-|triton|pip=|#|$$)' requirements.new | sed 's/+cpu$$//' > requirements.lock
	rm requirements.new

clean: ## remove the environment and what was built
	rm -rf $(VENV) dist build $(WEB)/dist $(WEB)/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
