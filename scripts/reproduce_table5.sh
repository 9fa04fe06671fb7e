#!/usr/bin/env bash
# Table 5 of Wang et al. 2024; see reproduce.sh.
table=5 shared=pretrained
source "$(dirname "${BASH_SOURCE[0]}")/reproduce.sh"
