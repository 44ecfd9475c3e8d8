#!/usr/bin/env bash
# Do films show what prompts ask for beyond findings: sides, grades, sex, view and age? In free words ("big right-sided
# effusion, AP view"), and as impressions of reports word them.
#
#   bash experiments/steering.sh                      # after `make demo`: its data, U-ViT and classifier
#   VISION=RUN DATA=FOLDER CLASSIFIER=RUN bash experiments/steering.sh
#   NUM=100 bash experiments/steering.sh              # fewer films than 500 of each kind of prompt
#   FILTER=1 bash experiments/steering.sh             # free prompts also drawn anew until a second network sees them obeyed
#   DRY_RUN=1 bash experiments/steering.sh            # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DATA=${DATA:-runs/demo/data}
VISION=${VISION:-runs/demo/uvit}
CLASSIFIER=${CLASSIFIER:-runs/demo/classifier}
OUT=${OUT:-runs/steering}
NUM=${NUM:-500}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash

$PYTHON train_classifier.py --preset $SCALE --targets controls --num-steps 800 --data "$DATA" --out "$OUT/controls" $DRY
draw() { # NAME FLAGS...
  $PYTHON sample_pairs.py --preset $SCALE --vision "$VISION" --films-only --data "$DATA" --num-pairs "$NUM" --out "$OUT/$1" "${@:2}" $DRY
  $PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/$1" --classifier "$CLASSIFIER" --controls "$OUT/controls" --out "$OUT/results_$1" $DRY
}
draw free --prompt-column free_prompt
draw impression --prompt-column impression_section
SYSTEMS=("free=$OUT/results_free" "impression=$OUT/results_impression")
if [ -n "${FILTER:-}" ]; then # films are chosen by one network and scored by another, of another seed; no prompt is lost
  $PYTHON train_classifier.py --preset $SCALE --targets controls --num-steps 800 --seed 1 --data "$DATA" --out "$OUT/controls_filter" $DRY
  draw filtered --prompt-column free_prompt --keep controls-agree --controls "$OUT/controls_filter" --max-tries 32 --keep-best
  SYSTEMS+=("filtered=$OUT/results_filtered")
fi
$PYTHON -m evaluation summary "${SYSTEMS[@]}" --out "$OUT/systems.md" $DRY
