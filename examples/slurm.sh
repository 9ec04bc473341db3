#!/usr/bin/env bash
# semshard on a SLURM cluster, in numbered parts: three jobs, each of which begins when the one before has ended well.
#
#     PARTS=8 HOURS=4 examples/slurm.sh /shared/imgs --out /shared/shards --preset paper
#
# Source and output are on a file system that all nodes have, with file locks (Lustre: mounted with -o flock). Change
# `node` to what your cluster calls its partitions and devices; all parts need the same kind of device. Two minutes before
# the time is over SLURM sends SIGTERM: half a shard is discarded, finished ones stay. Run the same line again, with any
# PARTS, until nothing is left to do.
set -euo pipefail

node=(--nodes=1 --ntasks=1 --cpus-per-task=8 --gpus=1 --time="${HOURS:-4}:00:00" --signal=B:TERM@120 --requeue)
protect="exec$(printf ' %q' semshard protect "$@")"

surrogate=$(sbatch --parsable "${node[@]}" --job-name=semshard-surrogate --wrap="$protect --until surrogate")
parts=$(sbatch --parsable "${node[@]}" --job-name=semshard-part --array="1-${PARTS:-8}" \
    --dependency="afterok:${surrogate%%;*}" --kill-on-invalid-dep=yes --wrap="$protect --part auto")
finish=$(sbatch --parsable "${node[@]}" --job-name=semshard-finish \
    --dependency="afterok:${parts%%;*}" --kill-on-invalid-dep=yes --wrap="$protect --finish")
echo "submitted: surrogate $surrogate, parts $parts, finish $finish"
