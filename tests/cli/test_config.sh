# docs/config.md, docs/metrics.md and docs/diagnoses.md are what the tables say; the command's exit codes and advice.
set -eu
grpo=$GRPO_BINARY
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for page in markdown:config metrics:metrics diagnoses:diagnoses; do
    "$grpo" config "--${page%:*}" >"$dir/page.md"
    cmp "$dir/page.md" "$GRPO_SOURCE_DIR/docs/${page#*:}.md" || {
        echo "docs/${page#*:}.md is out of date: run build/grpo config --${page%:*} > docs/${page#*:}.md"
        exit 1
    }
done
"$grpo" config | grep -q '^group_size = 8'

printf 'model: m\ndata: {path: d.jsonl}\nalgorithm: dapo\n' >"$dir/a.yaml"
"$grpo" config "$dir/a.yaml" group_size=4 >"$dir/effective.yaml"
grep -qx 'group_size: 4' "$dir/effective.yaml"
grep -qx 'clip_epsilon_high: 0.28' "$dir/effective.yaml"
"$grpo" config "$dir/effective.yaml" | cmp - "$dir/effective.yaml"
"$grpo" config --changed "$dir/a.yaml" | grep -qx 'algorithm: dapo'

expect() { # exit code, message, arguments
    code=$1 message=$2
    shift 2
    set +e
    "$grpo" config "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    set -e
    [ "$got" = "$code" ] || { echo "$*: exit code $got, wanted $code"; exit 1; }
    grep -qF -- "$message" "$dir/err" || { echo "$*: said"; cat "$dir/err"; echo "wanted $message"; exit 1; }
}
expect 2 "did you mean 'group_size'?" "$dir/a.yaml" gruop_size=4
expect 2 "cannot open $dir/none.yaml" "$dir/none.yaml"
expect 2 "algorithm: 'grop' is not one of" "$dir/a.yaml" algorithm=grop
expect 2 "usage: grpo config" --wrong
for config in "$GRPO_SOURCE_DIR"/configs/*.yaml; do
    [ -e "$config" ] || continue
    "$grpo" config "$config" model=m data.path=d output_dir=o >/dev/null
done
