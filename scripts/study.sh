#!/usr/bin/env bash
# The study of MEmeL that docs/study.md lays down: trainings, scores at home and abroad, effects. Some twelve hours on
# two cores; run again, it goes on where it stopped.
#   bash scripts/study.sh ARCHIVES
# ARCHIVES is a folder of archives, which `python -m scripts.release.sources` lists with how each is made: taasrad64
# and taasrad64_valid are needed, of the others those that are there are scored. OUT chooses another folder than
# runs/study, JOBS how many trainings go side by side (2); STEPS=2 is a trial of the whole, with two seeds.
# RESULTS (OUT/results) gets a table for each cell; seeds that are in one are not trained again, so a study may move to
# another machine with RESULTS alone.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ $# -eq 1 ] || { echo "usage: bash scripts/study.sh ARCHIVES" >&2; exit 2; }
archives=$(realpath "$1") out=$(realpath -m "${OUT:-runs/study}")
results=$(realpath -m "${RESULTS:-$out/results}")
mkdir -p "$out" "$results"
python -m scripts.study.coarse "$archives" "$out/abroad"
for part in $(python -m scripts.study.design "$archives" "$out" "$results" ${STEPS:+"$STEPS"}); do
  nowcast compare "$out/$part.yaml" --jobs "${JOBS:-2}" --out "$out/$part"
  case $part in
    width*-steps800/seed[0-4])
      [ -f "$out/$part/premise/neurons.json" ] ||
        nowcast audit neurons "$out/$part/runs/P-Original/${part##*/}" --features by_rain_rate \
          --out "$out/$part/premise" ;;
  esac
  python -m scripts.study.outcomes "$out" "$results" "$part"
done
python -m scripts.study.page "$results" ${STEPS:+2}
[ -z "${STEPS:-}" ] || exit 0  # the other tasks train by epochs
CONFIG=configs/glue/study_bert.yaml OUT="$out" bash scripts/reproduce_table1.sh
CONFIG=configs/imagenet/study_swin.yaml OUT="$out" bash scripts/reproduce_table2.sh
