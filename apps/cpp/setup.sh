#!/usr/bin/env bash
# Install what the C++ program is built from, on Debian and its kin.
#
#   ./setup.sh [PREFIX]
#
# Where the distribution has no libonnxruntime-dev (Debian 12), the headers come from Debian 13's
# package and the library from PyPI's onnxruntime; both are laid into PREFIX (default:
# build/onnxruntime), for `cmake -DONNXRUNTIME_ROOT=PREFIX`. What is there already is left alone.
# PYTHON=... names the Python whose onnxruntime is taken, or whose pip fetches one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=${1:-$here/build/onnxruntime}
python=${PYTHON:-python3}
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

fail() {
  echo "error: $1; fix: $2" >&2
  exit 1
}

command -v apt-get >/dev/null ||
  fail "no apt-get here" "install cmake, a C++ compiler, pkg-config, libpng, libjpeg-turbo, libexif, OpenSSL, nlohmann-json and ONNX Runtime by other means"
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Another installation may hold apt's locks for a while.
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }
update() {
  for _ in 1 2 3 4 5; do
    if "$@" update; then return; fi
    sleep 10
  done
  fail "apt-get update failed" "check the network"
}

missing=()
for package in cmake g++ make pkg-config libpng-dev libjpeg-dev libexif-dev libssl-dev nlohmann-json3-dev; do
  case $package in
    cmake | g++ | make) command -v "$package" >/dev/null || missing+=("$package") ;;
    pkg-config) command -v pkg-config >/dev/null || missing+=("$package") ;;
    *) installed "$package" || missing+=("$package") ;;
  esac
done
if [ ${#missing[@]} -gt 0 ]; then
  update apt
  apt install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if installed libonnxruntime-dev; then exit 0; fi
if [ -f "$prefix/include/onnxruntime/onnxruntime_cxx_api.h" ] && [ -f "$prefix/lib/libonnxruntime.so" ]; then
  exit 0
fi
if [ -z "$(apt-cache policy libonnxruntime-dev)" ] && [ ${#missing[@]} = 0 ]; then
  update apt # the lists may be old, or none
fi
if [ -n "$(apt-cache policy libonnxruntime-dev)" ]; then
  apt install -y --no-install-recommends libonnxruntime-dev >/dev/null
  exit 0
fi

# The headers alone, of Debian 13, from the mirror that this machine uses. Its package database is
# not touched: the list lies in a folder of its own.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
  grep -oE '(https?|file|copy|mirror)[+a-z]*://?[^] ]*/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
[ -n "$mirror" ] ||
  fail "no package libonnxruntime-dev, and no mirror of Debian" "unpack a release of ONNX Runtime and pass -DONNXRUNTIME_ROOT=folder to cmake"
work=$(mktemp -d)
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial
chmod -R a+rX "$work"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/sources.list"
cat >"$work/apt.conf" <<EOF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
EOF
trixie() { APT_CONFIG="$work/apt.conf" apt-get -qq "$@"; }
update trixie
(cd "$work" && trixie download libonnxruntime-dev && dpkg-deb -x libonnxruntime-dev_*.deb headers)

folder=$("$python" - <<'EOF'
import importlib.util
found = importlib.util.find_spec("onnxruntime")
print("" if found is None else found.submodule_search_locations[0])
EOF
)
if [ -z "$folder" ]; then
  "$python" -m pip download --quiet --no-deps --dest "$work" 'onnxruntime>=1.21' ||
    fail "no onnxruntime for $python" "set PYTHON to one that has pip"
  "$python" -m zipfile -e "$work"/onnxruntime-*.whl "$work/wheel"
  folder=$work/wheel/onnxruntime
fi
mkdir -p "$prefix/include" "$prefix/lib"
cp -R "$work/headers/usr/include/onnxruntime" "$prefix/include/"
cp "$folder"/capi/libonnxruntime.so.*.* "$prefix/lib/libonnxruntime.so.1"
ln -sf libonnxruntime.so.1 "$prefix/lib/libonnxruntime.so"
echo "headers and library of ONNX Runtime are in $prefix"
