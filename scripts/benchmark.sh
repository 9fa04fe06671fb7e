#!/usr/bin/env bash
# Every benchmark, about 40 minutes on two cores with nothing else to do; arguments go on,
# e.g. `bash scripts/benchmark.sh --json bench.json`.
set -euo pipefail
EXTRAS=dev source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
python -m scripts.bench all "$@"
