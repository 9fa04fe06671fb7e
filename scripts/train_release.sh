#!/usr/bin/env bash
# The weights that come with nowcast, from radar to model cards: trainings, the comparison of MEmeL over five
# seeds, scores, cards. A day on two cores; run again, it goes on where it stopped.
#   bash scripts/train_release.sh ARCHIVES
# ARCHIVES is a folder of archives, which `python -m scripts.release.sources` lists with how each is made; those that
# are not there take no part. OUT chooses another folder than runs/release, JOBS how many trainings go side by side
# (2), SHIP=no leaves the weights of the package as they are; STEPS=2 is a trial of the whole, with so many steps a
# training.
set -euo pipefail
EXTRAS=pysteps source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ $# -eq 1 ] || { echo "usage: bash scripts/train_release.sh ARCHIVES" >&2; exit 2; }
archives=$(realpath "$1") out=$(realpath -m "${OUT:-runs/release}")
synthetic=$out/synthetic runs=$out/release/runs
mkdir -p "$out"
size="--days 9 --size 288"
[ -z "${STEPS:-}" ] || size="--days 3 --size 192"
[ -f "$synthetic/archive.json" ] || nowcast data synth "$synthetic" --climate many $size --step 5 --seed 1

python -m scripts.release.recipe "$archives" "$synthetic" "$out" ${STEPS:+"$STEPS"}
for comparison in release memel; do
  nowcast compare "$out/$comparison.yaml" --jobs "${JOBS:-2}" --out "$out/$comparison"
done

clips=${STEPS:+1}
score() { # split, folder, further arguments
  python -m scripts.release.scores "$archives" "$1" "$out/scores/$2" "${@:3}" ${clips:+--clips "$clips"}
}
run_of() { # names -> name=run of each
  for name in "$@"; do echo "$name=$runs/$name/seed0"; done
}
shipped=$(run_of comoving-memel comoving-open)
score valid valid $shipped $(run_of one-day-in-9 one-day-in-3 one-day-in-1)
for run in "$runs"/without-*; do
  name=$(basename "$run")
  score train "$name" $shipped $(run_of "$name") --radar "${name#without-}"
done
python -m scripts.release.memel "$archives" "$out/memel/runs" "$out/scores" $clips
score test test $shipped
score test test-5-20 $shipped --frames 5 20
python -m scripts.release.members "$archives" test "$out/scores/members" \
  "$runs/comoving-ensemble/seed0" "$runs/comoving-memel/seed0" $clips
[ "${SHIP:-yes}" = yes ] || exit 0
for name in comoving-memel comoving-open comoving-ensemble; do
  python -m scripts.release.ship "$runs/$name/seed0" "$name"
done
python -m scripts.release.card "$out"
