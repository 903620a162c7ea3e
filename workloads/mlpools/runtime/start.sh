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

rank="Rank ${JOB_COMPLETION_INDEX:-0}: "
who="${rank}the command" image="${rank}the image" field=script.command lost="progress is unavailable"
needs="a plain script.command runs: one without code, packages and a launcher."
if [ -n "$MLPOOLS_NOTEBOOK" ]; then
  who="The command" image="The image" field=command lost="nobody sees whether it is used: it does not stop by itself"
  needs="a command without runtime.packages and git runs."
fi

export RANK="${JOB_COMPLETION_INDEX:-0}" LOCAL_RANK=0 WORLD_SIZE="$1" LOCAL_WORLD_SIZE=1
export GROUP_RANK="$RANK" MASTER_ADDR="$2" MASTER_PORT="${MLPOOLS_COORDINATOR_PORT:-29500}"
shift 2
[ $# -gt 0 ] || end 11 "The image has no Python 3.9 or newer, without which only $needs"
echo "mlpools: the image has no Python 3.9 or newer, so the command runs bare, and $lost"
unset MLPOOLS_TASK MLPOOLS_NOTEBOOK
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
[ "$code" -ne 127 ] || end 27 "$image has no such program as $field names."
[ "$code" -le 128 ] || end 23 "$who was killed by signal $((code - 128))."
end 10 "$who ended with exit code $code; the log of its pod has its last words."
