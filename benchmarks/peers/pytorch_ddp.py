"""Peer: PyTorch's DistributedDataParallel over gloo (NCCL where there are GPUs), as its tutorial "Multi GPU training with DDP" has it, with our net and rows.

torchrun --standalone --nproc-per-node 2 pytorch_ddp.py        (in the PyTorch environment)
"""

import os

import peer

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
peer.pin(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402
from torch.utils.data.distributed import DistributedSampler  # noqa: E402

has_gpus = torch.cuda.is_available()
device = (
    torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count()) if has_gpus else torch.device("cpu")
)
if has_gpus:
    torch.cuda.set_device(device)
dist.init_process_group("nccl" if has_gpus else "gloo")
x, y = peer.rows()
dataset = TensorDataset(torch.from_numpy(x).transpose(1, 2).contiguous(), torch.from_numpy(y))
loader = DataLoader(dataset, batch_size=peer.LOCAL_BATCH, shuffle=False, sampler=DistributedSampler(dataset))
model = DistributedDataParallel(
    nn.Sequential(
        nn.Conv1d(1, 32, 3, padding="same"),
        nn.ReLU(),
        nn.Conv1d(32, 32, 3, padding="same"),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * peer.NUM_FEATURES, 128),
        nn.ReLU(),
        nn.Linear(128, peer.NUM_CLASSES),
    ).to(device)
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
criterion = nn.CrossEntropyLoss()
clock, enough, done, epoch = peer.Clock(), False, False, 0
while not done:
    loader.sampler.set_epoch(epoch)
    epoch += 1
    for inputs, labels in loader:
        optimizer.zero_grad()
        criterion(model(inputs.to(device)), labels.to(device)).backward()
        optimizer.step()
        enough = enough or clock.step()
    # Ranks stop together, at the end of the epoch in which the first one's time was up.
    flag = torch.tensor(float(enough), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    done = bool(flag)
clock.tell(rank)
dist.destroy_process_group()
