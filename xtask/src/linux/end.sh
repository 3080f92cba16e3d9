#!/bin/busybox sh
# Ends the system at once, by the name that it is called with; the kernel calls it when dom0 asks for its end.
sync
exec busybox "${0##*/}" -f
