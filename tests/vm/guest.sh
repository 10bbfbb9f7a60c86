# What the virtual machine does with the host's files as its own: control groups of version 2 only,
# as systemd mounts them, and what was asked. Its exit code goes to the host in a file.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /dev/shm /dev/pts
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t devpts pts /dev/pts
ln -sf /proc/self/fd /dev/fd
ip link set lo up 2>/dev/null
sh /run/v2/run.sh </dev/null
echo $? >/run/v2/code
mkfifo /run/never
sync
echo o >/proc/sysrq-trigger
read -r _ </run/never
