from .durations import ago as ago
from .durations import clock as clock
from .durations import seconds_of as seconds_of
from .encoding import take_any_text as take_any_text
from .escaping import is_formula as is_formula
from .escaping import one_line as one_line
from .escaping import printable as printable
from .escaping import without_formulas as without_formulas
from .numbers import shown as shown
from .sizes import MIB as MIB
from .sizes import file_size as file_size
from .sizes import memory as memory

__all__ = [
    "MIB",
    "ago",
    "clock",
    "file_size",
    "is_formula",
    "memory",
    "one_line",
    "printable",
    "seconds_of",
    "shown",
    "take_any_text",
    "without_formulas",
]
