#!/usr/bin/env bash
# CXRGenAI: Stable Diffusion adapted to chest films by LoRA, on the U-Net and on the text encoder.
#
#   bash experiments/cxrgenai_lora.sh                                # demo scale; takes over what make demo trained
#   SCALE=paper DATA=open-i-pairs bash experiments/cxrgenai_lora.sh  # SD 1.4, on a pairs folder of films and reports:
#     python prepare_data.py open-i --download raw --split-shares 0.7 0.1 0.2 --out open-i-pairs   # 20% for the test
#   DRY_RUN=1 bash experiments/cxrgenai_lora.sh                      # a line for each stage
#
# The demo has no Stable Diffusion to adapt, so it trains a small one first: on 2,000 other phantoms and their
# reports. The adapters then learn the prompt sentences, which it has never seen, on the demo's own films.
# At full scale the other 80% are cross-validated by patient (FOLDS=5; FOLDS=0 trains one model), each fold stops
# early by its loss, and the best fold's model is the one that draws.
# The unadapted model is scored on the same prompts, so the table shows what the adapters bring.
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
    FILMS=${FILMS:-256} GUIDANCE=3 STEPS=15 SYSTEMS="cxrgenai_base cxrgenai_lora"
    $PYTHON prepare_data.py demo --out "$DATA" $DRY
    $PYTHON train_autoencoder.py --data "$DATA" --out "$OUT/autoencoder" $DRY
    $PYTHON train_clip.py --data "$DATA" --out "$OUT/clip" $DRY
    $PYTHON train_classifier.py --data "$DATA" --out "$OUT/classifier" $DRY
    $PYTHON prepare_data.py demo --seed 1 --num-studies 2000 --out "$OUT/cxrgenai_base_data" $DRY
    $PYTHON train_diffusion_clipSD.py --preset cxrgenai-base-demo --data "$OUT/cxrgenai_base_data" --autoencoder "$OUT/autoencoder" --clip "$OUT/clip" --out "$OUT/cxrgenai_base" $DRY
    $PYTHON train_diffusion_clipSD.py --preset cxrgenai-demo --data "$DATA" --autoencoder "$OUT/autoencoder" --clip "$OUT/cxrgenai_base" --init-from "$OUT/cxrgenai_base" --out "$OUT/cxrgenai_lora" $DRY
    ;;
  paper)
    OUT=${OUT:-runs/cxrgenai}
    DATA=${DATA:?SCALE=paper needs DATA=FOLDER, a pairs folder of films and reports (CXRGenAI: Open-I)}
    FILMS=${FILMS:-1000} GUIDANCE=7.5 STEPS=35 SYSTEMS="cxrgenai_lora"
    $PYTHON train_classifier.py --preset paper --data "$DATA" --out "$OUT/classifier" $DRY
    REGIME="--early-stopping loss --score-films 64"
    if [ "${FOLDS:=5}" -gt 0 ]; then
      RUNS=()
      for FOLD in $(seq 0 $((FOLDS - 1))); do
        RUNS+=("$OUT/folds/fold_$FOLD")
        $PYTHON train_diffusion_clipSD.py --preset cxrgenai --data "$DATA" --folds "$FOLDS" --fold "$FOLD" $REGIME --cache "$OUT/cache" --out "$OUT/folds/fold_$FOLD" $DRY
      done
      $PYTHON -m training folds "${RUNS[@]}" --best "$OUT/cxrgenai_lora" --out "$OUT/folds.md" $DRY
    else
      $PYTHON train_diffusion_clipSD.py --preset cxrgenai --data "$DATA" $REGIME --out "$OUT/cxrgenai_lora" $DRY
    fi
    ;;
  *) echo "SCALE=$SCALE: choose demo or paper" >&2; exit 2 ;;
esac

for SYSTEM in $SYSTEMS; do
  $PYTHON sample_pairs.py --vision "$OUT/$SYSTEM" --data "$DATA" --films-only --num-pairs "$FILMS" --num-inference-steps $STEPS --guidance-scale $GUIDANCE --out "$OUT/${SYSTEM}_films" $DRY
  $PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/${SYSTEM}_films" --classifier "$OUT/classifier" --out "$OUT/systems/$SYSTEM" $DRY
done
# CXR-IRGen's row is there where its experiment ran.
$PYTHON -m evaluation summary $([ -d "$OUT/results" ] && echo "cxr_irgen=$OUT/results") "$OUT"/systems/*/ --out "$OUT/systems.md" $DRY
