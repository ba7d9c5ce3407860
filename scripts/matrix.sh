#!/usr/bin/env bash
# Runs the tests on other instruction sets, other versions of torch and other Pythons, as far as they are here.
#
#     scripts/matrix.sh                       # all parts
#     scripts/matrix.sh isa oldest python     # some of them
#
# isa      the tests of what computes, in this environment, with lower instruction sets
# oldest   the default suite with the oldest torch allowed
# newest   the default suite with what pip installs now
# python   the default suite on each other Python that is on the PATH or below ~/.pyenv/versions
# pyodide  what needs no torch, on Python 3.14 under pyodide (needs node and npm)
#
# Each part but isa and pyodide makes a virtual environment of some 5 GB and deletes it. What cannot be had is said to be not run.
set -uo pipefail
cd "$(dirname "$0")/.."
HERE=$PWD
LOWER=("ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2" "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2" "ONEDNN_MAX_CPU_ISA=SSE41")
# What bnn-train imports before torch, and pytest; PyYAML's wheel works without its compiled part.
PURE="hydra-core<1.4 omegaconf<2.4 antlr4-python3-runtime==4.9.3 PyYAML filelock packaging rich markdown-it-py mdurl pygments tqdm pytest pytest-xdist execnet iniconfig pluggy"
COMPUTING="tests/binary tests/deploy tests/edges tests/models tests/training tests/lab"
results=()

note() { results+=("$1"); echo "== $1"; }

suite() { # NAME PYTHON PIN...
  local name=$1 python=$2 environment
  shift 2
  environment=$(mktemp -d)
  if "$python" -m venv "$environment" && "$environment/bin/pip" install -q --disable-pip-version-check -e '.[dev]' "$@" >"$environment/log" 2>&1; then
    versions=$("$environment/bin/python" -c 'import platform, torch; print("Python", platform.python_version(), "torch", torch.__version__)')
    last=$("$environment/bin/pytest" 2>&1 | tee "$environment/log" | tail -1)
    grep -E '^(FAILED|ERROR)' "$environment/log"
    note "$name: $versions: $last"
  else
    grep -m1 -i error "$environment/log"
    note "$name: not run, could not be installed"
  fi
  rm -rf "$environment"
}

isa() {
  for variables in "${LOWER[@]}"; do
    note "isa: $variables: $(env $variables python -m pytest $COMPUTING 2>/dev/null | grep -E 'passed|failed' | tail -1)"
  done
}

oldest() { suite oldest "$(command -v python3.11 || command -v python3)" 'torch==2.6.*' 'torchvision==0.21.*'; }
newest() { suite newest "$(command -v python3)"; }

python() {
  local mine found candidate
  mine=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  for version in 3.10 3.11 3.12 3.13 3.14; do
    [ "$version" = "$mine" ] && continue
    found=
    for candidate in "$HOME/.pyenv/versions/$version".*/bin/python "python$version"; do
      "$candidate" -c "import venv" 2>/dev/null && found=$candidate && break # a shim of pyenv's may be there and not run
    done
    if [ -n "$found" ]; then suite "python $version" "$found"; else note "python $version: not run, not here"; fi
  done
}

pyodide() {
  local folder
  command -v npm >/dev/null || { note "pyodide: not run, no npm"; return; }
  folder=$(mktemp -d)
  cp scripts/pyodide.mjs "$folder"
  if (cd "$folder" && npm install --silent pyodide >log 2>&1) && python3 -m pip wheel -q --no-deps -w "$folder/wheels" $PURE >"$folder/log" 2>&1; then
    note "pyodide: $(cd "$folder" && node pyodide.mjs "$HERE" wheels 2>&1 | tail -1)"
  else
    note "pyodide: not run, could not be installed"
  fi
  rm -rf "$folder"
}

for part in "${@:-isa oldest newest python pyodide}"; do for one in $part; do $one; done; done
printf '%s\n' "" "${results[@]}"
