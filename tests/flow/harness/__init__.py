"""What the flow tests stand on: a private PostgreSQL, a broker, the real
binary, and clients that speak as meters and network servers do."""

from .authority import Authority
from .broker import Broker
from .documents import GOLDEN, GOLDEN_VALUES, Uplink
from .heo import HeoMeter
from .headend import BUILD, ROOT, Headend
from .person import GOOD, Person, invite, signed_in
from .postgres import Cluster
from .receiver import Receiver, server_context
from .site import Site, Tenant
from .tools import free_port, many_files, stop_process, wait_equal, wait_until

__all__ = ["Authority", "BUILD", "Broker", "Cluster", "GOLDEN",
           "GOLDEN_VALUES", "GOOD", "Headend", "HeoMeter", "Person", "ROOT",
           "Receiver", "Site", "Tenant", "Uplink", "free_port", "invite",
           "many_files", "server_context", "signed_in", "stop_process", "wait_equal",
           "wait_until"]
