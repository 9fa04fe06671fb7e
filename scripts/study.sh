#!/usr/bin/env bash
# The study of MEmeL that docs/study.md lays down: trainings, scores at home and abroad, effects. Some twelve hours on
# two cores; run again, it goes on where it stopped.
#   bash scripts/study.sh ARCHIVES
# ARCHIVES is a folder of archives, which `python -m scripts.release.sources` lists with how each is made: taasrad64
# and taasrad64_valid are needed, of the others those that are there are scored. OUT chooses another folder than
# runs/study, JOBS how many trainings go side by side (2); STEPS=2 is a trial of the whole, with two seeds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ $# -eq 1 ] || { echo "usage: bash scripts/study.sh ARCHIVES" >&2; exit 2; }
archives=$(realpath "$1") out=$(realpath -m "${OUT:-runs/study}")
mkdir -p "$out"
python -m scripts.study.coarse "$archives" "$out/abroad"
for cell in $(python -m scripts.study.design "$archives" "$out" ${STEPS:+"$STEPS"}); do
  nowcast compare "$out/$cell.yaml" --jobs "${JOBS:-2}" --out "$out/$cell"
done
python -m scripts.study.abroad "$out"
python -m scripts.study.effects "$out"
for run in "$out"/width*-steps800/runs/P-Original/seed[0-4]; do
  cell=$(basename "${run%/runs/*}") seed=${run##*seed}
  [ -f "$out/premise/$cell/$seed/neurons.json" ] ||
    nowcast audit neurons "$run" --features by_rain_rate --out "$out/premise/$cell/$seed"
done
python -m scripts.study.premise "$out"
[ -z "${STEPS:-}" ] || exit 0  # the other tasks train by epochs
CONFIG=configs/glue/study_bert.yaml OUT="$out" bash scripts/reproduce_table1.sh
CONFIG=configs/imagenet/study_swin.yaml OUT="$out" bash scripts/reproduce_table2.sh
