"""What mpirun writes about the end of its ranks: news is passed on, and what repeats an exit code is left out.

mpirun puts each of its messages between two lines of dashes, on standard error.
"""

from __future__ import annotations

import re

RULE = re.compile(r"^-{40,}\s*$")
# A block of these says no more than that a rank had an exit code, or what became of the others after it.
REPEATS = re.compile(
    r"Primary job\s+terminated normally, but"
    r"|detected that one or more processes exited with non-zero status"
    r"|peer (?:process has )?unexpectedly disconnected|peer hung up"
    r"|noticed that process rank \d+ with PID \d+ on node \S+ exited on signal 15",
    re.IGNORECASE,
)
# "[lab1:123] 2 more processes have sent help message help-mpi-btl-tcp.txt / peer hung up", and the line below it.
COUNTS = re.compile(r"more process(?:es)? ha(?:s|ve) sent help message|Set MCA parameter \"orte_base_help_aggregate\"")
# No message of mpirun's is longer. A rank's own line of dashes must not hold back what follows.
LONGEST_BLOCK = 40

ERROR = re.compile(r"(?:^|\] )error: (.*)")
ENDINGS = re.compile(r"; ending the job\..*| The last checkpoint is complete:.*| There was no checkpoint yet\..*")
LONGEST_SAID = 400
# How the watchdog and mpirun name the host of a rank that died or fell silent.
NAMED = (
    re.compile(r"rank \d+ on host (\S+?)[,:]? (?:died without a word|\(last heard)"),
    re.compile(r"noticed that process rank \d+ with PID \d+ on node (\S+) exited on signal (?!15)"),
    re.compile(r"Remote daemon: .* on node (\S+)"),
)


class Chatter:
    """Reads standard error line by line. `feed` and `rest` return what to pass on."""

    def __init__(self) -> None:
        self._block: list[str] = []
        self.said = ""
        """The first error that a rank wrote, in words."""
        self.named: set[str] = set()
        """Hosts of ranks that died or fell silent."""

    @property
    def holds(self) -> bool:
        """Whether lines are held back until the block is complete."""
        return bool(self._block)

    def feed(self, line: str) -> str:
        """`line` is whole, with its line break."""
        self._listen(line)
        if self._block:
            self._block.append(line)
            if RULE.match(line):
                return self._close()
            return self.rest() if len(self._block) > LONGEST_BLOCK else ""
        if RULE.match(line):
            self._block = [line]
            return ""
        return "" if COUNTS.search(line) else line

    def rest(self) -> str:
        """What is still held back."""
        text, self._block = "".join(self._block), []
        return text

    def _close(self) -> str:
        text = self.rest()
        return "" if REPEATS.search(" ".join(text.split())) else text

    def _listen(self, line: str) -> None:
        if not self.said and (found := ERROR.search(line)):
            self.said = ENDINGS.sub("", found[1]).strip()[:LONGEST_SAID]
        for pattern in NAMED:
            self.named.update(pattern.findall(line))
