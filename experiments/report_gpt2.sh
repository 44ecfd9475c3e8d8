#!/usr/bin/env bash
# Reports from films, in one table: the paper's codec and prior, ours on latents and on films (a classifier's
# features, encoder and decoder trained along; one report greedily, or the best of several drafts), the two-stage
# GPT-2 baseline ("Automated Radiology Report Generation"), and floors that published systems often fail to beat:
# one report for every film (the most frequent, the most typical), and what the nearest training films have, in the
# classifier's features.
#
#   bash experiments/report_gpt2.sh                         # demo scale: phantoms, after experiments/cxr_irgen.sh
#   SCALE=paper DATA=mimic-pairs bash experiments/report_gpt2.sh   # published sizes and weights
#   DRY_RUN=1 bash experiments/report_gpt2.sh               # a line for each stage
#
# Folders that are there already (data, autoencoder, classifier, bart, prior) are used as they are.
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
    ENCODER=$OUT/encoder READER=$OUT/encoder
    $PYTHON prepare_data.py demo --out "$DATA" $DRY
    $PYTHON train_classifier.py --data "$DATA" --out "$ENCODER" --seed 1 $DRY
    # The paper's design at our sizes: one mean-pooled vector, no denoising, a plain ViT, MSE and cosine.
    PAPER_CODEC="--pooling mean --num-embeddings 1 --no-normalize --bag-of-words-weight 0 --token-mask-rate 0 --embedding-noise 0 --decoder-mask-rate 0"
    PAPER_PRIOR="--num-steps 1000 --depth 4 --stem-depth 0 --num-findings 0 --findings-weight 0 --decoder-loss-weight 0 --latent-noise 0 --max-shift 0"
    # Equal time: by CPU seconds GPT-2's two stages take 341; ours 120 for the codec and 206 to 242 for the prior.
    OURS_CODEC="" ON_FILMS="--preset films" FILMS=$OUT/prior LATENTS=$OUT/prior_latents
    STAGE_1="--num-steps 700" STAGE_2="--num-steps 700 --learning-rate 5e-4"
    ;;
  paper)
    OUT=${OUT:-runs/paper}
    DATA=${DATA:?SCALE=paper needs DATA=FOLDER, a pairs folder that prepare_data.py made of MIMIC-CXR-JPG}
    ENCODER=google/vit-base-patch16-224 READER=$OUT/classifier
    PAPER_CODEC="" PAPER_PRIOR=""
    OURS_CODEC="--pooling learned --num-embeddings 8 --normalize --bag-of-words-weight 1 --token-mask-rate 0.1 --embedding-noise 0.2 --decoder-mask-rate 0.1"
    ON_FILMS="--preset paper --features classifier --feature-levels 2 --tune-encoder --tune-decoder --mse-weight 0 --cosine-weight 0 --patch-size 1 --decoder-loss-weight 2 --num-findings 14 --findings-weight 4"
    FILMS=$OUT/prior_films LATENTS=$OUT/prior
    STAGE_1="" STAGE_2="--learning-rate 2e-5"
    ;;
  *) echo "SCALE=$SCALE: choose demo or paper" >&2; exit 2 ;;
esac

$PYTHON train_autoencoder.py --preset $SCALE --data "$DATA" --out "$OUT/autoencoder" $DRY
$PYTHON train_classifier.py --preset $SCALE --data "$DATA" --out "$OUT/classifier" $DRY

$PYTHON train_bart.py --preset $SCALE --data "$DATA" --out "$OUT/bart_paper" $PAPER_CODEC $DRY
$PYTHON train_prior_model.py --preset $SCALE --data "$DATA" --autoencoder "$OUT/autoencoder" --language "$OUT/bart_paper" --out "$OUT/prior_paper" $PAPER_PRIOR $DRY
$PYTHON train_bart.py --preset $SCALE --data "$DATA" --out "$OUT/bart" $OURS_CODEC $DRY
$PYTHON train_prior_model.py --preset $SCALE --data "$DATA" --autoencoder "$OUT/autoencoder" --language "$OUT/bart" --out "$LATENTS" $DRY
$PYTHON train_prior_model.py $ON_FILMS --data "$DATA" --classifier "$READER" --language "$OUT/bart" --out "$FILMS" $DRY
$PYTHON train_report_gpt.py --preset $SCALE --data "$DATA" --encoder "$ENCODER" --out "$OUT/report_gpt_1" $STAGE_1 $DRY
$PYTHON train_report_gpt.py --preset $SCALE --data "$DATA" --encoder "$ENCODER" --stage 2 --init-from "$OUT/report_gpt_1" $STAGE_2 --out "$OUT/report_gpt_2" $DRY

TABLES=()
write() { # NAME MODEL FLAGS...
  local name=$1 model=$2
  shift 2
  $PYTHON generate_reports.py --preset $SCALE --data "$DATA" --model "$model" --out "$OUT/reports/$name/reports.csv" --overwrite "$@" $DRY
  TABLES+=("$name=$OUT/reports/$name/reports.csv")
}
write most-frequent most-frequent
write most-typical most-typical
write retrieval retrieval --classifier "$OUT/classifier"
write neighbors retrieval --classifier "$OUT/classifier" --num-neighbors 70
write gpt-2-stage-1 "$OUT/report_gpt_1"
write gpt-2 "$OUT/report_gpt_2"
write paper "$OUT/prior_paper"
write ours-latents "$LATENTS"
write ours-films "$FILMS"
write ours-drafts "$FILMS" --method sample --temperature 0.7 --num-candidates 12
write ours-consensus "$FILMS" --method sample --num-candidates 32 --choose-by consensus

$PYTHON compare_reports.py --real "$DATA" --split test --reports "${TABLES[@]}" --against gpt-2 --out "$OUT/reports/table.md" $DRY
