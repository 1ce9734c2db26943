#!/usr/bin/env bash
# Any slick command on all hosts of a Cloud TPU slice, which is made where it is not there, and again when it was
# preempted. The working tree goes to every host; run_dir must be a place that all of them see, such as gs://.
#
#   NAME=slick TYPE=v5litepod-16 ZONE=us-west4-a SPOT=1 launch/tpu_pod.sh annotate --config.run_dir=gs://bucket/run ...
#
# VERSION (by TYPE)  the software of the hosts    FILES ()   more files of this folder to carry, such as my_rows.jsonl
# RESTARTS (100)     after status 75, a killed process or a lost slice; Ctrl-C ends the processes of all hosts
# LIBTPU_INIT_ARGS, XLA_FLAGS: handed on          DRY_RUN (0) 1: print the commands and do nothing
set -euo pipefail
: "${NAME:?a name for the slice}" "${TYPE:?accelerator type, such as v5litepod-16}" "${ZONE:?such as us-west4-a}"
case $TYPE in
  v5litepod-*) software=v2-alpha-tpuv5-lite ;;
  v5p-*) software=v2-alpha-tpuv5 ;;
  v6e-*) software=v2-alpha-tpuv6e ;;
  *) software=tpu-ubuntu2204-base ;;
esac
run() { if [[ ${DRY_RUN:-0} == 1 ]]; then echo "${*@Q}"; else "$@"; fi; }
tpus() { run gcloud compute tpus "$@" --zone="$ZONE"; }
everywhere() { tpus tpu-vm ssh "$NAME" --worker=all --command="$1"; }
state() { gcloud compute tpus "$1" describe "$NAME" --zone="$ZONE" --format="value($2)" 2>/dev/null || echo NONE; }
order=(--node-id="$NAME" --accelerator-type="$TYPE" --runtime-version="${VERSION:-$software}" ${SPOT:+--spot})

acquire() { # returns when the slice is ready
  if [[ ${DRY_RUN:-0} == 1 ]]; then tpus queued-resources create "$NAME" "${order[@]}"; return; fi
  local node request
  while node=$(state tpu-vm state) request=$(state queued-resources state.state); [[ $node != READY ]]; do
    case $node/$request in
      NONE/NONE) tpus queued-resources create "$NAME" "${order[@]}" ;;
      PREEMPTED/* | TERMINATED/* | */SUSPENDED) tpus queued-resources delete "$NAME" --force --quiet ;;
      STOPPED/* | */FAILED) echo "tpu_pod.sh: $NAME is $node, its request $request; delete it" >&2; exit 1 ;;
      *) sleep "${POLL:-30}" ;;
    esac
  done
}

parcel=$(mktemp) pid=${PID_FILE:-/dev/shm/slick.pid} # on each host; gone when that restarts
trap 'rm -f "$parcel"' EXIT
trap 'everywhere "kill -TERM \$(cat $pid)" || true; exit 130' INT
read -ra more <<<"${FILES:-}"
content=(-C "$(cd "$(dirname "$0")/.." && pwd)" setup.py README.md constraints.txt slick_jax configs)
((!${#more[@]})) || content+=(-C "$PWD" "${more[@]}")
run tar --exclude=__pycache__ -czf "$parcel" "${content[@]}"
install="mkdir -p slick && tar -xzf slick.tgz -C slick && cd slick && python3 -m pip install -q --user uv && export\
 PATH=\$HOME/.local/bin:\$PATH && uv venv -q --allow-existing --python 3.12 .venv &&\
 uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[tpu,gcs]'"
before="if [ -f $pid ]; then kill \$(cat $pid); while kill -0 \$(cat $pid); do sleep 1; done; fi 2>/dev/null"
libtpu=${LIBTPU_INIT_ARGS:-} xla=${XLA_FLAGS:-}
work="cd slick; LIBTPU_INIT_ARGS=${libtpu@Q} XLA_FLAGS=${xla@Q} .venv/bin/slick ${*@Q} & echo \$! > $pid; wait \$!"
for ((attempt = 0; attempt <= ${RESTARTS:-100}; attempt++)); do
  acquire
  tpus tpu-vm scp "$parcel" "$NAME:slick.tgz" --worker=all && everywhere "$install" && everywhere "$before; $work" &&
    exit || status=$?
  ((status == 75 || status >= 128)) || [[ $(state tpu-vm state) != READY ]] || break
  echo "tpu_pod.sh: ended with status $status; again" >&2
  sleep "${POLL:-30}"
done
exit "$status"
