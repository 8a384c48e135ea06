# What the Slurm scripts make of their arguments; they source it.
# shellcheck shell=bash disable=SC2034  # variables are for the scripts

# RESOURCES: what to ask Slurm for, by GPUS, GPUS_PER_NODE and CPUS_PER_TASK; no GPUs where the partition has none
set_resources() {
  local partition=$1 job_name=$2 gpus_per_node=${GPUS_PER_NODE:-4} gres
  gres=$(sinfo --noheader --partition="$partition" --format=%G)
  if [ -z "$gres" ]; then
    echo "$0: Slurm has no partition $partition; it has $(sinfo --noheader --format=%R | paste --serial --delimiters=' ')" >&2
    exit 2
  fi
  RESOURCES=(-p "$partition" "--job-name=$job_name")
  if grep --quiet --word-regexp gpu <<< "$gres"; then
    RESOURCES+=("--gres=gpu:$gpus_per_node")
  fi
  RESOURCES+=("--ntasks=${GPUS:-4}" "--ntasks-per-node=$gpus_per_node" "--cpus-per-task=${CPUS_PER_TASK:-5}")
}

# WORK_DIR, absolute: --work-dir among the arguments of tools/train.py, else the first argument; ARGUMENTS: the others
set_work_dir() {
  WORK_DIR=$1
  shift
  ARGUMENTS=()
  while [ $# -gt 0 ]; do
    case $1 in
      --work-dir)
        [ $# -ge 2 ] || { echo "$0: --work-dir without a folder" >&2; exit 2; }
        WORK_DIR=$2
        shift
        ;;
      --work-dir=*) WORK_DIR=${1#*=} ;;
      *) ARGUMENTS+=("$1") ;;
    esac
    shift
  done
  WORK_DIR=$(realpath --canonicalize-missing "$WORK_DIR")
}

require_config() {
  [ -f "$1" ] || { echo "$0: there is no config $1" >&2; exit 2; }
}

# the command line of a training, quoted for a shell; it can be followed by --resume
train_command() {
  local work_dir=$1 config=$2
  printf '%q ' "${PYTHON:-python}" -u "$TOOLS/train.py" "$config" --launcher slurm --work-dir "$work_dir" "${@:3}"
}

# Refuse work dirs that a job in Slurm's queue trains in, by the id in its file slurm_job.
refuse_work_dirs_in_use() {
  local queue work_dir job state
  queue=$(squeue --noheader --array --format='%i %T')
  for work_dir in "$@"; do
    job=$(cat "$work_dir/slurm_job" 2> /dev/null) || continue
    state=$(awk -v job="$job" '$1 == job { print $2; exit }' <<< "$queue")
    if [ -n "$state" ]; then
      echo "$0: job $job ($state) trains in $work_dir; wait for its end, cancel it (scancel $job), or set another" \
        "--work-dir" >&2
      exit 2
    fi
  done
}

# Take folders for this submission until the script ends: a second one would write over the commands of the first.
take_work_dirs() {
  local work_dir
  refuse_work_dirs_in_use "$@"
  TAKEN=()
  trap 'for taken in "${TAKEN[@]}"; do rmdir "$taken"; done' EXIT
  for work_dir in "$@"; do
    mkdir -p "$work_dir"
    if ! mkdir "$work_dir/slurm_submission" 2> /dev/null; then
      echo "$0: another script submits a job for $work_dir; wait for it, or, if none is running, remove" \
        "$work_dir/slurm_submission" >&2
      exit 2
    fi
    TAKEN+=("$work_dir/slurm_submission")
  done
  # The other script may have submitted in between.
  refuse_work_dirs_in_use "$@"
}

# the file that slurm_job.sh runs; what was trained is on record with it
write_command() {
  local work_dir=$1
  mkdir -p "$work_dir"
  {
    echo '#!/usr/bin/env bash'
    printf 'cd %q\n' "$PWD"
    # while python starts; AtomicCheckpointHook then handles it
    echo "trap '' USR1"
    # shellcheck disable=SC2016  # for the shell that will run it
    printf 'PYTHONPATH=%q:"${PYTHONPATH:-}" exec %s"$@"\n' "$TOOLS/.." "$(train_command "$@")"
  } > "$work_dir/slurm_command.sh"
}

# JOB: the id of slurm_job.sh, handed to Slurm: submit LOG [options of sbatch] -- WORK_DIR...
submit() {
  # Slurm puts a number in place of %j
  local log=$1 options=()
  shift
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  # shellcheck disable=SC2086  # SBATCH_ARGS is a list of words
  JOB=$(sbatch --parsable "${RESOURCES[@]}" --requeue --open-mode=append --signal=B:USR1@120 --output="$log" \
    "${options[@]}" ${SBATCH_ARGS:-} "$TOOLS/slurm_job.sh" "${@:2}")
  # The name of the cluster may follow.
  JOB=${JOB%%;*}
  echo "Submitted batch job $JOB"
}
