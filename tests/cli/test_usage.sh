# Wrong use of options is one line that names the command, the option and the way to its help, and exit code 2.
set -u
fail() { echo "FAILED: $1"; exit 1; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
wrong() { # COMMAND EXPECTED arguments
    local command=$1 expected=$2; shift 2
    "$GRPO_BINARY" "$command" "$@" >"$d/out" 2>"$d/err" </dev/null
    local code=$?
    [ $code = 2 ] || fail "$command $*: exit code $code"
    [ ! -s "$d/out" ] || fail "$command $*: prints on stdout"
    [ "$(wc -l <"$d/err")" = 1 ] || fail "$command $*: not one line: $(cat "$d/err")"
    grep -q "^grpo $command: .*$expected" "$d/err" || fail "$command $*: $(cat "$d/err")"
}
for c in train eval compare generate logprob export bench grad tokenize template score; do
    wrong $c "nrecognized option\|unknown option" --bogus
done
for c in eval generate logprob export bench grad; do
    wrong $c "\-\-model is missing.*grpo $c --help"
    [ "$c" = export ] || wrong $c "\-\-threads must be a whole number" --model m --threads two
done
for c in eval generate; do
    for n in 0 -1 3x "" 99999999999999999999; do
        wrong $c "\-\-n must be a whole number from 1" --model m --n "$n"
        wrong $c "\-\-max-new-tokens must be" --model m --max-new-tokens "$n"
    done
    for t in hot -0.5 nan inf 1x ""; do
        wrong $c "\-\-temperature must be a number from 0" --model m --temperature "$t"
    done
    wrong $c "\-\-top-p must be" --model m --top-p 1.5
    wrong $c "\-\-top-p must be" --model m --top-p 0
    wrong $c "\-\-min-p must be" --model m --min-p -0.1
    wrong $c "\-\-top-k must be" --model m --top-k -1
    wrong $c "\-\-seed must be" --model m --seed -1
    wrong $c "\-\-slots must be" --model m --slots 0
done
for n in 5X -1 0 "" big 1e30; do
    wrong bench "\-\-memory-budget must be a size" --model m --memory-budget "$n"
done
wrong score "\-\-weight belongs to the --reward before it" --weight 2
wrong score "\-\-workers must be a whole number from 1 to 65536, got '2.7'" --reward math --workers 2.7
wrong score "\-\-weight must be a number" --reward math --weight x
wrong score "\-\-memory must be a size" --reward code --memory z
wrong logprob "\-\-temperature must be" --model m --temperature 0
wrong generate "more than one TEXT or FILE" --model m two words
wrong generate "\-\-stop wants a text" --model m --stop ""
wrong eval "\-\-data is missing" --model m
wrong export "\-\-out is missing" --model m
wrong train "CONFIG.yaml is missing"
for c in template tokenize; do
    wrong $c "unrecognized option '--bogus'" --bogus
    wrong $c "'--model' requires an argument" --model
done
wrong template "now wants a time.*got 'noon'" --model m --now noon
"$GRPO_BINARY" train --help-config >"$d/out"
grep -q 'group_size' "$d/out" && ! grep -q '^#\|^|' "$d/out" || fail "train --help-config prints the source of a document"

# help of a command, by option or by name
for c in $("$GRPO_BINARY" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
    "$GRPO_BINARY" "$c" --help >"$d/out" 2>"$d/err" || fail "$c --help"
    grep -q "usage: grpo $c" "$d/out" || fail "$c --help: $(cat "$d/out" "$d/err")"
    "$GRPO_BINARY" help "$c" 2>&1 | cmp -s - "$d/out" || fail "help $c is not $c --help"
done
"$GRPO_BINARY" help trian >"$d/out" 2>"$d/err"; [ $? = 2 ] && grep -q "no command 'trian'" "$d/err" || fail "help of no command"

# which build this is: version, commit where there is one, compiler, the kernels in use
"$GRPO_BINARY" --version >"$d/out" || fail "--version"
[ "$(sed 's/ .*//' "$d/out")" = "$(printf 'grpo\ncompiler\nkernels')" ] || fail "--version: $(cat "$d/out")"
grep -Eq '^grpo [0-9]+\.[0-9]+\.[0-9]+( \(commit [0-9a-f]+(-dirty)?\))?$' "$d/out" || fail "--version: $(cat "$d/out")"
if [ -e "$GRPO_SOURCE_DIR/.git" ] && git -C "$GRPO_SOURCE_DIR" rev-parse HEAD >"$d/head" 2>&1; then
    commit=$(sed -n 's/^grpo .*(commit \([0-9a-f]*\).*/\1/p' "$d/out")
    git -C "$GRPO_SOURCE_DIR" cat-file -e "$commit^{commit}" || fail "there is no such commit: $(cat "$d/out")"
fi
GRPO_ISA=portable "$GRPO_BINARY" --version | grep -q '^kernels   portable$' || fail "--version with GRPO_ISA"
GRPO_ISA=none "$GRPO_BINARY" --version >"$d/out" 2>"$d/err" && fail "--version with kernels that are not there"
grep -q GRPO_ISA "$d/err" || fail "GRPO_ISA=none: $(cat "$d/err")"
"$GRPO_BINARY" --help | grep -q -- '--version' || fail "help does not know --version"
echo "all fine"
