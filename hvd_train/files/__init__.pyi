from . import strict as strict
from . import strict_arrays as strict_arrays
from .locks import NotALock as NotALock
from .locks import open_lock as open_lock
from .locks import process_name as process_name
from .locks import read_note as read_note
from .locks import write_note as write_note
from .strict import Damaged as Damaged
from .strict import reason as reason
from .writing import named as named
from .writing import new_file as new_file
from .writing import open_atomically as open_atomically
from .writing import write_atomically as write_atomically
from .writing import write_json as write_json
from .writing import write_text as write_text

__all__ = [
    "Damaged",
    "NotALock",
    "named",
    "new_file",
    "open_atomically",
    "open_lock",
    "process_name",
    "read_note",
    "reason",
    "strict",
    "strict_arrays",
    "write_atomically",
    "write_json",
    "write_note",
    "write_text",
]
