#!/usr/bin/env bash
# Table 4 of Wang et al. 2024: what one update does to the most monosemantic values of a Swin, after
# reproduce_table2.sh with the same arguments. OUT chooses another folder than there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out=${OUT:-runs/tables}
run=$out/digits/table2/runs/Original/seed0 neurons=2000
if [ $# -gt 0 ]; then run=$out/imagenet/table2/tiny/runs/Original/seed0 neurons=10000; fi
nowcast audit inhibition "$run" --neurons "$neurons" --json "$out/table4.json"
