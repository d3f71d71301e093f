#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: as root, without systemd, on the loopback, with GPUs that are none.
#   slurm.sh up FOLDER      start it
#   slurm.sh down FOLDER    stop it
# Needs Debian's slurmctld, slurmd, slurm-client and munge.
set -euo pipefail
command=${1:?up or down} folder=${2:?a folder for its state}
gpus=2 host=$(hostname -s)

down() {
    for daemon in slurmd slurmctld munged; do
        if [ -s "$folder/run/$daemon.pid" ]; then kill "$(cat "$folder/run/$daemon.pid")" 2>/dev/null || true; fi
    done
    for file in slurm.conf gres.conf cgroup.conf; do
        if [ "$(readlink "/etc/slurm/$file" 2>/dev/null)" = "$folder/$file" ]; then rm -f "/etc/slurm/$file"; fi
    done
}

up() {
    mkdir -p "$folder"/{state,spool,log,munge,run,gpus} /etc/slurm
    chmod 700 "$folder/munge"
    (umask 077 && head -c 1024 /dev/urandom > "$folder/munge/key")
    /usr/sbin/munged --force --key-file="$folder/munge/key" --socket="$folder/run/munge.sock" \
        --pid-file="$folder/run/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
    for number in $(seq 0 $((gpus - 1))); do mknod "$folder/gpus/gpu$number" c 1 3; done
    echo "NodeName=$host Name=gpu Type=fake File=$folder/gpus/gpu[0-$((gpus - 1))]" > "$folder/gres.conf"
    echo "CgroupPlugin=cgroup/v1" > "$folder/cgroup.conf"
    cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
DefMemPerCPU=2000
KillWait=5
GresTypes=gpu
# The node has room for a job a GPU whatever this machine has: what jobs ask for is a bound, not what they take.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=64000 Gres=gpu:fake:$gpus State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    # What the executor starts inside a job looks here, whatever SLURM_CONF says.
    for file in slurm.conf gres.conf cgroup.conf; do ln -sfn "$folder/$file" "/etc/slurm/$file"; done
    /usr/sbin/slurmctld -c
    /usr/sbin/slurmd
    for _ in $(seq 1 60); do
        if [ "$(sinfo -h -o %t 2>/dev/null || true)" = idle ]; then return; fi
        sleep 0.5
    done
    echo "Slurm did not start; see $folder/log" >&2
    exit 1
}

"$command"
