#!/usr/bin/env bash
# What are synthetic pairs good for, where reports are written? The same writer (image encoder and GPT-2, in two stages)
# trained on real pairs, on synthetic ones, on both, and on synthetic ones before real ones; its reports of real test films
# in one table, with paired intervals against the writer trained on real pairs alone.
#
#   bash experiments/report_utility.sh                       # after `make demo`: its data and pairs
#   SYNTHETIC=FOLDER DATA=FOLDER bash experiments/report_utility.sh
#   REAL=256 NUM=256 STEPS=400 bash experiments/report_utility.sh   # few real pairs, and how many synthetic ones (-1: all)
#   DRY_RUN=1 bash experiments/report_utility.sh             # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DATA=${DATA:-runs/demo/data}
SYNTHETIC=${SYNTHETIC:-runs/demo/pairs}
OUT=${OUT:-runs/report_utility}
REAL=${REAL:--1}
NUM=${NUM:--1}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash
STEPS=${STEPS:+--num-steps $STEPS}
RATE="--learning-rate 3e-4"  # of stage 2, which trains all weights

TABLES=()
write() {  # NAME: reports of the real test films
  $PYTHON generate_reports.py --preset $SCALE --data "$DATA" --split test --model "$OUT/$1" --out "$OUT/reports/$1.csv" --overwrite $DRY
  TABLES+=("$1=$OUT/reports/$1.csv")
}

for NAME in real synthetic both; do
  case $NAME in
    real) COUNTS="--num-real $REAL --num-synthetic 0" ;;
    synthetic) COUNTS="--num-real 0 --num-synthetic $NUM" ;;
    both) COUNTS="--num-real $REAL --num-synthetic $NUM" ;;
  esac
  $PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" $COUNTS --out "$OUT/data_$NAME" $DRY
  $PYTHON train_classifier.py --preset $SCALE --data "$OUT/data_$NAME" $STEPS --out "$OUT/encoder_$NAME" $DRY
  $PYTHON train_report_gpt.py --preset $SCALE --data "$OUT/data_$NAME" --encoder "$OUT/encoder_$NAME" $STEPS --out "$OUT/frozen_$NAME" $DRY
  $PYTHON train_report_gpt.py --preset $SCALE --data "$OUT/data_$NAME" --stage 2 --init-from "$OUT/frozen_$NAME" $RATE $STEPS --out "$OUT/$NAME" $DRY
  write $NAME
done
$PYTHON train_report_gpt.py --preset $SCALE --data "$OUT/data_real" --stage 2 --init-from "$OUT/synthetic" $RATE $STEPS --out "$OUT/pretrained" $DRY
write pretrained
$PYTHON compare_reports.py --real "$DATA" --split test --reports "${TABLES[@]}" --against real --out "$OUT/reports/table.md" $DRY
