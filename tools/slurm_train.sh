#!/usr/bin/env bash
# Train in a Slurm allocation: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...]
#   slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# Example: GPUS=8 GPUS_PER_NODE=8 tools/slurm_train.sh gpu recall \
#   configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py
set -euo pipefail
# shellcheck source=tools/help.sh
source "$(dirname "$0")/help.sh"
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2; exit 2; }
CONFIG=$3

TOOLS=$(dirname "$0")
# shellcheck source=tools/slurm_arguments.sh
source "$TOOLS/slurm_arguments.sh"
set_resources "$1" "$2"
# In place of this shell, so that a signal to the script reaches the ranks.
# shellcheck disable=SC2086  # SRUN_ARGS and PY_ARGS are lists of words
PYTHONPATH="$TOOLS/..:${PYTHONPATH:-}" exec srun "${RESOURCES[@]}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$TOOLS/train.py" "$CONFIG" --launcher slurm ${PY_ARGS:-} "${@:4}"
