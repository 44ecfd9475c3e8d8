#!/usr/bin/env bash
# CXR-IRGen (WACV 2024): films from text and a reference film, reports from the films, and their scores.
#
#   bash experiments/cxr_irgen.sh                          # demo scale: phantoms, 10 minutes on 2 CPU cores with matrix units
#   QUICK=1 bash experiments/cxr_irgen.sh                  # fewer films and steps, 4 to 5 minutes, into runs/quick: rough films
#   ABLATION=1 bash experiments/cxr_irgen.sh               # + text alone against text and reference, 3 seeds
#   SCALE=paper DATA=mimic-pairs bash experiments/cxr_irgen.sh   # the paper's settings, on a pairs folder
#   UVIT_WEIGHTS=imagenet256_uvit_large.pth SCALE=paper ...      # the U-ViT from the authors' ImageNet weights
#   DRY_RUN=1 bash experiments/cxr_irgen.sh                # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
shopt -s nullglob  # systems/ may hold no other system yet
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DRY=${DRY_RUN:+--dry-run}
[ "$SCALE" = demo ] || QUICK=
PERCENT=${QUICK:+40} # of the usual time
. experiments/stages.bash

steps() { [ -z "${QUICK:-}" ] || echo "--num-steps $1"; } # in the place of the preset's

case $SCALE in
  demo)
    if [ -n "${QUICK:-}" ]; then OUT=${OUT:-runs/quick} PAIRS=${PAIRS:-64}; fi
    OUT=${OUT:-runs/demo}
    DATA=${DATA:-$OUT/data}
    PAIRS=${PAIRS:-256}
    REPORTS="--method sample --temperature 0.7 --num-candidates 4 --assemble"  # as sample_pairs.py's preset
    AUTOENCODER=$OUT/autoencoder CLIP=$OUT/clip
    # What U-ViT and prior learn from is another network than the classifier that scores them.
    ALIGNED="--repa $OUT/encoder --repa-level -2" PRIOR="--preset films --classifier $OUT/encoder"
    $PYTHON prepare_data.py demo --out "$DATA" ${QUICK:+--num-studies 1500} $DRY
    ;;
  paper)
    OUT=${OUT:-runs/paper}
    DATA=${DATA:?SCALE=paper needs DATA=FOLDER, a pairs folder that prepare_data.py made of MIMIC-CXR-JPG}
    PAIRS=${PAIRS:-1000}
    REPORTS= ALIGNED=
    AUTOENCODER=$OUT/autoencoder CLIP=openai/clip-vit-large-patch14 PRIOR="--preset paper --autoencoder $AUTOENCODER"
    ;;
  *) echo "SCALE=$SCALE: choose demo or paper" >&2; exit 2 ;;
esac

autoencoder() {
  $PYTHON train_autoencoder.py --preset $SCALE --data "$DATA" --out "$AUTOENCODER" $(steps 260) $DRY
}
encoders() {
  [ $SCALE = paper ] || $PYTHON train_clip.py --data "$DATA" --out "$CLIP" $(steps 150) $DRY
  [ $SCALE = paper ] || $PYTHON train_classifier.py --data "$DATA" --out "$OUT/encoder" --seed 1 $(steps 150) $DRY
}
films() {
  $PYTHON train_diffusion_clipUViT.py --preset $SCALE --data "$DATA" --autoencoder "$AUTOENCODER" --clip "$CLIP" $ALIGNED ${UVIT_WEIGHTS:+--init-from "$UVIT_WEIGHTS"} --out "$OUT/uvit" $(steps 460) $DRY
}
reports() {
  $PYTHON train_classifier.py --preset $SCALE --data "$DATA" --out "$OUT/classifier" $(steps 150) $DRY
  $PYTHON train_bart.py --preset $SCALE --data "$DATA" --out "$OUT/bart" $(steps 200) $DRY
  $PYTHON train_prior_model.py $PRIOR --data "$DATA" --language "$OUT/bart" --out "$OUT/prior" $(steps 400) $DRY
  $PYTHON generate_reports.py --preset $SCALE --data "$DATA" --split test --model "$OUT/prior" --autoencoder "$AUTOENCODER" --language "$OUT/bart" --out "$OUT/heldout_reports.csv" --overwrite $REPORTS $DRY
}
together autoencoder encoders
together films reports

$PYTHON sample_pairs.py --preset $SCALE --vision "$OUT/uvit" --language "$OUT/bart" --prior "$OUT/prior" --data "$DATA" --out "$OUT/pairs" --num-pairs "$PAIRS" $DRY
$PYTHON -m evaluation all --real "$DATA" --synthetic "$OUT/pairs" --reports "$OUT/heldout_reports.csv" --classifier "$OUT/classifier" --out "$OUT/results" $DRY
$PYTHON -m evaluation summary "cxr_irgen=$OUT/results" "$OUT"/systems/*/ --out "$OUT/systems.md" $DRY

if [ -n "${ABLATION:-}" ]; then
  # The reference film against text alone, on both backbones; one training run and one sample for each seed.
  # ABLATION_STEPS=800 shortens the training runs.
  STEPS=${ABLATION_STEPS:+--num-steps $ABLATION_STEPS}
  for SEED in 0 1 2; do
    for FUSION in reference text; do
      UVIT_FUSION=mean SD_FUSION=concat
      if [ $FUSION = text ]; then UVIT_FUSION=text SD_FUSION=text; fi
      $PYTHON train_diffusion_clipUViT.py --preset $SCALE --data "$DATA" --autoencoder "$AUTOENCODER" --clip "$CLIP" --fusion $UVIT_FUSION --text-tokens pooled --seed $SEED $STEPS --out "$OUT/ablation/uvit_${FUSION}_$SEED" $DRY
      $PYTHON train_diffusion_clipSD.py --preset $SCALE --data "$DATA" --autoencoder "$AUTOENCODER" --clip "$CLIP" --fusion $SD_FUSION --seed $SEED $STEPS --out "$OUT/ablation/sd_${FUSION}_$SEED" $DRY
      for BACKBONE in uvit sd; do
        NAME=${BACKBONE}_${FUSION}_$SEED
        $PYTHON sample_pairs.py --preset $SCALE --vision "$OUT/ablation/$NAME" --films-only --data "$DATA" --seed $SEED --num-pairs "$PAIRS" --out "$OUT/ablation/pairs_$NAME" $DRY
        $PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/ablation/pairs_$NAME" --classifier "$OUT/classifier" --out "$OUT/ablation/results_$NAME" $DRY
      done
    done
  done
  $PYTHON -m evaluation summary "$OUT"/ablation/results_* --out "$OUT/results/ablation.md" $DRY
fi

APP="make app                           " MODELS=
if [ "$OUT" != runs/demo ]; then # where page and sampling look for models by themselves
  MODELS=" --vision $OUT/uvit --language $OUT/bart --prior $OUT/prior --data $DATA"
  APP=".venv/bin/python app.py$MODELS --classifier $OUT/classifier --pairs $OUT/pairs"
fi
if [ "$SCALE" = demo ]; then cat <<LOOK

Four things to look at:
  $OUT/pairs/contact_sheet.png       the first films, with their prompts and reports
  $OUT/results/report.html           how good they are; the verdict stands on top
  $APP   a page to draw, read and compare films yourself
  .venv/bin/python sample_pairs.py --prompt "Large right pleural effusion."$MODELS --out $OUT/effusion
LOOK
fi
