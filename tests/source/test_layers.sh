# Dependencies point downwards only (the layer order of the source, docs/architecture.md): an
# #include that points upwards fails here.
set -eu
cd "$GRPO_SOURCE_DIR/src"
# folder: the folders it may include from, besides itself, base and the public headers
allowed="base:
algo:
backend:
text:backend
model:text backend
reward:algo model text backend
rollout:reward algo model text backend
dist:rollout reward algo model text backend
train:dist rollout reward algo model text backend
serve:train dist rollout reward algo model text backend
cli:serve train dist rollout reward algo model text backend"
status=0
for folder in */; do
    folder=${folder%/}
    line=$(echo "$allowed" | grep "^$folder:") || { echo "src/$folder is not a known layer"; status=1; continue; }
    may=" base $folder ${line#*:} "
    find "$folder" -name '*.[ch]' -exec grep -Hn '^#include "' {} + | sed 's/^\([^:]*\):\([0-9]*\):#include "\([^"]*\)".*/\1 \2 \3/' |
        while read -r file number included; do
            top=${included%%/*}
            [ "$top" = "$included" ] && continue # beside the file
            [ "$top" = grpo ] && continue        # public
            case $may in
            *" $top "*) ;;
            *) echo "src/$file:$number includes $included: $folder must not know $top" ;;
            esac
        done >"${TMPDIR:-/tmp}/layers.$$"
    if [ -s "${TMPDIR:-/tmp}/layers.$$" ]; then
        cat "${TMPDIR:-/tmp}/layers.$$"
        status=1
    fi
    rm -f "${TMPDIR:-/tmp}/layers.$$"
done
exit $status
