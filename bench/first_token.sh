#!/usr/bin/env bash
# Seconds from the start of `grpo train` to each station on the way to the first token drawn, by probes on the program's own
# functions (perf, as root; the program needs its debug information, as the default build has it):
#   bench/first_token.sh build/grpo CONFIG.yaml [key=value …]
# output_dir is a fresh folder that goes away; the run ends after the first seconds. Run it twice: the first time fills the
# file cache.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \?//p' "$0"; exit 2; }
grpo=$1 config=$2
shift 2
dir=$(mktemp -d)
stations="main trainer_open_model model_load_as open_data trainer_start trainer_run draw_first_tokens append_token"
remove_probes() { perf probe -q -d 'probe_grpo:*' 2>/dev/null || true; }
trap 'remove_probes; rm -rf "$dir"' EXIT
remove_probes
for function in $stations; do perf probe -q -x "$grpo" "$function"; done
perf record -q -o "$dir/events" -e 'probe_grpo:*' -e sched:sched_process_exec \
    timeout 4 "$grpo" train "$config" --quiet output_dir="$dir/run" "$@" >"$dir/said" 2>&1 || true
perf script -i "$dir/events" -F comm,time,event 2>/dev/null | awk '
    { seconds = $(NF - 1) + 0; station = $NF; sub(/:$/, "", station); sub(/.*:/, "", station) }
    station == "sched_process_exec" && $1 == "grpo" { start = seconds }
    start && !found && station != "sched_process_exec" && !seen[station]++ { printf "%7.3f s  %s\n", seconds - start, station }
    station == "append_token" { found = 1 }
    END { exit !found }' || { cat "$dir/said"; exit 1; }
