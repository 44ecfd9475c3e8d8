#!/usr/bin/env bash
# MONAI's chest X-ray latent diffusion model (Pinaya et al., 2022; in its model zoo): from scratch, v-prediction,
# on up to five random sentences of a report. Text alone, no reference film.
#
#   bash experiments/monai_ldm.sh                               # demo scale; takes over what make demo trained
#   SCALE=paper DATA=mimic-pairs bash experiments/monai_ldm.sh  # 512x512, the published sizes, on a pairs folder
#   DRY_RUN=1 bash experiments/monai_ldm.sh                     # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
SCALE=${SCALE:-demo}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash

case $SCALE in
  demo)
    OUT=${OUT:-runs/demo}
    DATA=${DATA:-$OUT/data}
    FILMS=${FILMS:-256} GUIDANCE=3 STEPS=15
    $PYTHON prepare_data.py demo --out "$DATA" $DRY
    $PYTHON train_autoencoder.py --data "$DATA" --out "$OUT/autoencoder" $DRY
    $PYTHON train_clip.py --data "$DATA" --out "$OUT/clip" $DRY
    $PYTHON train_classifier.py --data "$DATA" --out "$OUT/classifier" $DRY
    $PYTHON train_diffusion_clipSD.py --preset monai-ldm-demo --data "$DATA" --autoencoder "$OUT/autoencoder" --clip "$OUT/clip" --out "$OUT/monai_ldm" $DRY
    ;;
  paper)
    OUT=${OUT:-runs/monai_ldm}
    DATA=${DATA:?SCALE=paper needs DATA=FOLDER, a pairs folder that prepare_data.py made of MIMIC-CXR-JPG}
    FILMS=${FILMS:-1000} GUIDANCE=7 STEPS=50
    $PYTHON train_classifier.py --preset paper --data "$DATA" --out "$OUT/classifier" $DRY
    $PYTHON train_autoencoder.py --preset monai --perceptual "$OUT/classifier" --data "$DATA" --out "$OUT/autoencoder" $DRY
    $PYTHON train_diffusion_clipSD.py --preset monai-ldm --data "$DATA" --autoencoder "$OUT/autoencoder" --out "$OUT/monai_ldm" $DRY
    ;;
  *) echo "SCALE=$SCALE: choose demo or paper" >&2; exit 2 ;;
esac

$PYTHON sample_pairs.py --vision "$OUT/monai_ldm" --data "$DATA" --films-only --num-pairs "$FILMS" --solver ddim --num-inference-steps $STEPS --guidance-scale $GUIDANCE --out "$OUT/monai_ldm_films" $DRY
$PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/monai_ldm_films" --classifier "$OUT/classifier" --out "$OUT/systems/monai_ldm" $DRY
# CXR-IRGen's row is there where its experiment ran.
$PYTHON -m evaluation summary $([ -d "$OUT/results" ] && echo "cxr_irgen=$OUT/results") "$OUT"/systems/*/ --out "$OUT/systems.md" $DRY
