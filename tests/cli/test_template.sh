# grpo template: fields that a record holds already are replaced, others have no influence; what is no bool is refused.
set -u
fail() { echo "FAILED: $1"; exit 1; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
printf '{%% for m in messages %%}{{ m.content }}{%% endfor %%}{{ text is defined }}{%% if add_generation_prompt %%}!{%% endif %%}{{ raise_exception("no") if messages[0].content == "bad" }}' >"$d/t.jinja"
template() { echo "$1" | "$GRPO_BINARY" template --template "$d/t.jinja" >"$d/out" 2>"$d/err"; }

template '{"messages":[{"role":"user","content":"a"}],"text":"old","error":"old","error_kind":"old","error_line":7}' || fail "$(cat "$d/err")"
[ "$(cat "$d/out")" = '{"messages":[{"role":"user","content":"a"}],"text":"aFalse"}' ] || fail "$(cat "$d/out")"
template '{"messages":[{"role":"user","content":"bad"}],"text":"old"}' || fail "$(cat "$d/err")"
grep -q old "$d/out" && fail "an old text beside an error: $(cat "$d/out")"
grep -q '"error":"no"' "$d/out" || fail "$(cat "$d/out")"
for value in true:aFalse! false:aFalse null:aFalse; do
    template '{"messages":[{"role":"user","content":"a"}],"add_generation_prompt":'"${value%:*}"'}' || fail "$(cat "$d/err")"
    grep -q "\"text\":\"${value#*:}\"" "$d/out" || fail "$value: $(cat "$d/out")"
done
for value in 1 '"yes"' '[]'; do
    template '{"messages":[{"role":"user","content":"a"}],"add_generation_prompt":'"$value"'}'; [ $? = 1 ] || fail "$value was taken"
    grep -q 'stdin:1: "add_generation_prompt" must be true or false' "$d/err" || fail "$value: $(cat "$d/err")"
done
echo "all fine"
