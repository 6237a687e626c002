#!/usr/bin/env bash
# Compile the app without Android's SDK, and test its core against Python's numbers.
#
#   ./check.sh WORK MANIFEST [GOLDEN]
#
# WORK: a folder for the compiler (npm's kotlin-compiler) and what it makes; it is kept for the next time.
# MANIFEST: manifest.json of a bundle for the target tflite. GOLDEN: tests/golden/apps.json by default.
#
# `core` is compiled as it is and its tests are run. The app's own files are compiled against the declarations in
# tests/apps/android_stubs: that finds misspelt names and types, and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
kotlin=2.4.20

fail() {
  echo "error: $1; fix: $2" >&2
  exit 1
}

[ $# -ge 2 ] || fail "no folder or no manifest given" "see the head of this file"
mkdir -p "$1"
work=$(cd "$1" && pwd)
manifest=$2
golden=${3:-$root/tests/golden/apps.json}
command -v npm >/dev/null || fail "no npm here" "install Node.js"

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }
jars=/usr/share/java
missing=()
[ -f "$jars/junit4.jar" ] || missing+=(junit4)
[ -f "$jars/com.android.json.jar" ] || missing+=(libandroid-json-java) # org.json, as it is in Android
command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
if [ ${#missing[@]} -gt 0 ]; then
  for _ in 1 2 3 4 5; do
    if apt update; then break; fi
    sleep 10
  done
  apt install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

compiler=$work/node_modules/kotlin-compiler
if [ ! -d "$compiler" ]; then
  npm install --silent --no-audit --no-fund --prefix "$work" "kotlin-compiler@$kotlin"
fi
classes=$jars/com.android.json.jar:$jars/junit4.jar:$jars/hamcrest-core.jar
compile() { # what, classes, folders of sources
  local out=$1 path=$2
  shift 2
  find "$@" -name '*.kt' -print0 | sort -z |
    xargs -0 bash "$compiler/bin/kotlinc" -jvm-target 17 -Werror -cp "$path" -d "$out"
}
if [ ! -f "$work/core.jar" ]; then compile "$work/core.jar" "$classes" "$here/core"; fi
if [ ! -f "$work/app.jar" ]; then
  compile "$work/app.jar" "$work/core.jar" "$here/app" "$root/tests/apps/android_stubs"
fi
java "-Delir.golden=$golden" "-Delir.manifest=$manifest" \
  -cp "$work/core.jar:$classes:$compiler/lib/kotlin-stdlib.jar" \
  org.junit.runner.JUnitCore org.elir.edge.GoldenTest org.elir.edge.ManifestTest
