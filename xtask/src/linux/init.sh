#!/bin/busybox sh
# First program of a Linux guest: says when it was reached, sets up a usable system, then runs what the word `run=` of
# the kernel's command line names, or a shell on the console for as long as the guest lives.
echo "init: first line" >/dev/kmsg
export PATH=/sbin:/bin HOME=/root TERM=vt100 PS1='\w # '
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm
ifconfig lo up
uevent /sbin/hotplug >/dev/null 2>&1 &
cd /root
if [ -n "$run" ]; then
	$run
	echo "init: $run ended with $?"
	exec poweroff
fi
echo "init: a shell on the console"
while :; do
	setsid cttyhack sh -l
done
