from . import settings as settings
from .agreement import Agreement as Agreement
from .cores import assign_cores as assign_cores
from .cores import read_machine as read_machine
from .devices import cpu_flags as cpu_flags
from .devices import cpu_name as cpu_name
from .devices import has_bfloat16 as has_bfloat16
from .failure import end_block as end_block
from .failure import end_continued as end_continued
from .failure import end_rank as end_rank
from .failure import ending_of as ending_of
from .launchers import detect_placement as detect_placement
from .launchers import launcher_of as launcher_of
from .launchers import tf_config_of as tf_config_of
from .opening import open_world as open_world
from .opening import quiet_stderr as quiet_stderr
from .placement import Placement as Placement
from .rendezvous import gathering as gathering
from .settings import Settings as Settings
from .solo import SoloWorld as SoloWorld
from .world import World as World

__all__ = [
    "Agreement",
    "Placement",
    "Settings",
    "SoloWorld",
    "World",
    "assign_cores",
    "cpu_flags",
    "cpu_name",
    "detect_placement",
    "end_block",
    "end_continued",
    "end_rank",
    "ending_of",
    "gathering",
    "has_bfloat16",
    "launcher_of",
    "open_world",
    "quiet_stderr",
    "read_machine",
    "settings",
    "tf_config_of",
]
