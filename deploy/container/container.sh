#!/usr/bin/env bash
# Builds the image as `cog build` would and tries it, on a Debian machine without Docker: `make container`.
#
# Takes about five minutes, root, a few GB under $TMPDIR (or /var/tmp) and the Debian packages named below. PyPI and
# Debian's packages are asked for as this machine's own pip and apt are set up to. Nothing is left behind but the figures.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}

missing=$(for program in debootstrap buildah ip unshare setpriv; do command -v $program >/dev/null || echo $program; done)
if [ -n "$missing" ]; then
    echo "error: $(echo $missing) not found: apt-get install debootstrap buildah iproute2 util-linux." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "error: building and running an image without Docker needs root." >&2
    exit 1
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/musicgen-container-XXXXXX")
# `chroot`: the steps of a build run in a plain chroot, which works inside a container, too.
build=(buildah --root "$work/storage" --runroot "$work/run")
clean_up() {
    "${build[@]}" umount --all >/dev/null 2>&1 || true
    # Whatever is still mounted under the folder, the innermost first.
    awk -v at="$work/" 'index($2, at) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
started=$SECONDS

echo "== a base laid out as Cog's"
deploy/container/base.sh "$work/base" "$PYTHON"
"${build[@]}" build --quiet --isolation chroot --tag cog-base -f - "$work/base" >/dev/null <<'END'
FROM scratch
COPY . /
ENTRYPOINT ["/sbin/tini", "--"]
END
base=$((SECONDS - started))

echo "== the Dockerfile that Cog would write"
"$PYTHON" -m deploy.container.stage "$work"
# The working copy as it is, less what git ignores; weights that were fetched are not needed.
mkdir "$work/source"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/source" 2>/dev/null || true
# What must not get into the image; checked below.
touch "$work/source/.env" "$work/source/server.key" "$work/source/musicgen_service/.env"
mkdir "$work/source/venv" && touch "$work/source/venv/python"
cat "$work/Dockerfile"

echo "== its steps"
mapfile -t mounts <"$work/mounts"
"${build[@]}" build --isolation chroot --pull-never --tag musicgen "${mounts[@]}" \
    --build-context "cog_build=$work/cog_build" --build-context "uv=$work/uv" \
    --ignorefile .dockerignore -f "$work/Dockerfile" "$work/source"
built=$((SECONDS - started))

echo "== the image, run"
container=$("${build[@]}" from --pull-never musicgen)
root=$("${build[@]}" mount "$container")
"${build[@]}" inspect --type image musicgen >"$work/config.json"
# A network of its own with nothing in it but itself.
unshare --net "$PYTHON" -m deploy.container.check "$root" "$work/config.json" "base $base s, built after $built s" |
    tee "$work/figures.txt"
cp "$work/figures.txt" deploy/container/figures.txt
