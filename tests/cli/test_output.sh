#!/usr/bin/env bash
# What commands write with --out appears when it is complete: where it does not fit, one line says so, the old file stays
# and nothing else does. Devices are written and not replaced. Standard output that takes nothing is an error everywhere.
source "$(dirname "$0")/../train/tiny.sh"

"$grpo" data make addition --count 40 --seed 1 >"$dir/data.jsonl"
m=$dir/model case=$shared/models/llama-tied/golden/golden.json
evaluate() { "$grpo" eval --model "$m" --data "$dir/data.jsonl" --raw --max-new-tokens 4 --quiet --out "$1"; }
make_data() { "$grpo" data make addition --count 100 --seed 1 --out "$1"; }
gradient() { "$grpo" grad --model "$m" --case "$case" --out "$1"; }
export_model() { "$grpo" export --model "$m" --out "$1"; }

mkdir "$dir/out"
cd "$dir/out"
for command in evaluate make_data gradient export_model; do
    [ $command = export_model ] || echo old >target
    code=0
    (trap '' XFSZ; ulimit -f 2; $command target) >"$dir/stdout" 2>"$dir/said" || code=$?
    [ $code = 1 ] || fail "$command where a file may have 2 KiB: exit code $code: $(cat "$dir/said")"
    grep -q "^grpo [a-z]*: cannot write .*target.*: File too large" "$dir/said" && [ "$(wc -l <"$dir/said")" = 1 ] ||
        fail "$command: $(cat "$dir/said")"
    [ $command = export_model ] || [ "$(ls)/$(cat target)" = target/old ] || fail "$command: left are $(ls)"
    rm -f target
    [ -z "$(ls)" ] || fail "$command: left are $(ls)"
    $command target >"$dir/stdout" 2>"$dir/said" || fail "$command: $(cat "$dir/said")"
    [ "$(ls)" = target ] || fail "$command: written are $(ls)"
    rm -r target
done

# an evaluation's file is whole
evaluate target >"$dir/stdout"
[ "$(grep -c '"correct"' target)" = 40 ] || fail "not 40 answers"

# what is no file
code=0; make_data / 2>"$dir/said" || code=$?
[ $code = 1 ] && grep -q "cannot write /: it is a folder" "$dir/said" || fail "a folder: $(cat "$dir/said")"
make_data "$dir/direct"
if [ -L /dev/stdout ] && [ "$(id -u)" != 0 ]; then # where a mistake could not replace it
    make_data /dev/stdout >"$dir/piped" && cmp "$dir/piped" "$dir/direct"
fi
make_data /dev/fd/1 >"$dir/piped" && cmp "$dir/piped" "$dir/direct"
ln -s "$dir/direct" link
echo old >"$dir/direct"
make_data link && [ -L link ] && cmp "$dir/piped" "$dir/direct" || fail "a symbolic link was replaced"
rm link
mkfifo pipe
make_data pipe & cat pipe >"$dir/piped"; wait $!
cmp "$dir/piped" "$dir/direct"
[ -p pipe ] || fail "a pipe was replaced"
full=/dev/full
if [ "$(id -u)" = 0 ]; then # who could replace the machine's
    full=$dir/full
    mknod "$full" c 1 7 2>/dev/null || full=
fi
if [ -w "$full" ] && { printf x >"$full"; } 2>&1 | grep -q "No space"; then
    for command in evaluate make_data; do
        code=0; $command "$full" >"$dir/stdout" 2>"$dir/said" || code=$?
        [ $code = 1 ] && grep -q "cannot write $full: No space left on device" "$dir/said" || fail "$command: $(cat "$dir/said")"
        [ -c "$full" ] || fail "$command replaced a device"
    done
else
    echo "SKIPPED in part: no device that is full" >&2
fi
if [ -w /dev/full ]; then
    for command in "config --help" "config model=$m output_dir=x data.path=y" "train --help-config" "algo --methods" "doctor --help" \
        "compare --help" "--help" "grad --model $m --case $case" "eval --model $m --data $dir/data.jsonl --limit 2 --quiet"; do
        code=0
        # shellcheck disable=SC2086
        "$grpo" $command >/dev/full 2>"$dir/said" || code=$?
        [ $code = 1 ] && grep -q "^grpo.*: cannot write the " "$dir/said" && [ "$(wc -l <"$dir/said")" = 1 ] ||
            fail "grpo $command >/dev/full: exit code $code: $(cat "$dir/said")"
    done
else
    echo "SKIPPED in part: there is no /dev/full" >&2
fi
echo "outputs are whole or absent"
