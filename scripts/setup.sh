# Sourced by the other scripts: makes .venv if needed and installs nowcast into it, pinned, with the
# extras in EXTRAS (default: radar). PYTHON chooses the interpreter; VENV another folder. Installs again
# only when a pin has changed; the extras of dev hold all others.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=${VENV:-$root/.venv}
python=${PYTHON:-python3}
extras=${EXTRAS:-radar}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "nowcast needs Python 3.11 or newer as $python; name another with PYTHON=..." >&2
  exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
wanted=$(find nowcast -name '*.[ch]' | sort | xargs cat pyproject.toml setup.py constraints.txt scripts/setup.sh | sha256sum)
installed() { [ "$(cat "$venv/installed-$1" 2>/dev/null)" = "$wanted" ]; }
if ! installed "$extras" && ! installed dev; then
  echo "installing nowcast[$extras] into $venv (one to two minutes)" >&2
  # torch by itself first: its own line, so that PIP_INDEX_URL or a wheel can choose the build.
  "$venv/bin/python" -m pip install --quiet --constraint constraints.txt torch
  "$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable ".[$extras]"
  # Both want older packages than ours for parts that are not used here.
  "$venv/bin/python" -m pip install --quiet --no-deps pycomlink==0.6.0
  case $extras in
    *dev* | *tests*)
      "$venv/bin/python" -m pip install --quiet --no-deps mlcast-dataset-validator==0.4.0 ;;
  esac
  echo "$wanted" > "$venv/installed-$extras"
fi
export PATH="$venv/bin:$PATH"
