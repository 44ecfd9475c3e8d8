#!/usr/bin/env bash
# What are synthetic films good for? The same classifier, steps and seeds, AUROC on real test films, for each number of
# synthetic films: synthetic ones alone (train on synthetic, test on real), added to the real ones, added several times
# over, and pre-training on them with fine-tuning on the real ones, as RoentGen-v2 and ChexGen use theirs; and real films
# with the synthetic ones of rare findings. Ends in a table with paired intervals and a plot of the gain over the number.
#
#   bash experiments/utility.sh                       # after `make demo`: its data and pairs
#   SYNTHETIC=FOLDER DATA=FOLDER bash experiments/utility.sh
#   SEEDS="0 1 2 3 4" RARE="Fracture Pneumonia" BY="sex age:40,60" STEPS=800 bash experiments/utility.sh
#   REAL=256 ADD="64 256" bash experiments/utility.sh # few real films (-1: all), and how many synthetic ones are used
#   SPLIT=validation bash experiments/utility.sh      # scored on these real films (test)
#   REPEAT=1 bash experiments/utility.sh              # no films several times over (4)
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
REPEAT=${REPEAT:-4}
BY=${BY:-sex view}
SPLIT=${SPLIT:-test}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash
STEPS=${STEPS:+--num-steps $STEPS}

mix() {  # NAME FLAGS...
  $PYTHON -m evaluation mix --real "$DATA" --synthetic "$SYNTHETIC" --out "$OUT/data_$1" "${@:2}" $DRY
}

RUNS=""
train() {  # NAME DATA FOLDER [FOLDER of the runs to start from]
  local seed
  for seed in $SEEDS; do
    $PYTHON train_classifier.py --preset $SCALE --data "$OUT/data_$2" ${4:+--init-from "$OUT/$4_$seed"} --seed $seed $STEPS --out "$OUT/$3_$seed" $DRY
    RUNS="$RUNS $1=$OUT/$3_$seed"
  done
}

mix real --num-real "$REAL" --num-synthetic 0
train real real real
mix rare --num-real "$REAL" --only $RARE
train rare rare rare
for NUM in $ADD; do
  mix "only_$NUM" --num-real 0 --num-synthetic "$NUM"
  train "synthetic@$NUM" "only_$NUM" "only_$NUM"
  train "pretrained@$NUM" real "tuned_$NUM" "only_$NUM"
  mix "plus_$NUM" --num-real "$REAL" --num-synthetic "$NUM"
  train "added@$NUM" "plus_$NUM" "plus_$NUM"
  if [ "$REPEAT" -gt 1 ]; then
    mix "times_$NUM" --num-real "$REAL" --num-synthetic "$NUM" --repeat "$REPEAT"
    train "added_${REPEAT}_times@$NUM" "times_$NUM" "times_$NUM"
  fi
done
$PYTHON -m evaluation utility $RUNS --real "$DATA" --split "$SPLIT" --rare $RARE --by $BY --out "$OUT/results" $DRY
