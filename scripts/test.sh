#!/usr/bin/env bash
# Every check; arguments go to pytest, e.g. `bash scripts/test.sh -m slow`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# Real radar for the tests, a composite of MeteoSwiss; without a wheel for this platform they skip.
python -m pip install --quiet --no-deps --only-binary :all: pyart-mch==2.4.1 ||
  echo "no pyart-mch: the tests on its files are skipped" >&2
# One thread a process: on a shared machine two threads of torch wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest "$@"
