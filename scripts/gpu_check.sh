#!/usr/bin/env bash
# What a GPU does with nowcast, in so many seconds at most: equality with a CPU, then times.
#   bash scripts/gpu_check.sh [--budget 480] [--out gpu_check]
# Runs from a checkout. WHEELS=DIR installs what is absent from there, without a package index.
# The same command goes on with the stages that are not done.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "${WHEELS:-}" ]; then
  python -m pip install --quiet --no-index --find-links "$WHEELS" --requirement "$WHEELS/wanted.txt"
fi
exec python -m scripts.gpu_check "$@"
