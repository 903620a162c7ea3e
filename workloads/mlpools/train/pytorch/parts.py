"""The parts of a program's state, and what each of them needs to be saved and to go on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.distributed.checkpoint import state_dict as states
from torch.nn import Module
from torch.optim import Optimizer

from mlpools.data.connector import DataConnector
from mlpools.errors import InvalidSpec


class Parts:
    """Modules and optimizers are saved by all ranks together; everything else by each rank for itself.

    A module that is whole on every rank, also inside ``DistributedDataParallel``, is written once; one that
    is cut, as by ``fully_shard``, in its pieces, which are cut anew for another number of ranks.

    Args:
        parts: by name: modules, optimizers, ``DataConnector`` shards, dictionaries of plain values, and
            whatever has ``state_dict`` and ``load_state_dict``.

    Raises:
        InvalidSpec: a part is none of these, or an optimizer fits no module.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._modules = {name: part for name, part in parts.items() if isinstance(part, Module)}
        optimizers = {name: part for name, part in parts.items() if isinstance(part, Optimizer)}
        self._optimizers = {name: (self._module_of(name, part), part) for name, part in optimizers.items()}
        self._own = {
            name: part for name, part in parts.items() if name not in {*self._modules, *self._optimizers}
        }
        for name, part in self._own.items():
            if not isinstance(part, dict) and not hasattr(part, "load_state_dict"):
                raise InvalidSpec(
                    f"get_checkpoints cannot save {name!r}, a {type(part).__name__}: it has no state_dict "
                    "and load_state_dict. Put plain values into a dictionary."
                )

    @property
    def names(self) -> list[str]:
        """Of all parts."""
        return sorted({*self._modules, *self._optimizers, *self._own})

    def shared(self) -> dict[str, Any]:
        """Return the state of modules and optimizers. A collective call; the tensors are the live ones."""
        state = {name: states.get_model_state_dict(module) for name, module in self._modules.items()}
        for name, (module, optimizer) in self._optimizers.items():
            state[name] = states.get_optimizer_state_dict(module, optimizer)
        return state

    def load_shared(self, state: Mapping[str, Any]) -> None:
        """Take the state of modules and optimizers over. A collective call."""
        for name, module in self._modules.items():
            states.set_model_state_dict(module, state[name])
        for name, (module, optimizer) in self._optimizers.items():
            states.set_optimizer_state_dict(module, optimizer, state[name])

    def own(self) -> dict[str, Any]:
        """Return the state of everything else on this rank."""
        return {
            name: dict(part) if isinstance(part, dict) else part.state_dict()
            for name, part in self._own.items()
        }

    def load_own(self, of_ranks: Sequence[Mapping[str, Any]], rank: int) -> None:
        """Take over what every rank saved for itself.

        Data goes on with the rows that are left over from all ranks, however many there are now; of
        everything else a rank that is new takes rank 0's.
        """
        mine = of_ranks[rank if rank < len(of_ranks) else 0]
        for name, part in self._own.items():
            if isinstance(part, dict):
                part.update(mine[name])
            elif isinstance(part, DataConnector):
                part.load_state_dict([state[name] for state in of_ranks])
            else:
                part.load_state_dict(mine[name])

    def _module_of(self, name: str, optimizer: Optimizer) -> Module:
        wanted = {id(value) for group in optimizer.param_groups for value in group["params"]}
        for module in self._modules.values():
            if wanted <= {id(value) for value in module.parameters()}:
                return module
        raise InvalidSpec(
            f"get_checkpoints needs the module whose parameters the optimizer {name!r} changes."
        )


def randomness() -> dict[str, Any]:
    """Return the states of this process's generators of random numbers."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_randomness(state: Mapping[str, Any]) -> None:
    """Have this process's generators go on where they were."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
