#!/bin/bash
# %%{name}, as `her launch` wrote it. Submit it with: %%{submit}
# At its time limit, preempted or after the loss of a machine it queues again, and the run goes on from its last checkpoint.
# No token stands here: those of the shell it is submitted from (HF_TOKEN) are passed on.
%%{directives}
set -euo pipefail

export HER_HOME=%%{home}
export HER_PYTHON=%%{python}
cd %%{root}

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export HER_HEAD="${machines[0]}"
export HER_PORT="$((20000 + SLURM_JOB_ID % 20000))"
# Seconds that the processes have for ending well; the warning below comes 300 before the time limit.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=240

# scancel only passes the signal on; srun, asked to end, would kill the step.
out_of_time=no
step=""
trap 'out_of_time=yes; [[ -z "$step" ]] || scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1

# One task a machine; each starts the processes of its own GPUs.
srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
exec "$HER_PYTHON" -m accelerate.commands.launch \
    --machine_rank "$SLURM_PROCID" --main_process_ip "$HER_HEAD" --main_process_port "$HER_PORT" "$@"
' task \
    %%{arguments} &
step=$!

code=0
wait "$step" || code=$?
# The warning ended that `wait`, not the step.
if [[ "$out_of_time" == yes ]]; then
    code=0
    wait "$step" || code=$?
fi
if [[ "$out_of_time" == yes && "$code" != 0 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
