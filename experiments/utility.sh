#!/usr/bin/env bash
# What are synthetic films good for? The same classifier, steps and seeds on real films, on synthetic ones (train on
# synthetic, test on real), on both, and on real films plus synthetic ones of rare findings; AUROC on real test films.
#
#   bash experiments/utility.sh                       # after `make demo`: its data and pairs
#   SYNTHETIC=FOLDER DATA=FOLDER bash experiments/utility.sh
#   SEEDS="0 1 2 3 4" RARE="Fracture Pneumonia" STEPS=800 bash experiments/utility.sh
#   DRY_RUN=1 bash experiments/utility.sh             # show what would run
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
STEPS=${STEPS:+--num-steps $STEPS}
DRY=${DRY_RUN:+--dry-run}

$PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --num-synthetic 0 --out "$OUT/data_real" $DRY
$PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --num-real 0 --out "$OUT/data_synthetic" $DRY
$PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --out "$OUT/data_both" $DRY
$PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --only $RARE --out "$OUT/data_rare" $DRY

RUNS=""
for NAME in real synthetic both rare; do
  for SEED in $SEEDS; do
    $PYTHON train_classifier.py --preset $SCALE --data "$OUT/data_$NAME" --seed $SEED $STEPS --out "$OUT/${NAME}_$SEED" $DRY
    RUNS="$RUNS $NAME=$OUT/${NAME}_$SEED"
  done
done
$PYTHON -m evaluation utility $RUNS --real "$DATA" --out "$OUT/results" $DRY
