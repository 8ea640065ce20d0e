#!/usr/bin/env bash
# Train on several processes of one machine: tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT.
# Slurm: tools/slurm_train.sh
set -euo pipefail
CONFIG=$1
PROCESSES=$2
"${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$PROCESSES" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}"
