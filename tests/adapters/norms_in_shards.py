"""Record gradient norms of a network whose parameters are in shards, with FSDP2 on two processes.

Run by test_gradient_norms.py, with a rank, a store and a dtype, once for each process.
"""

import json
import sys

import torch
from rex_torch import GradientNorms
from torch.distributed import barrier, destroy_process_group, init_process_group
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import get_total_norm

ORDERS = {"l2": 2, "l1": 1}


def main(rank: int, store: str, dtype: str) -> dict[str, list[object]]:
    torch.set_num_threads(1)
    init_process_group("gloo", store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    model = model.to(getattr(torch, dtype))
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    records = {norm: GradientNorms(optimizer, 4, norm=norm) for norm in ORDERS}
    found: dict[str, list[object]] = {f"whole {norm}": [] for norm in ORDERS} | {"sharded": []}
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(16, 64, generator=generator)
        labels = torch.randint(10, (16,), generator=generator)
        share = slice(rank, None, 2)
        logits = model(images[share].to(getattr(torch, dtype)))
        cross_entropy(logits.float(), labels[share]).backward()
        found["sharded"].append(all(isinstance(p.grad, DTensor) for p in model.parameters()))
        gradients = [p.grad.full_tensor().float() for p in model.parameters()]
        for norm, order in ORDERS.items():
            found[f"whole {norm}"].append(float(get_total_norm(gradients, order)))
        optimizer.step()
        optimizer.zero_grad()
    found |= {norm: record.numpy().tolist() for norm, record in records.items()}
    # What still holds the group when the interpreter lets go of it can wait for it forever.
    del model, optimizer
    barrier()
    destroy_process_group()
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), *sys.argv[2:])))
