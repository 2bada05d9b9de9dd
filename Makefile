# make demo   generate a clip from the example references, with nothing but Python 3.11+ at hand
# make studio serve a local page on which clips are asked for, listened to and changed
# make test   lint, types and every test
# make docs   the documentation with its API reference, as web pages in site/
# Each step leaves a stamp in .venv, so that a second run starts where the first ended.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO := demo

# Threads that wait spin for a moment only: beside other busy processes a clip takes a third of the time.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 2000

.PHONY: demo studio test docs lint clean install system

demo: $(VENV)/.installed
	$(BIN)/flowmusic generate \
	    --text "a mellow jazz trio with electric piano, relaxed" \
	    --drums examples/drums.ogg --melody examples/melody.ogg --chords examples/chords.txt \
	    --seed 1 --plot --overwrite -o $(DEMO)/clip.wav
	@echo "The clip, its control plot and its settings are in the folder $(DEMO)/ :"
	@ls -1 $(DEMO)

studio: $(VENV)/.studio
	$(BIN)/flowmusic studio

docs: $(VENV)/.documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The pages are in the folder site/ : open site/index.html"

install: $(VENV)/.installed

$(VENV)/.created:
	@sh tools/make_venv.sh "$(PYTHON)" $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	@echo "Installing what generation needs (a few minutes the first time) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	@echo "Installing what the tests need ..."
	@$(INSTALL) --editable '.[dev,studio,train,madmom,basic-pitch]'
	@$(INSTALL) --no-deps basic-pitch torchcrepe
	@touch $@

$(VENV)/.studio: $(VENV)/.installed
	@echo "Installing what the studio needs ..."
	@$(INSTALL) --editable '.[studio]'
	@touch $@

$(VENV)/.documented: $(VENV)/.installed
	@echo "Installing what the documentation needs ..."
	@$(INSTALL) --editable '.[docs]'
	@touch $@

# FluidSynth renders the corpus, and its tests render songs.
system:
	@sh tools/system_packages.sh

test: system $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/mypy
	FLOWMUSIC_ALL_INSTALLED=1 OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(BIN)/python -m pytest

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) site build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
