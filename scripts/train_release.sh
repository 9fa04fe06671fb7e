#!/usr/bin/env bash
# The weights that come with nowcast: pretrained on synthetic rain with and without MEmeL, fine-tuned on radar
# of three countries, and the comparison of the two ways over five seeds. Hours on two cores; run again, it goes
# on where it stopped. DWD's radar comes with pip; the other archives are made with `nowcast data convert` as
# the model card says:
#   bash scripts/train_release.sh KNMI TILE...
# KNMI is an archive of 5-minute frames, each TILE one of 2-minute frames (MRMS). All their days train, or after
# a colon those named: data/knmi:20100826. OUT chooses another folder than runs/release, JOBS how many runs go
# side by side; STEPS=2 is a trial of the whole in minutes, with so many steps a training.
set -euo pipefail
EXTRAS=pysteps source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
[ $# -ge 2 ] || { echo "usage: bash scripts/train_release.sh KNMI[:YYYYMMDD] TILE..." >&2; exit 2; }
out=$(realpath -m "${OUT:-runs/release}")
dwd=$(realpath -m "${DWD:-data/dwd}") synthetic=$out/synthetic
mkdir -p "$out"
[ -f "$dwd/archive.json" ] || nowcast data sample "$dwd"
[ -f "$synthetic/archive.json" ] || nowcast data synth "$synthetic" --days 9 --size 288 --step 5 --seed 1

source_of() { # archive[:day], how it is drawn -> an entry of data.sources, with lists of training days alone
  local root days lists
  root=$(realpath "${1%%:*}") lists=$out/lists/$(basename "${1%%:*}")
  days=$(find "$root" -name 'RAD*.png' | sed 's/.*RAD\(......\).*/20\1/' | sort -u)
  [[ $1 != *:* ]] || days=$(tr , '\n' <<< "${1#*:}")
  mkdir -p "$lists"
  for split in train valid test; do : > "$lists/hko7_rainy_${split}_days.txt"; done
  sed 's/$/, 1.0/' <<< "$days" > "$lists/hko7_rainy_train_days.txt"
  echo "{root: $root, lists: $lists, $2}"
}
sources="{root: $dwd, weight: 6, speeds: [1, 1, 2]}, $(source_of "$1" "weight: 6, speeds: [1, 1, 2]")"
for tile in "${@:2}"; do
  sources+=", $(source_of "$tile" "weight: 0.7, speeds: [1, 2, 2, 2, 3, 3, 3, 3]")"
done

release() { # name, seeds, split, further lines of what fine-tuning sets, overrides...
  cat configs/precipitation/release.yaml - > "$out/$1.yaml" <<END
compare:
  seeds: $2
  split: $3
  baselines: [persistence, flow, sprog]
  variants:
    P-Original: {}
    P-MEmeL: {set: {memel.delta: 1.0}}
    T-Original: {start_from: P-Original, set: &fine {$4, data.sources: [$sources]}}
    T-MEmeL: {start_from: P-MEmeL, set: *fine}
END
  nowcast compare "$out/$1.yaml" "data.root=$dwd" "data.sources=[{root: $synthetic}]" "${@:5}" \
    --jobs "${JOBS:-2}" --out "$out/$1"
}
pretraining() { # steps, between validations
  echo "train.steps=${STEPS:-$1} train.validate_every=${STEPS:-$2}"
}
fine_tuning() { # steps
  echo "train.steps: ${STEPS:-$1}, train.validate_every: ${STEPS:-300}"
}
release long '[0]' valid "$(fine_tuning 1800)" $(pretraining 250 125)
release memel '[0, 1, 2, 3, 4]' test "$(fine_tuning 300)" $(pretraining 200 200) \
  'data.random_crop=[160, 160]' train.batch_size=2
