# Sourced by every experiment: says before each of its commands which of how many it is and about how long the
# rest takes, and makes DRY_RUN=1 one table of them all.
#
# An experiment is a list of lines `$PYTHON script flags`. PYTHON="echo LINE" lists them, and runs none.
if [ "${PYTHON%% *}" != echo ]; then
  list_stages() { PYTHON="echo LINE" DRY_RUN=1 bash "experiments/$(basename "$0")" | grep '^LINE '; }
  if [ -n "$DRY" ]; then
    list_stages | $PYTHON -m experiments.dry_run
    exit
  fi

  # Seconds of a stage at demo scale, on two cores; the time left is scaled by what earlier stages took.
  usual_seconds() {
    case $1 in
      prepare_data.py) echo 25 ;;
      train_autoencoder.py) echo 220 ;;
      train_clip.py) echo 135 ;;
      train_classifier.py) echo 50 ;;
      train_diffusion_*) echo 770 ;;
      train_bart.py) echo 280 ;;
      train_prior_model.py) echo 500 ;;
      train_report_gpt.py) echo 170 ;;
      train_text_to_latent.py) echo 30 ;;
      sample_pairs.py | generate_reports.py) echo 40 ;;
      *) echo 30 ;;
    esac
  }
  show_time() { if [ "$1" -lt 90 ]; then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi; }

  mapfile -t STAGES < <(list_stages | cut -d' ' -f2-)
  RUNNER=$PYTHON PYTHON=run_stage
  STAGE=0 RAN=0 USUAL=0 # seconds that stages took, and usually take; those that were finished before left out
  run_stage() {
    local left=0 place before took usual
    for ((place = STAGE; place < ${#STAGES[@]}; place++)); do
      left=$((left + $(usual_seconds ${STAGES[$place]})))
    done
    STAGE=$((STAGE + 1))
    [ "$USUAL" -gt 0 ] && left=$((left * RAN / USUAL))
    [ "${SCALE:-demo}" = demo ] && left="about $(show_time $left) left" || left="$(show_time $SECONDS) so far"
    echo "== stage $STAGE of ${#STAGES[@]}: $1, $left"
    before=$SECONDS
    $RUNNER "$@"
    took=$((SECONDS - before)) usual=$(usual_seconds "$1")
    if [ $((5 * took)) -gt "$usual" ]; then RAN=$((RAN + took)) USUAL=$((USUAL + usual)); fi
  }
fi
