#!/bin/bash
# The first program of Xen's first domain: starts Xen's tools, runs the session's script, shows what it left, powers off.
export PATH=/usr/lib/xen-4.17/bin:/usr/bin:/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs run /run
mkdir -p /run/xen /run/xenstored /run/lock /run/peer /var/log/xen/console
for module in /modules/*.ko; do insmod "$module"; done
mount -t xenfs xenfs /proc/xen

# Each line that is meant for the host begins with `@`, the file that it is from, and `@`: the console is shared.
show() { sed "s/^/@$1@/" "$2"; echo; }

# Waits until a command succeeds, at most so many seconds.
patiently() {
    local limit=$(($(cut -d. -f1 /proc/uptime) + $1)); shift
    until "$@" >/dev/null 2>&1; do
        [ "$(cut -d. -f1 /proc/uptime)" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# A guest's console, as xenconsoled keeps it.
console() { echo "/var/log/xen/console/guest-$1.log"; }

# create GUEST: starts it by its configuration.
create() { xl create -q -e "/guests/$1.cfg"; }

# await GUEST WORDS SECONDS: until its console has said the words.
await() { patiently "$3" grep -q -a -F -- "$2" "$(console "$1")"; }

# is_down GUEST: whether it has shut itself down.
is_down() { xl list "$1" | grep -q -- '---s'; }

# finish GUEST: ends it.
finish() { xl destroy "$1"; }

{
    xenstored --pid-file=/run/xen/xenstored.pid &&
        patiently 20 xenstore-read -s / &&
        xen-init-dom0 &&
        xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xen/xenconsoled.pid
} >/run/peer/setup.log 2>&1
status=$?
if [ "$status" = 0 ]; then
    . /session/script >/run/peer/script.log 2>&1
    status=$?
fi

cd /
echo
for log in /run/peer/*.log /var/log/xen/console/*.log; do
    [ -e "$log" ] && show "$(basename "$log" .log)" "$log"
done
echo "@@ended $status"
sync
sleep 0.2
poweroff -f
