#!/bin/sh
# The first process of a pod whose image knows nothing of mlpools: start NODES COORDINATOR [COMMAND…]
#
# Python of the image runs the supervisor. Without one the command runs bare: nobody tells how far it is, and
# nothing but its exit code says how it ended. Any POSIX shell takes this.
here=${0%/*}
for python in python3 python; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    export MLPOOLS_INJECTED="$here/mlpools.pyz"
    exec "$python" "$MLPOOLS_INJECTED"
  fi
done

end() { # CODE SENTENCE
  echo "mlpools: $2"
  printf '{"code":%d,"rank":%d,"message":"%s"}' "$1" "$RANK" "$2" >"${MLPOOLS_TERMINATION_LOG:-/dev/termination-log}"
  exit "$1"
}

export RANK="${JOB_COMPLETION_INDEX:-0}" LOCAL_RANK=0 WORLD_SIZE="$1" LOCAL_WORLD_SIZE=1
export GROUP_RANK="$RANK" MASTER_ADDR="$2" MASTER_PORT="${MLPOOLS_COORDINATOR_PORT:-29500}"
shift 2
[ $# -gt 0 ] || end 11 "The image has no Python 3.9 or newer, without which only a plain script.command runs: \
one without code, packages and a launcher."
echo "mlpools: the image has no Python 3.9 or newer, so the command runs bare, and progress is unavailable"
unset MLPOOLS_TASK
stopped=
"$@" &
child=$!
trap 'stopped=1; kill -TERM "$child" 2>/dev/null' TERM INT
wait "$child"
code=$?
while kill -0 "$child" 2>/dev/null; do # a signal of our own ends the wait early
  wait "$child"
  code=$?
done
[ -z "$stopped" ] || end 21 "The pod was told to stop."
[ "$code" -ne 0 ] || end 0 ""
[ "$code" -ne 127 ] || end 27 "Rank $RANK: the image has no such program as script.command names."
[ "$code" -le 128 ] || end 23 "Rank $RANK: the command was killed by signal $((code - 128))."
end 10 "Rank $RANK: the command ended with exit code $code; the log of its pod has its last words."
