# Sourced by every experiment: says before each of its commands which of how many it is and about how long the
# rest takes, runs two lists of commands beside each other, and makes DRY_RUN=1 one table of them all.
#
# An experiment is a list of lines `$PYTHON script flags`. PYTHON="echo LINE" lists them, and runs none.
if [ "${PYTHON%% *}" = echo ]; then
  together() { echo HALF && "$1" && "$2" && echo WHOLE; }
else
  list_stages() { PYTHON="echo LINE" DRY_RUN=1 bash "experiments/$(basename "$0")"; }
  if [ -n "$DRY" ]; then
    list_stages | grep '^LINE ' | $PYTHON -m experiments.dry_run
    exit
  fi

  # Seconds of a stage at demo scale, on one core with matrix units; the time left is scaled by what earlier stages took.
  usual_seconds() {
    case $1 in
      prepare_data.py) echo 45 ;;
      train_autoencoder.py) echo 140 ;;
      train_clip.py) echo 120 ;;
      train_classifier.py) echo 30 ;;
      train_diffusion_clipUViT.py) echo 310 ;;
      train_diffusion_*) echo 540 ;;
      train_bart.py) echo 105 ;;
      train_prior_model.py) echo 150 ;;
      train_report_gpt.py) echo 120 ;;
      train_text_to_latent.py) echo 30 ;;
      sample_pairs.py | generate_reports.py) echo 40 ;;
      *) echo 30 ;;
    esac
  }
  show_time() { if [ "$1" -lt 90 ]; then echo "$1 s"; else echo "$((($1 + 30) / 60)) min"; fi; }

  # How much longer stages take than where they were timed, in per cent: with bfloat16 but no matrix units, and
  # without instructions for bfloat16 (runtime/precision.py).
  CPUINFO=${CPUINFO:-/proc/cpuinfo}
  TAKES=100
  if [ -r "$CPUINFO" ] && ! grep -qw amx_bf16 "$CPUINFO" && ! command -v nvidia-smi >/dev/null; then
    grep -qwE 'avx512_bf16|bf16' "$CPUINFO" && TAKES=135 || TAKES=500
  fi
  TAKES=$((TAKES * ${PERCENT:-100} / 100))

  SCRIPTS=() WALL=() # of each stage; of stages beside each other each counts half
  while read -r KIND NAME _; do
    case $KIND in
      HALF) SHARE=2 ;;
      WHOLE) SHARE=1 ;;
      LINE) SCRIPTS+=("$NAME") WALL+=($(($(usual_seconds "$NAME") * TAKES / 100 / ${SHARE:-1}))) ;;
    esac
  done < <(list_stages)
  add_up() { # FIRST END: of WALL
    local place sum=0
    for ((place = $1; place < $2; place++)); do sum=$((sum + WALL[place])); done
    echo $sum
  }

  RUNNER=$PYTHON PYTHON=run_stage
  # What stages import is imported once, and they are forks of that process (warm_start.py), which ends with this
  # script. The stages before it is ready start by themselves, as all do with WARM_START=0 or on a GPU, where
  # forks were not tried.
  WARM=
  if [ "${WARM_START:-$(command -v nvidia-smi >/dev/null && echo 0 || echo 1)}" = 1 ]; then
    WARM=$($RUNNER -c "import sys, tempfile; print(tempfile.mkdtemp(prefix='paircxr-') if sys.platform == 'linux' else '')" || true)
  fi
  if [ -d "$WARM" ]; then
    exec {WARM_END}> >(exec $RUNNER experiments/warm_start.py serve "$WARM/socket")
  fi
  run_python() {
    if [ -S "$WARM/socket" ]; then $RUNNER experiments/warm_start.py run "$WARM/socket" "$@"; else $RUNNER "$@"; fi
  }
  STAGE=0 RAN=0 USUAL=0 # seconds that stages took, and usually take
  LANE_END=${#SCRIPTS[@]} GO_ON=${#SCRIPTS[@]}
  run_stage() {
    local left before usual
    left=$(($(add_up "$STAGE" "$LANE_END") + $(add_up "$GO_ON" ${#SCRIPTS[@]})))
    usual=${WALL[STAGE]} STAGE=$((STAGE + 1))
    [ "$USUAL" -gt 0 ] && left=$((left * RAN / USUAL))
    [ "${SCALE:-demo}" = demo ] && left="about $(show_time $left) left" || left="$(show_time $SECONDS) so far"
    echo "== stage $STAGE of ${#SCRIPTS[@]}: $1, $left"
    before=$SECONDS
    run_python "$@"
    note_time $((SECONDS - before)) "$usual"
  }
  note_time() { # SECONDS USUAL: what was finished before is left out
    if [ $((5 * $1)) -gt "$2" ]; then RAN=$((RAN + $1)) USUAL=$((USUAL + $2)); fi
  }

  # together FIRST SECOND: two functions of stages beside each other, each on half of the cores: a small model
  # gains little from a second one. What SECOND prints goes to a file. On a GPU, on one core or with LANES=1 one
  # after another. If one fails or is stopped, so is the other; the same command goes on.
  together() {
    local cores lanes first=$STAGE middle end log=$OUT/$2.log lane pids=() before=$SECONDS status=0
    cores=$($RUNNER -c "from runtime.threads import usable_cores; print(usable_cores())")
    cores=${cores:-2} # where something else stands in for Python
    lanes=${LANES:-$(command -v nvidia-smi >/dev/null || [ "$cores" = 1 ] && echo 1 || echo 2)}
    if [ "$lanes" = 1 ]; then
      "$1"
      "$2"
      return
    fi
    middle=$((first + $(PYTHON="echo LINE" "$1" | grep -c '^LINE ')))
    end=$((middle + $(PYTHON="echo LINE" "$2" | grep -c '^LINE ')))
    mkdir -p "$OUT"
    echo "== beside each other: $1, and $2, which prints into $log"
    set -m # a process group each, so that one signal ends all of a lane
    (GO_ON=$end && run_lane "$1" "$first" "$middle" $((cores / 2))) &
    pids+=($!)
    (GO_ON=$end && run_lane "$2" "$middle" "$end" $((cores / 2))) >"$log" 2>&1 &
    pids+=($!)
    set +m
    trap 'end_lanes "${pids[@]}"' EXIT
    trap 'exit 130' INT TERM
    for lane in 1 2; do
      wait -n || { status=$? && break; }
    done
    if [ $status != 0 ]; then
      grep -q '^error:' "$log" && echo "$2 ($log): $(grep '^error:' "$log" | tail -1)" >&2
      exit $status
    fi
    trap - EXIT INT TERM
    STAGE=$end
    note_time $((SECONDS - before)) "$(add_up "$first" "$end")"
  }
  run_lane() { # FUNCTION FIRST END CORES: stages of this many, each on so many cores
    local place
    trap 'exit 143' TERM # once the stage has saved what it did
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$4}
    STAGE=$2 LANE_END=$3
    for ((place = $2; place < $3; place++)); do WALL[place]=$((2 * WALL[place])); done
    "$1"
  }
  end_lanes() {
    local pid
    # Not INT, which what runs in the background of a shell (nohup ... &) does not hear.
    for pid; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    wait
  }
fi
