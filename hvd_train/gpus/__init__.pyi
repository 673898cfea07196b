from .carrier import Carrier as Carrier
from .carrier import GpuOfRank as GpuOfRank
from .carrier import choose_carrier as choose_carrier
from .interfaces import interface_addresses as interface_addresses
from .interfaces import nccl_variables as nccl_variables
from .inventory import Gpu as Gpu
from .inventory import Inventory as Inventory
from .inventory import has_driver as has_driver
from .inventory import read_inventory as read_inventory
from .visible import own_index as own_index
from .visible import visible_gpus as visible_gpus

__all__ = [
    "Carrier",
    "Gpu",
    "GpuOfRank",
    "Inventory",
    "choose_carrier",
    "has_driver",
    "interface_addresses",
    "nccl_variables",
    "own_index",
    "read_inventory",
    "visible_gpus",
]
