#!/bin/sh
# run.sh fuzz|corpus BUILD TARGET…: runs fuzz targets and says how each did. 1 when one has crashed;
# what crashed it stays in BUILD/fuzz/found/.
set -u
how=$1
build=$2
shift 2
found=$build/fuzz/found
mkdir -p "$found"
total=0
bad=0
for target in "$@"; do
    corpus=tests/fuzz/corpus/$target
    log=$build/fuzz/$target.log
    if [ "$how" = corpus ]; then
        "$build/fuzz/$target" -runs=0 -timeout=10 -artifact_prefix="$found/$target-" "$corpus" \
            >"$log" 2>&1
    else
        work=$build/fuzz/work/$target
        mkdir -p "$work"
        "$build/fuzz/$target" -max_total_time="${FUZZ_S:-60}" -max_len="${MAX_LEN:-4096}" \
            -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix="$found/$target-" "$work" "$corpus" >"$log" 2>&1
    fi
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p; s/^#\([0-9]*\)[[:space:]]*INITED.*/\1/p' "$log" |
        tail -1)
    edges=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
    if [ "$code" -eq 0 ]; then
        echo "$target: ${runs:-0} runs, ${edges:-0} edges, nothing found"
    else
        echo "$target: FOUND something after ${runs:-?} runs; see $log"
        sed -n '/ERROR\|SUMMARY\|broken invariant\|runtime error\|Test unit written/p' "$log" | head -8
        bad=$((bad + 1))
    fi
    total=$((total + ${runs:-0}))
done
echo "$# targets, $total runs, $bad with findings"
[ "$bad" -eq 0 ]
