# Sourced by the other scripts: makes .venv if needed and installs nowcast into it, pinned.
# PYTHON chooses the interpreter; VENV another folder. Installs again only when a pin has changed.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=${VENV:-$root/.venv}
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "nowcast needs Python 3.11 or newer as $python; name another with PYTHON=..." >&2
  exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
compiled=(nowcast/core/memel/_memel.c nowcast/precipitation/forecasters/cells/_gates.c nowcast/precipitation/verification/_tally.c)
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh "${compiled[@]}" | sha256sum)
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
  echo "installing into $venv (about two minutes)" >&2
  # torch by itself first: its own line, so that PIP_INDEX_URL or a wheel can choose the build.
  "$venv/bin/python" -m pip install --quiet --constraint constraints.txt torch
  "$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
  "$venv/bin/python" -m pip install --quiet --no-deps pycomlink==0.6.0
  echo "$wanted" > "$venv/installed"
fi
export PATH="$venv/bin:$PATH"
