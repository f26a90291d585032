# cmake --install: the command runs where it was put, the headers are complete, and the library lies beside them.
set -eu
command -v cmake >/dev/null || { echo "SKIPPED: there is no cmake" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cmake --install "$(dirname "$GRPO_BINARY")" --prefix "$dir" >"$dir/said"
[ "$(cd / && "$dir/bin/grpo" --version)" = "$("$GRPO_BINARY" --version)" ] || { echo "another grpo was installed"; exit 1; }
[ -n "$(find "$dir"/lib* -name libgrpo.a)" ] || { echo "no library: $(cat "$dir/said")"; exit 1; }
for header in "$GRPO_SOURCE_DIR"/include/grpo/*.h; do
    name=grpo/$(basename "$header")
    cmp -s "$header" "$dir/include/$name" || { echo "$name was not installed"; exit 1; }
    echo "#include <$name>" | ${CC:-cc} -std=c11 -fsyntax-only -I "$dir/include" -x c - || { echo "$name needs more"; exit 1; }
done
echo "installed"
