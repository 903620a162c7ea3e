"""Learns to read handwritten digits, on all nodes of the job, and goes on where it was interrupted."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mlpools.train.pytorch import get_context

context = get_context()
dist.init_process_group(context.get_default_backend())
hyper_params = context.get_hyper_params()
epochs, batch_size = int(hyper_params["epochs"]), int(hyper_params["batch_size"])
if torch.cuda.is_available():
    torch.cuda.set_device(context.get_local_rank())
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10)).to(device)
model = DistributedDataParallel(network)
optimizer = torch.optim.Adam(model.parameters(), lr=float(hyper_params["learning_rate"]))

# This worker's part of the rows; each epoch comes in another order, which is the same after a restart.
data = context.get_dataset_map()
train = data["train"].get_shard()
batches = train.to_torch_dataset(batch_size=batch_size, shuffle=True)
held_out = data["eval"].to_arrow()
pixels = torch.from_numpy(held_out["pixels"].combine_chunks().flatten().to_numpy().reshape(-1, 64)).to(device)
digits = torch.from_numpy(held_out["digit"].to_numpy()).to(device)

progress = {"epoch": 0}
checkpoints = context.get_checkpoints(model=model, optimizer=optimizer, train=train, progress=progress)
step = checkpoints.load()
for epoch in range(progress["epoch"], epochs):
    progress["epoch"] = epoch
    for batch in batches:
        loss = nn.functional.cross_entropy(model(batch["pixels"].to(device)), batch["digit"].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        context.get_metrics_reporter().log_metrics({"loss": loss}, step=step)
        checkpoints.after_step(step)
    network.eval()
    with torch.no_grad():
        accuracy = (network(pixels).argmax(1) == digits).float().mean()
    network.train()
    context.get_metrics_reporter().log_metrics({"accuracy": accuracy}, step=step)

if context.get_rank() == 0:
    torch.save(network.state_dict(), Path(context.get_model_dir(), "digits.pt"))
