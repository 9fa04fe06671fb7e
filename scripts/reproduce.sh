# Sourced by reproduce_table*.sh with the table's number in `table` and the variants' runs in `shared`.
# Without an argument: at the demo's size, on real radar (DWD) and on synthetic rain. With the folder of
# HKO-7, as published: needs a GPU. JOBS chooses how many runs go side by side, OUT another folder.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
compare() { # config, archive, folder
  nowcast compare "$1" "data.root=$2" --out "$3/table$table" --runs "$3/$shared" --jobs "${JOBS:-2}"
}
out=${OUT:-runs/tables}
if [ $# -gt 0 ]; then
  JOBS=${JOBS:-1} compare "configs/precipitation/hko7_table$table.yaml" "$1" "$out/hko7"
else
  [ -f data/dwd/archive.json ] || nowcast data sample data/dwd
  [ -f data/synthetic/archive.json ] || nowcast data synth data/synthetic --days 20 --size 180 --seed 0
  compare "configs/precipitation/table${table}_small.yaml" data/dwd "$out/dwd"
  compare "configs/precipitation/table${table}_small.yaml" data/synthetic "$out/synthetic"
fi
