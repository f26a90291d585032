# Files of at most 1,000 lines and functions of at most 100: a longer one has two subjects. Tables
# made by a script ("generated" in the first lines) are left out.
set -eu
cd "$GRPO_SOURCE_DIR"
find src include -name '*.[ch]' -print0 | sort -z | xargs -0 awk '
    function finish() {
        if (file != "" && !generated && lines > 1000) { printf "%s has %d lines (at most 1000)\n", file, lines; bad = 1 }
    }
    FNR == 1 { finish(); file = FILENAME; generated = 0; start = 0 }
    { lines = FNR }
    FNR <= 3 && /enerated/ { generated = 1 }
    # A function begins with a line that is "{" alone in the first column and ends with "}" there.
    /^\{/ { start = FNR }
    /^\}/ && start {
        if (!generated && FNR - start - 1 > 100) {
            printf "%s:%d: a function of %d lines (at most 100)\n", FILENAME, start, FNR - start - 1
            bad = 1
        }
        start = 0
    }
    END { finish(); exit bad }'
