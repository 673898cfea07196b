from . import forms as forms
from .hostfile import Host as Host
from .hostfile import parse_host_list as parse_host_list
from .hostfile import read_hostfile as read_hostfile

__all__ = ["Host", "forms", "parse_host_list", "read_hostfile"]
