#!/usr/bin/env bash
# base.sh FOLDER PYTHON: a root file system laid out as Cog's base image for CUDA 13.0 and Python 3.11, without CUDA.
#
# What it stands in for is published under Cog's name, and made by Cog's own generator (installPythonCUDA and installTini
# in pkg/dockerfile/standard_generator.go), from which these properties are:
#  - Python is one that uv installed: under /root/.local/share/uv/python, marked as managed from outside (PEP 668);
#  - /usr/bin/python3 links to it, and nothing links to its pip;
#  - tini is the entrypoint.
# It differs in that its Python is Debian's, moved there, and Debian 12 (the release with Python 3.11) is under it, not
# Ubuntu 24.04 with CUDA.
set -euo pipefail
base=$1 python=$2
home=/root/.local/share/uv/python/cpython-3.11.2-linux-x86_64-gnu

# The archive that this machine uses, where its apt says it in the newer form.
archive=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -1)
debootstrap --variant=minbase --include=ca-certificates,python3.11-minimal,libpython3.11-stdlib,tini \
    bookworm "$base" $archive >"$base.log" 2>&1 || { tail -5 "$base.log" >&2; exit 1; }
rm -rf "$base"/var/cache/apt/* "$base"/var/lib/apt/lists/*
# What debootstrap leaves mounted or linked to this machine.
umount "$base/proc" "$base/sys" 2>/dev/null || true

mkdir -p "$base$home/bin" "$base$home/lib" "$base/usr/local/bin"
mv "$base/usr/bin/python3.11" "$base$home/bin/"
mv "$base/usr/lib/python3.11" "$base$home/lib/"
ln -s python3.11 "$base$home/bin/python3"
ln -s "$home/bin/python3.11" "$base/usr/bin/python3"
ln -s /usr/bin/tini "$base/sbin/tini"
# uv's Python installs where every other does, Debian's elsewhere: undone here. (Its search path is compiled in.)
sed -i "s/prefix_scheme = 'posix_local'/prefix_scheme = 'posix_prefix'/" "$base$home/lib/python3.11/sysconfig.py"
mkdir "$base$home/lib/python3.11/site-packages"
ln -s site-packages "$base$home/lib/python3.11/dist-packages"

# Its pip, which comes with uv's Python and not with Debian's.
"$python" -m pip download --quiet --no-deps --dest "$base/tmp" pip 2>/dev/null
wheel=$(basename "$base"/tmp/pip-*.whl)
chroot "$base" /usr/bin/python3 "/tmp/$wheel/pip" --isolated install --quiet --no-index --no-warn-script-location \
    --break-system-packages --root-user-action=ignore "/tmp/$wheel"
rm "$base/tmp/$wheel"

# uv, which Cog copies from its publisher's image.
mkdir "$(dirname "$base")/uv"
"$python" -m pip download --quiet --no-deps --dest "$base.uv" uv==0.9.26 2>/dev/null
"$python" -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' "$base".uv/*.whl "$base.uv"
mv "$base".uv/*.data/scripts/uv "$base".uv/*.data/scripts/uvx "$(dirname "$base")/uv/"
chmod 755 "$(dirname "$base")"/uv/*
