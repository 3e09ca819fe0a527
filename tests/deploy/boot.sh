#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Runs as the first process of namespaces of its own, and becomes systemd there. Everything that it and its services
# can write is in memory and gone with it; the rest of the machine can be read. Only the network is the machine's own.
# Arguments: the name of a cgroup, Python's prefix, the source, the libraries.
set -eu
cgroup=$1 python=$2 source=$3 libraries=$4

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
work=/run/machine
mkdir -p "$work/etc" "$work/etc-work" "$work/var/lib" "$work/var/log" "$work/var/tmp" "$work/opt/peerdata/bin"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/etc,workdir=$work/etc-work" /etc

# The virtual environment and Python itself may lie where the service's user cannot look, as in /root.
cd "$work/opt/peerdata"
mkdir python source libraries
mount --bind "$python" python
mount --bind "$source" source
mount --bind "$libraries" libraries
cat > bin/peerdata <<'EOF'
#!/bin/sh
export LD_LIBRARY_PATH=/opt/peerdata/python/lib PYTHONPATH=/opt/peerdata/source:/opt/peerdata/libraries
exec /opt/peerdata/python/bin/python3 -m peerdata "$@"
EOF
chmod 755 bin/peerdata
cd /
mount --rbind "$work/opt" /opt
mount --bind "$work/var" /var
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm

umount -R /sys/fs/cgroup 2> /dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$cgroup"
echo $$ > "/sys/fs/cgroup/$cgroup/cgroup.procs"

# None of the machine's own services.
mount -t tmpfs tmpfs /etc/systemd/system
printf '[Unit]\nDescription=test\nAllowIsolate=yes\n' > /etc/systemd/system/test.target

# systemd brings the machine up before it starts anything, empties /tmp for one: it must not be able to write elsewhere.
mount --bind /proc/sys /proc/sys
for place in / /sys /proc/sys /dev; do
    mount -o remount,bind,ro "$place"
done
for place in / /usr /root /home /srv; do
    if [ -d "$place" ] && touch "$place/peerdata-test" 2> /dev/null; then
        rm -f "$place/peerdata-test"
        echo "$place can be written" >&2
        exit 1
    fi
done
exec unshare --cgroup --uts --ipc setpriv \
    --bounding-set=-sys_time,-sys_module,-sys_boot,-sys_rawio,-net_admin,-syslog,-wake_alarm \
    env container=peerdata "${SYSTEMD:-/lib/systemd/systemd}" --system --unit=test.target \
    --log-target=console --show-status=no
