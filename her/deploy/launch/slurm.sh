#!/bin/bash
# %%{name}, written by `her launch`. Submit it with: %%{submit}
# At its time limit, when preempted or after the loss of a machine the job queues again; the run resumes from its last checkpoint.
# This file holds no token: Slurm passes the environment of the submitting shell (HF_TOKEN) on.
%%{directives}
set -euo pipefail

export HER_HOME=%%{home}
export HER_PYTHON=%%{python}
cd %%{root}

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export HER_HEAD="${machines[0]}"
export HER_PORT="$((20000 + SLURM_JOB_ID % 20000))"
# Seconds for the processes to save and exit. The signal below comes 300 seconds before the time limit.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=240

# scancel --signal forwards the signal to the step's processes. Signalling srun itself would kill the step.
out_of_time=no
step=""
trap 'out_of_time=yes; [[ -z "$step" ]] || scancel --signal=TERM "$SLURM_JOB_ID" || true' USR1

# One task per machine; each starts one process per GPU.
srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c '
exec "$HER_PYTHON" -m accelerate.commands.launch \
    --machine_rank "$SLURM_PROCID" --main_process_ip "$HER_HEAD" --main_process_port "$HER_PORT" "$@"
' task \
    %%{arguments} &
step=$!

code=0
wait "$step" || code=$?
# The signal interrupted `wait`, not the step: wait for the step again.
if [[ "$out_of_time" == yes ]]; then
    code=0
    wait "$step" || code=$?
fi
if [[ "$out_of_time" == yes && "$code" != 0 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
