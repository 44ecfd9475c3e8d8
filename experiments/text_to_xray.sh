#!/usr/bin/env bash
# Text-to-X-ray: an autoencoder of its own, reports through ClinicalBERT, and a latent U-Net trained as a DDPM.
#
#   bash experiments/text_to_xray.sh                               # demo scale; takes over what make demo trained
#   SCALE=paper DATA=mimic-pairs bash experiments/text_to_xray.sh  # 256x256, ClinicalBERT, on a pairs folder
#   DRY_RUN=1 bash experiments/text_to_xray.sh                     # a line for each stage
#
# At demo scale the demo's CLIP reads the reports: there is no small ClinicalBERT.
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
    FILMS=${FILMS:-256} STEPS=25
    $PYTHON prepare_data.py demo --out "$DATA" $DRY
    $PYTHON train_autoencoder.py --data "$DATA" --out "$OUT/autoencoder" $DRY
    $PYTHON train_clip.py --data "$DATA" --out "$OUT/clip" $DRY
    $PYTHON train_classifier.py --data "$DATA" --out "$OUT/classifier" $DRY
    $PYTHON train_text_to_latent.py --data "$DATA" --autoencoder "$OUT/autoencoder" --clip "$OUT/clip" --out "$OUT/text_to_latent" $DRY
    $PYTHON train_diffusion_clipSD.py --preset text-to-xray-demo --data "$DATA" --autoencoder "$OUT/autoencoder" --clip "$OUT/clip" --out "$OUT/text_to_xray" $DRY
    ;;
  paper)
    OUT=${OUT:-runs/text_to_xray}
    DATA=${DATA:?SCALE=paper needs DATA=FOLDER, a pairs folder that prepare_data.py made of MIMIC-CXR-JPG}
    FILMS=${FILMS:-1000} STEPS=50
    $PYTHON train_autoencoder.py --preset text-to-xray --data "$DATA" --out "$OUT/autoencoder" $DRY
    $PYTHON train_classifier.py --preset paper --data "$DATA" --out "$OUT/classifier" $DRY
    $PYTHON train_text_to_latent.py --preset paper --data "$DATA" --autoencoder "$OUT/autoencoder" --out "$OUT/text_to_latent" $DRY
    $PYTHON train_diffusion_clipSD.py --preset text-to-xray --data "$DATA" --autoencoder "$OUT/autoencoder" --out "$OUT/text_to_xray" $DRY
    ;;
  *) echo "SCALE=$SCALE: choose demo or paper" >&2; exit 2 ;;
esac

# The text-to-latent MLP alone: its latents decoded as they are.
$PYTHON sample_pairs.py --vision "$OUT/text_to_xray" --init-from "$OUT/text_to_latent" --strength 0 --data "$DATA" --films-only --num-pairs "$FILMS" --out "$OUT/text_to_latent_films" $DRY
$PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/text_to_latent_films" --classifier "$OUT/classifier" --out "$OUT/systems/text_to_latent" $DRY
$PYTHON sample_pairs.py --vision "$OUT/text_to_xray" --data "$DATA" --films-only --num-pairs "$FILMS" --solver ddim --num-inference-steps $STEPS --guidance-scale 3 --out "$OUT/text_to_xray_films" $DRY
$PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/text_to_xray_films" --classifier "$OUT/classifier" --out "$OUT/systems/text_to_xray" $DRY
# CXR-IRGen's row is there where its experiment ran.
$PYTHON -m evaluation summary $([ -d "$OUT/results" ] && echo "cxr_irgen=$OUT/results") "$OUT"/systems/*/ --out "$OUT/systems.md" $DRY
