#!/bin/busybox sh
# Told of each device that comes: a CPU that was added is put to work, as a distribution's udev rule does. The kernel tells of
# it a moment before it lets it be put to work.
[ "$ACTION$SUBSYSTEM" = addcpu ] || exit 0
for attempt in 1 2 3 4 5 6 7 8 9 10; do
	echo 1 >"/sys$DEVPATH/online" && exit 0
	usleep 50000
done
