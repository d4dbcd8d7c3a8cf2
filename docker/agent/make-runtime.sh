#!/bin/sh
# Inside the build container: gathers Python, the agent's wheels and every library they load below /opt/sandlot,
# and points them at each other, so that the tree runs in any image, or none.
set -eu
out=/opt/sandlot
lib=$out/lib
std=$lib/python3.11
recipe=/opt/sandlot-recipe

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3.11 patchelf binutils >/dev/null

copy_python() {
  mkdir -p "$out/bin" "$lib"
  cp /usr/bin/python3.11 "$out/bin/python3.11"
  cp -r /usr/lib/python3.11 "$std"
  # Not for an agent, or not under a licence that we pass on (readline and gdbm are GPL).
  (cd "$std" && rm -rf test unittest idlelib lib2to3 tkinter turtle.py turtledemo ensurepip venv distutils pydoc.py pydoc_data \
    sqlite3 curses dbm wsgiref xmlrpc config-3.11-* __pycache__ sitecustomize.py EXTERNALLY-MANAGED LICENSE.txt)
  (cd "$std/lib-dynload" && rm -f readline.* _gdbm.* _dbm.* _tkinter.* _curses*.* _sqlite3.* _ssl.* _hashlib.* _crypt.* \
    _bz2.* _lzma.* _test*.* _xxtestfuzz.* xx*.* nis.* ossaudiodev.* audioop.*)
  # Beside the standard library, so that the agent starts without the `site` module.
  cp -r "$recipe"/wheels/* "$std/"
  rm -rf "${std:?}/bin"
}

list_binaries() { find "$out" -type f \( -name '*.so' -o -name '*.so.*' -o -name python3.11 \); }

# Closure by the dynamic linker's own word; the loader itself is one of the lines.
copy_libraries() {
  list_binaries | xargs ldd 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r file; do
    case $file in "$out"/*) ;; *) cp -L "$file" "$lib/" ;; esac
  done
}

relocate() {
  loader=$(basename "$(patchelf --print-interpreter "$out/bin/python3.11")")
  list_binaries | while read -r file; do
    case $(basename "$file") in "$loader") continue ;; esac
    strip --strip-unneeded "$file"
    # RPATH, not RUNPATH: it comes before an image's LD_LIBRARY_PATH.
    patchelf --force-rpath --set-rpath "$lib" "$file"
  done
  patchelf --set-interpreter "$lib/$loader" "$out/bin/python3.11"
}

copy_licences() {
  mkdir -p "$out/licences"
  for package in python3.11-minimal libc6 zlib1g libexpat1 libffi8 libgcc-s1 libstdc++6 libuuid1; do
    [ ! -e "/usr/share/doc/$package/copyright" ] || cp -L "/usr/share/doc/$package/copyright" "$out/licences/$package"
  done
}

copy_python
copy_libraries
relocate
copy_licences
"$out/bin/python3.11" -I -S -m compileall -q --invalidation-mode unchecked-hash "$std" >/dev/null || true
"$out/bin/python3.11" -I -S -c 'import asyncio, httptools, zlib, json'
rm -rf /var/lib/apt/lists/* "$recipe/wheels"
