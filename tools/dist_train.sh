#!/usr/bin/env bash
# Train on several GPUs (or CPU ranks) of one node or more: dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Example: tools/dist_train.sh configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py 8
set -euo pipefail
# shellcheck source=tools/help.sh
source "$(dirname "$0")/help.sh"
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [arguments of tools/train.py]" >&2; exit 2; }
CONFIG=$1
GPUS=$2

HERE=$(dirname "$0")
# In place of this shell, so that a signal to the script reaches the ranks.
PYTHONPATH="$HERE/..:${PYTHONPATH:-}" exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" --nproc_per_node="$GPUS" \
  "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
