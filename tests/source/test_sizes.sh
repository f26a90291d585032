# Files of at most 1,000 lines and functions of at most 100: a longer one has two subjects.
set -eu
cd "$GRPO_SOURCE_DIR"
status=0
for file in $(find src include -name '*.[ch]'); do
    lines=$(wc -l <"$file")
    case $(head -n 3 "$file") in
    *enerated*) continue ;; # tables made by a script
    esac
    if [ "$lines" -gt 1000 ]; then
        echo "$file has $lines lines (at most 1000)"
        status=1
    fi
    # A function begins with a line that ends its head with "{" alone and ends with "}" alone.
    awk -v file="$file" '
        /^\{/ { start = NR }
        /^\}/ && start { if (NR - start > 101) { printf "%s:%d: a function of %d lines (at most 100)\n", file, start, NR - start - 1; bad = 1 } start = 0 }
        END { exit bad }' "$file" || status=1
done
exit $status
