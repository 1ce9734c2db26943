#!/usr/bin/env bash
# Any slick command on this host, over all of its devices; started again when it was stopped.
#
#   launch/local.sh annotate --config=configs/annotate_jsonl.py ...
#
# PROCESSES (1)   a process for every share of the GPUs; those of `study` share its runs, others join each other
# RESTARTS (3)    times to start again after status 75 or a killed process (each of a study), never after a signal here
# PORT (random)   where process 0 listens      SLICK (slick)   the program
# CUDA_VISIBLE_DEVICES (all)   the GPUs        DRY_RUN (0)     1: print the commands and do nothing
set -euo pipefail
processes=${PROCESSES:-1} restarts=${RESTARTS:-3} port=${PORT:-$((20000 + RANDOM % 12000))}
read -ra slick <<<"${SLICK:-slick}"
[[ -n ${XLA_PYTHON_CLIENT_MEM_FRACTION:-} ]] || export XLA_CLIENT_MEM_FRACTION="${XLA_CLIENT_MEM_FRACTION:-0.9}"

gpus=()
if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
  IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
elif found=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null); then
  mapfile -t gpus <<<"$found"
fi
share=$((${#gpus[@]} / processes))
if ((processes > 1 && share * processes != ${#gpus[@]})); then
  echo "local.sh: ${#gpus[@]} GPUs cannot be shared by PROCESSES=$processes; give a divisor" >&2
  exit 2
fi

study=0 # of several processes: each has a local.sh of its own, which starts it again while the others go on
if ((processes > 1)) && [[ ${1:-} == study ]]; then study=1 restarts=0; fi

start() { # the process of number $1
  local line=(env)
  if ((study)) && [[ ${DRY_RUN:-0} != 1 ]]; then line+=(PROCESSES=1 "SLICK=${SLICK:-slick}") slick=(bash "$0"); fi
  if ((processes > 1 && share)); then
    line+=("CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${gpus[*]:$1*share:share}")")
  fi
  line+=("${slick[@]}" "${@:2}")
  if ((processes > 1 && !study)); then
    line+=("--config.distributed.coordinator=127.0.0.1:$port")
    line+=("--config.distributed.process_count=$processes" "--config.distributed.process_index=$1")
  fi
  if [[ ${DRY_RUN:-0} == 1 ]]; then echo "${line[*]@Q}"; else "${line[@]}" & pids+=("$!"); fi
}

status=0 stopped=0 pids=()
trap 'stopped=1; kill -TERM "${pids[@]}" 2>/dev/null || true' TERM INT
for ((attempt = 0; attempt <= restarts; attempt++)); do
  pids=() status=0
  for ((k = 0; k < processes; k++)); do start "$k" "$@"; done
  ((!stopped)) || kill -TERM "${pids[@]}" 2>/dev/null || true # it came while they were started
  for pid in "${pids[@]}"; do
    while code=0; wait "$pid" || code=$?; kill -0 "$pid" 2>/dev/null; do :; done # a signal interrupts a wait
    code=0; wait "$pid" || code=$?
    if ((code && (!status || code < status))); then status=$code; fi # bad input (2) is told before 75
  done
  ((!stopped && attempt < restarts && (status == 75 || status >= 128))) || break
  echo "local.sh: ended with status $status; start $((attempt + 2)) of $((restarts + 1))" >&2
done
exit "$status"
