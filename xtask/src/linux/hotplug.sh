#!/bin/busybox sh
# Told of each device that comes: a CPU that was added is put to work, as a distribution's udev rule does.
[ "$ACTION$SUBSYSTEM" = addcpu ] && echo 1 >"/sys$DEVPATH/online"
exit 0
