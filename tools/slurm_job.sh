#!/usr/bin/env bash
# What Slurm runs for slurm_sbatch.sh and slurm_array.sh: slurm_job.sh WORK_DIR...; a task of an array takes its own.
# A step that ended too early is requeued if it has written a checkpoint since it began, and fails otherwise.
set -euo pipefail
work_dirs=("$@")
work_dir=${work_dirs[${SLURM_ARRAY_TASK_ID:-0}]}
command=$work_dir/slurm_command.sh
checkpoint=$work_dir/last_checkpoint
# the id of an array's last task is that of the whole array
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}

note() {
  echo "$(date '+%F %T') job $job, restart ${SLURM_RESTART_COUNT:-0}: $*"
}

# when the last checkpoint was written
progress() {
  stat --format=%y "$checkpoint" 2> /dev/null || true
}

# 30 seconds before Slurm ends the job for good, end the step: it could be requeued
end_in_time() {
  local end left
  end=$(squeue --noheader --jobs="$job" --format=%e)
  end=$(date --date="$end" +%s 2> /dev/null) || return 0 # it has no time limit
  left=$((end - $(date +%s) - 30))
  [ "$left" -gt 0 ] || return 0 # pre-empted with a short notice; Slurm requeues it
  sleep "$left"
  note 'the ranks have not ended by themselves; ending them'
  kill -TERM "$step"
}

time_over=
ask_to_save() {
  time_over=yes
  interrupted=yes
  note 'the time is nearly over; asking the ranks to save and end'
  kill -USR1 "$step" 2> /dev/null || return 0 # it has just ended
  end_in_time &
  watch=$!
}

resume=()
# one from before the job was submitted is of another run
if [ "$checkpoint" -nt "$command" ]; then
  resume=(--resume)
fi
note "$(tail -n 1 "$command")" "${resume[@]}"
before=$(progress)

# shellcheck disable=SC2086  # SRUN_ARGS is a list of words
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" ${SRUN_ARGS:-} \
  bash "$command" "${resume[@]}" &
step=$!
watch=
trap ask_to_save USR1
# a signal ends the waiting, not the step
interrupted=yes
while [ "$interrupted" ]; do
  interrupted=
  wait "$step" && status=0 || status=$?
done
trap '' USR1
[ -z "$watch" ] || kill "$watch" 2> /dev/null || true

if [ "$status" = 0 ]; then
  note 'done'
elif [ "$(progress)" != "$before" ]; then
  note "ended with status $status after a new checkpoint; goes back to the queue"
  scontrol requeue "$job"
else
  note "ended with status $status and without a new checkpoint; not requeued${time_over:+. It needs more time, see --time of sbatch}"
  exit "$status"
fi
