#!/usr/bin/env bash
# Does a denoiser give its training films back? Two audits, of a U-ViT of yours and of the same one after it was tuned on a
# few films for so long that it must: films drawn with many seeds from training prompts, and membership inference by loss.
#
#   bash experiments/memorization.sh                         # after `make demo`: its data and U-ViT
#   VISION=RUN DATA=FOLDER AUTOENCODER=RUN CLIP=RUN CLASSIFIER=RUN bash experiments/memorization.sh
#   FEW=64 STEPS=3000 bash experiments/memorization.sh       # of the planted model: training films and steps
#   PROMPTS=100 DRAWS=2000 bash experiments/memorization.sh  # training prompts, and films drawn from them in all
#   DRY_RUN=1 bash experiments/memorization.sh               # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DATA=${DATA:-runs/demo/data}
VISION=${VISION:-runs/demo/uvit}
AUTOENCODER=${AUTOENCODER:-runs/demo/autoencoder}
CLIP=${CLIP:-runs/demo/clip}
CLASSIFIER=${CLASSIFIER:-runs/demo/classifier}
OUT=${OUT:-runs/memorization}
FEW=${FEW:-32}
STEPS=${STEPS:-1500}
RATE=${RATE:-1e-3}
PROMPTS=${PROMPTS:-32}
DRAWS=${DRAWS:-256}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash

audit() {  # NAME MODEL DATA
  $PYTHON sample_pairs.py --preset $SCALE --vision "$2" --data "$3" --split train --num-prompts "$PROMPTS" --num-pairs "$DRAWS" --films-only --out "$OUT/draws_$1" $DRY
  $PYTHON -m evaluation memorization --real "$3" --draws "$OUT/draws_$1" --features "$CLASSIFIER" --out "$OUT/$1" $DRY
  $PYTHON audit_membership.py --vision "$2" --data "$3" --out "$OUT/$1" $DRY
}

$PYTHON -m evaluation mix --real "$DATA" --synthetic "$DATA" --num-real "$FEW" --num-synthetic 0 --out "$OUT/few" $DRY
$PYTHON train_diffusion_clipUViT.py --preset $SCALE --data "$OUT/few" --autoencoder "$AUTOENCODER" --clip "$CLIP" --init-from "$VISION" --learning-rate "$RATE" --ema-decay 0.98 --warmup-steps 20 --batch-size 8 --num-steps "$STEPS" --out "$OUT/planted" $DRY
audit planted_audit "$OUT/planted" "$OUT/few"
audit own_audit "$VISION" "$DATA"
