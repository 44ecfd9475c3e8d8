#!/usr/bin/env bash
# What are synthetic films good for? The same classifier, steps and seeds on real films, on synthetic ones (train on
# synthetic, test on real), on real films with synthetic ones at several ratios, and on real films plus synthetic ones
# of rare findings; AUROC on real test films.
#
#   bash experiments/utility.sh                       # after `make demo`: its data and pairs
#   SYNTHETIC=FOLDER DATA=FOLDER bash experiments/utility.sh
#   SEEDS="0 1 2 3 4" RARE="Fracture Pneumonia" STEPS=800 bash experiments/utility.sh
#   REAL=256 ADD="64 256" bash experiments/utility.sh # few real films (-1: all), and how many synthetic ones are added
#   DRY_RUN=1 bash experiments/utility.sh             # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DATA=${DATA:-runs/demo/data}
SYNTHETIC=${SYNTHETIC:-runs/demo/pairs}
OUT=${OUT:-runs/utility}
SEEDS=${SEEDS:-0 1 2}
RARE=${RARE:-Fracture Pneumonia}
REAL=${REAL:--1}
ADD=${ADD:-64 128 256}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash
STEPS=${STEPS:+--num-steps $STEPS}

mix() {  # NAME FLAGS...
  $PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --out "$OUT/data_$1" "${@:2}" $DRY
}

mix real --num-real "$REAL" --num-synthetic 0
mix synthetic --num-real 0
mix rare --num-real "$REAL" --only $RARE
NAMES="real synthetic rare"
for NUM in $ADD; do
  mix "plus_$NUM" --num-real "$REAL" --num-synthetic "$NUM"
  NAMES="$NAMES plus_$NUM"
done

RUNS=""
for NAME in $NAMES; do
  for SEED in $SEEDS; do
    $PYTHON train_classifier.py --preset $SCALE --data "$OUT/data_$NAME" --seed $SEED $STEPS --out "$OUT/${NAME}_$SEED" $DRY
    RUNS="$RUNS $NAME=$OUT/${NAME}_$SEED"
  done
done
$PYTHON -m evaluation utility $RUNS --real "$DATA" --out "$OUT/results" $DRY
