#!/usr/bin/env bash
# The main job on real radar: real data, pretraining and fine-tuning with and without MEmeL, a table.
# Run again, it finds what is finished and only reports. OUT chooses another folder than runs/demo.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
data=${DATA:-data/dwd}
[ -f "$data/archive.json" ] || nowcast data sample "$data"
nowcast compare configs/precipitation/demo.yaml "data.root=$data" --jobs 2 --out "${OUT:-runs/demo}"
