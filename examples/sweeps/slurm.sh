#!/bin/bash
# A sweep as a Slurm array: `sbatch examples/sweeps/slurm.sh`, then merge what the tasks have left.
# Each task is a shard with a folder of its own; one that is cut off by its time limit goes on when it is submitted again.
#SBATCH --job-name=lab-sweep
#SBATCH --array=0-15
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@30

lab sweep scenarios/duplicates-and-disorder.toml --set time.service=modelled \
    --vary channel.lose=0,0.01,0.05,0.2 --vary channel.reorder.share=0..0.8:5 --repeat 10 \
    --shard "$SLURM_ARRAY_TASK_ID/16" --out "shards/$SLURM_ARRAY_TASK_ID" --executor "local:$SLURM_CPUS_PER_TASK"

# When all tasks are done:
#   lab merge whole shards/*
#   lab report whole
