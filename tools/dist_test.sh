#!/usr/bin/env bash
# Test on several processes of one machine: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# Slurm: tools/slurm_test.sh
set -euo pipefail
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
"${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$PROCESSES" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
