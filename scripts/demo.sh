#!/usr/bin/env bash
# The main job on real radar: real data, pretraining and fine-tuning with and without MEmeL, a table
# that also holds optical flow and the weights that come with nowcast, and a forecast with them.
# Run again, it finds what is finished and only reports. OUT chooses another folder than runs/demo.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
data=${DATA:-data/dwd}
out=${OUT:-runs/demo}
[ -f "$data/archive.json" ] || nowcast data sample "$data"
nowcast compare configs/precipitation/demo.yaml "data.root=$data" --jobs 2 --out "$out"
forecast=(nowcast forecast "$data" --at 2018-05-20T01:00 --overwrite --out "$out/forecast")
echo
"${forecast[@]}"
echo "This forecast is $out/forecast/forecast.gif, made by: ${forecast[*]}"
