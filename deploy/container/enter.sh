#!/bin/sh
# enter.sh ROOT WEIGHTS root|ordinary NAME=VALUE... -- COMMAND...: a command in an image, as a container runtime would.
#
# Started in mount, process, IPC and network namespaces of its own, of which the command becomes process 1.
set -eu
root=$1 weights=$2 user=$3
shift 3

# Nothing that is mounted here is seen outside.
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=8g tmpfs "$root/tmp"
mkdir -p "$root/weights"
mount --bind "$weights" "$root/weights"
mount -o remount,bind,ro "$root/weights"

if [ "$user" = root ]; then
    exec chroot "$root" env -i -C /src "$@"
fi
# As the manifests have it: uid 1000, no capabilities and none to be had, a root that cannot be written.
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --inh-caps=-all \
    --no-new-privs -- env -i -C /src "$@"
