"""LightGBM's own network between the ranks: who listens where, agreed on anew in each attempt.

LightGBM has no tracker. Each rank is given the list of all and finds itself in it by its address and port.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from lightgbm.basic import _LIB, _safe_call

from mlpools.errors import InvalidSpec
from mlpools.gang import Gang
from mlpools.train.collective import Collective

#: LightGBM counts in milliseconds of 32 bits.
_NEVER_MINUTES = 30_000
#: The time-out of its sockets comes after that of the supervisors, which can say who hung.
_MARGIN_MINUTES = 2


def connect(gang: Gang, collective: Collective, hang_timeout_seconds: int) -> dict[str, Any]:
    """Connect the ranks, and return the parameters of a booster that trains over all of them.

    A collective call. LightGBM ends the connections with the process: whoever freed them while a peer is gone
    would wait for it. (A booster that is given the machines itself frees them with itself, and the next one
    trains alone, with a warning.)

    Args:
        gang: of this rank.
        collective: over which the ranks tell each other their addresses.
        hang_timeout_seconds: without a step for so long a rank is hung; 0 = never.

    Raises:
        InvalidSpec: the pods have addresses that LightGBM cannot use.
        lightgbm.basic.LightGBMError: a rank cannot be reached.
    """
    if gang.world_size == 1:
        return {}
    with socket.socket() as held:  # until all have theirs: no two ranks of a machine get the same port
        held.bind((_ipv4(gang.address), 0))
        address, port = held.getsockname()
        places = collective.gather([address, port])
    machines = ",".join(f"{host}:{number}" for host, number in places).encode()
    minutes = hang_timeout_seconds // 60 + _MARGIN_MINUTES if hang_timeout_seconds else _NEVER_MINUTES
    _safe_call(_LIB.LGBM_NetworkInit(machines, port, minutes, gang.world_size))
    return {"num_machines": gang.world_size, "pre_partition": True}


def _ipv4(address: str) -> str:
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError:
        raise InvalidSpec(
            f"This pod's address is {address}, but LightGBM knows only IPv4 between nodes: use nodes: 1, or "
            "a cluster whose pods have IPv4 addresses."
        ) from None
