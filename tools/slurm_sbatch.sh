#!/usr/bin/env bash
# Train in a Slurm job that saves and requeues itself before its time is over:
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SBATCH_ARGS="--time=2:00:00 ..."] [SRUN_ARGS=...]
#   slurm_sbatch.sh PARTITION JOB_NAME CONFIG [--work-dir DIR] [arguments of tools/train.py]
# DIR is work_dirs/NAME_OF_THE_CONFIG by default, and the log DIR/slurm-JOB_ID.out.
# A DIR that a job in the queue trains in is refused.
# Example: GPUS=8 GPUS_PER_NODE=8 SBATCH_ARGS="--time=2:00:00" tools/slurm_sbatch.sh gpu recall \
#   configs/deeplabv3/deeplabv3_r18w32-d16_1xb8-recall-1k_camvid-180x240.py
set -euo pipefail
# shellcheck source=tools/help.sh
source "$(dirname "$0")/help.sh"
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2; exit 2; }
CONFIG=$3

TOOLS=$(realpath "$(dirname "$0")")
# shellcheck source=tools/slurm_arguments.sh
source "$TOOLS/slurm_arguments.sh"
require_config "$CONFIG"
set_resources "$1" "$2"
# shellcheck disable=SC2086  # PY_ARGS is a list of words
set_work_dir "work_dirs/$(basename "${CONFIG%.*}")" ${PY_ARGS:-} "${@:4}"
take_work_dirs "$WORK_DIR"
write_command "$WORK_DIR" "$CONFIG" "${ARGUMENTS[@]}"
submit "${WORK_DIR//%/%%}/slurm-%j.out" -- "$WORK_DIR"
echo "$JOB" > "$WORK_DIR/slurm_job"
