#!/usr/bin/env bash
# How much guidance? AUROC and FID of films over the guidance scale, with guidance at all noise levels and
# inside an interval of them (Kynkäänniemi et al., NeurIPS 2024), as a table and a chart.
#
#   bash experiments/guidance_curve.sh                                        # the demo's U-ViT, after make demo
#   VISION=RUN DATA=FOLDER CLASSIFIER=RUN OUT=FOLDER bash experiments/guidance_curve.sh
#   DRY_RUN=1 bash experiments/guidance_curve.sh                              # a line for each stage
set -euo pipefail
[ $# = 0 ] || { sed '1d; /^#/!Q; s/^# \{0,1\}//' "$0"; exit 2; }  # it takes no flags: show the above
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-runs/demo/guidance}
VISION=${VISION:-runs/demo/uvit}
DATA=${DATA:-runs/demo/data}
CLASSIFIER=${CLASSIFIER:-runs/demo/classifier}
FILMS=${FILMS:-128}
LOW=${LOW:-0.2}
HIGH=${HIGH:-0.8}
DRY=${DRY_RUN:+--dry-run}
. experiments/stages.bash

draw() {  # NAME LOW HIGH GUIDANCE
  $PYTHON sample_pairs.py --vision "$VISION" --data "$DATA" --films-only --num-pairs "$FILMS" --guidance-scale "$4" --guidance-interval "$2" "$3" --out "$OUT/films_$1_$4" $DRY
  $PYTHON -m evaluation images --real "$DATA" --synthetic "$OUT/films_$1_$4" --classifier "$CLASSIFIER" --out "$OUT/$1_$4" $DRY
}

for GUIDANCE in 1 2 3 4 6 8; do draw all 0 1 $GUIDANCE; done
for GUIDANCE in 2 3 4 6 8; do draw interval "$LOW" "$HIGH" $GUIDANCE; done
$PYTHON experiments/plot_guidance.py "$OUT"/all_* "$OUT"/interval_* --out "$OUT" $DRY
