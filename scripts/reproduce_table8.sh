#!/usr/bin/env bash
# Table 8 of Wang et al. 2024; see reproduce.sh. Tables 3, 8 and 9 share their runs.
table=8 shared=fine_tuned
source "$(dirname "${BASH_SOURCE[0]}")/reproduce.sh"
