#!/usr/bin/env bash
# Every check; arguments go to pytest, e.g. `bash scripts/test.sh -m slow`. Tests run in a process on each
# core, at most 8, of 1.5 GB each; `-n 0` runs them in this one.
set -euo pipefail
EXTRAS=dev source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
# Real radar for the tests, a composite of MeteoSwiss; without a wheel for this platform they skip.
python -m pip install --quiet --no-deps --only-binary :all: pyart-mch==2.4.1 ||
  echo "no pyart-mch: the tests on its files are skipped" >&2
# One thread a process: on a shared machine two threads of torch wait for each other.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cores=$(env -u OMP_NUM_THREADS nproc)  # which would take OMP_NUM_THREADS for the number of cores
tests=(python -m pytest -n "$((cores < 8 ? cores : 8))" --dist worksteal)
ruff format --check .
ruff check .
workflows() { check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml; }
site() { NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict --site-dir "$made"; }
# Beside the tests, many of which wait for processes; what they say comes at the end.
checked=$(mktemp) made=$(mktemp -d)
trap 'rm -rf "$checked" "$made"' EXIT
{ mypy && lint-imports && deptry nowcast && workflows && site; } > "$checked" 2>&1 &
checks=$!
status=0
"${tests[@]}" "$@" || status=$?
# Kernels round otherwise without AVX-512: those tests again, as on most laptops and many servers.
if [ $# = 0 ]; then
  echo "once more as if on AVX2:"
  # Their files alone: importing all others takes longer than importing these.
  files=($(grep -rl --include='test_*.py' 'pytest\.mark\.isa' tests))  # no mapfile in macOS's bash
  ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 "${tests[@]}" -m "isa and not slow" "${files[@]}" ||
    status=$?
fi
wait "$checks" || status=$?
cat "$checked"
exit "$status"
