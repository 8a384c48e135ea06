#!/usr/bin/env bash
# Train every config with every seed in a Slurm array of jobs like those of slurm_sbatch.sh (the same variables):
#   [MAX_PARALLEL=8] slurm_array.sh PARTITION JOB_NAME "SEEDS" CONFIG... [--work-dir DIR] [arguments of tools/train.py]
# Example: tools/slurm_array.sh gpu losses "0 1 2" configs/deeplabv3/*camvid-180x240.py
# DIR is work_dirs/JOB_NAME by default; a run is trained in DIR/NAME_OF_THE_CONFIG/seed_SEED, all are listed in
# DIR/runs.tsv, and the logs are DIR/slurm-ARRAY_ID_TASK.out. Runs that are in the queue already are refused.
set -euo pipefail
# shellcheck source=tools/help.sh
source "$(dirname "$0")/help.sh"
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME \"SEEDS\" CONFIG... [arguments of tools/train.py]" >&2; exit 2; }
PARTITION=$1
JOB_NAME=$2
read -ra SEEDS <<< "$3"
shift 3
CONFIGS=()
while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
  CONFIGS+=("$1")
  shift
done

TOOLS=$(realpath "$(dirname "$0")")
# shellcheck source=tools/slurm_arguments.sh
source "$TOOLS/slurm_arguments.sh"

[ ${#SEEDS[@]} -gt 0 ] || { echo "$0: no seed; SEEDS is one word such as \"0 1 2\"" >&2; exit 2; }
[ ${#CONFIGS[@]} -gt 0 ] || { echo "$0: no config before $1" >&2; exit 2; }
for seed in "${SEEDS[@]}"; do
  [[ $seed =~ ^[0-9]+$ ]] || { echo "$0: $seed is no seed; SEEDS is one word such as \"0 1 2\"" >&2; exit 2; }
done
for config in "${CONFIGS[@]}"; do
  require_config "$config"
done
set_resources "$PARTITION" "$JOB_NAME"
# shellcheck disable=SC2086  # PY_ARGS is a list of words
set_work_dir "work_dirs/$JOB_NAME" ${PY_ARGS:-} "$@"

run_dir() {
  echo "$WORK_DIR/$(basename "${1%.*}")/seed_$2"
}

RUN_DIRS=()
for config in "${CONFIGS[@]}"; do
  for seed in "${SEEDS[@]}"; do
    RUN_DIRS+=("$(run_dir "$config" "$seed")")
  done
done
shared=$(printf '%s\n' "${RUN_DIRS[@]}" | sort | uniq --repeated)
[ -z "$shared" ] || { echo "$0: two configs of the same name, or a seed twice: would share $shared" >&2; exit 2; }

take_work_dirs "$WORK_DIR" "${RUN_DIRS[@]}"
{
  printf 'task\tconfig\tseed\twork_dir\tcommand\n'
  task=0
  for config in "${CONFIGS[@]}"; do
    for seed in "${SEEDS[@]}"; do
      # the last --cfg-options win
      run=("${RUN_DIRS[$task]}" "$config" "${ARGUMENTS[@]}" --cfg-options "randomness.seed=$seed")
      write_command "${run[@]}"
      printf '%s\t%s\t%s\t%s\t%s\n' "$task" "$config" "$seed" "${run[0]}" "$(train_command "${run[@]}")"
      task=$((task + 1))
    done
  done
} > "$WORK_DIR/runs.tsv.new"
# Runs of earlier submissions stay on the list, unless they are submitted again.
touch "$WORK_DIR/runs.tsv"
awk -F '\t' 'NR == FNR { again[$4]; print; next } !($4 in again)' "$WORK_DIR/runs.tsv.new" "$WORK_DIR/runs.tsv" \
  > "$WORK_DIR/runs.tsv.partial"
mv "$WORK_DIR/runs.tsv.partial" "$WORK_DIR/runs.tsv"
rm "$WORK_DIR/runs.tsv.new"

submit "${WORK_DIR//%/%%}/slurm-%A_%a.out" "--array=0-$((${#RUN_DIRS[@]} - 1))${MAX_PARALLEL:+%$MAX_PARALLEL}" -- \
  "${RUN_DIRS[@]}"
for task in "${!RUN_DIRS[@]}"; do
  echo "${JOB}_$task" > "${RUN_DIRS[$task]}/slurm_job"
done
