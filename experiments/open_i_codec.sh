#!/usr/bin/env bash
# How well do real reports come back from K embeddings? The codec alone, on the Open-I reports
# (3,955, inside the torchxrayvision package; split by distinct text), from scratch, for
# K = 1 (the paper's mean pooling), 4, 16 and 32 (learned pooling, each embedding with its own part of the
# report), with the same steps for each.
#
#   bash experiments/open_i_codec.sh              # some minutes for each K on 2 CPU cores
#   STEPS=6000 bash experiments/open_i_codec.sh   # longer
#   DRY_RUN=1 bash experiments/open_i_codec.sh    # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-runs/open_i}
STEPS=${STEPS:-1500}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash

$PYTHON prepare_data.py open-i --out "$OUT/data" $DRY

$PYTHON train_bart.py --preset open-i --data "$OUT/data" --out "$OUT/bart_mean_1" --pooling mean --num-embeddings 1 --num-steps "$STEPS" $DRY
$PYTHON train_bart.py --preset open-i --data "$OUT/data" --out "$OUT/bart_learned_4" --num-embeddings 4 --num-steps "$STEPS" $DRY
$PYTHON train_bart.py --preset open-i --data "$OUT/data" --out "$OUT/bart_learned_16" --num-embeddings 16 --num-steps "$STEPS" $DRY
$PYTHON train_bart.py --preset open-i --data "$OUT/data" --out "$OUT/bart_learned_32" --num-embeddings 32 --num-steps "$STEPS" $DRY

for CODEC in mean_1 learned_4 learned_16 learned_32; do
  $PYTHON generate_reports.py --data "$OUT/data" --split test --language "$OUT/bart_$CODEC" --reconstruct --out "$OUT/$CODEC.csv" --overwrite $DRY
  $PYTHON -m evaluation reports --real "$OUT/data" --reports "$OUT/$CODEC.csv" --out "$OUT/results_$CODEC" $DRY
done
