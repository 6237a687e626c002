#!/usr/bin/env bash
# Compile the package and run its tests with Swift for Linux, and parse the app's own files.
#
#   ./check.sh [WORK]
#
# Where there is no swift, and a folder WORK is given: Debian 13 with its package swiftlang is laid into WORK (3 GB, as
# root, on Debian; kept for the next time) and used from there. ELIR_GOLDEN and ELIR_MANIFEST name other files.
# SwiftUI, Core ML and ONNX Runtime are not there: the files in App are parsed, not compiled.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
golden=${ELIR_GOLDEN:-$here/../../tests/golden/apps.json}

fail() {
  echo "error: $1; fix: $2" >&2
  exit 1
}

if command -v swift >/dev/null; then
  swiftc -parse "$here"/App/*.swift
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  ELIR_GOLDEN=$golden swift test --package-path "$here" --scratch-path "$build"
  exit 0
fi

[ $# -ge 1 ] || fail "no swift here" "install Swift, or name a folder for Debian 13 (see the head of this file)"
[ "$(id -u)" = 0 ] || fail "only root can lay out Debian" "run as root, or install Swift"
command -v apt-get >/dev/null || fail "no apt-get here" "install Swift"
mkdir -p "$1"
root=$(cd "$1" && pwd)/debian13
if [ ! -x "$root/usr/bin/swift" ]; then
  command -v debootstrap >/dev/null || apt-get install -qq -y --no-install-recommends debootstrap >/dev/null
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -oE '(https?|file|copy|mirror)[+a-z]*://?[^] ]*/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
  [ -n "$mirror" ] || fail "no mirror of Debian in apt's sources" "install Swift"
  rm -rf "$root"
  debootstrap --variant=minbase trixie "$root" "$mirror" >&2
  chroot "$root" apt-get update -qq >&2
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    swiftlang libc6-dev libstdc++-14-dev >&2
fi
rm -rf "$root/check"
mkdir "$root/check"
cp -R "$here/Package.swift" "$here/Sources" "$here/Tests" "$here/App" "$root/check/"
cp "$golden" "$root/check/golden.json"
[ -z "${ELIR_MANIFEST:-}" ] || cp "$ELIR_MANIFEST" "$root/check/manifest.json"
# Mounts of its own, which end with it.
unshare --mount bash -euo pipefail -c '
  mount --bind /proc "$0/proc"
  mount --bind /dev "$0/dev"
  chroot "$0" sh -euc "
    cd /check
    swiftc -parse App/*.swift
    export ELIR_GOLDEN=/check/golden.json
    if [ -f manifest.json ]; then export ELIR_MANIFEST=/check/manifest.json; fi
    swift test 2>&1
  "' "$root"
