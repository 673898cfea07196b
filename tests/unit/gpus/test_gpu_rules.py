"""Which GPU a rank has, and what carries gradients then, on made-up lists: no GPU was there to try."""

from __future__ import annotations

import pytest
from made_up_gpus import FakeNvml, gpus

from hvd_train.distributed import detect_placement
from hvd_train.gpus import Carrier, GpuOfRank, choose_carrier, nccl_variables, own_index, read_inventory, visible_gpus


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, [0, 1, 2, 3]),
        ("2", [2]),
        ("3,1", [3, 1]),
        (" 0 , 2 ", [0, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,9,1", [0]),  # CUDA hides what stands behind a number that does not exist
        ("1,1", [1]),
        ("GPU-2abc,GPU-0", [2, 0]),
        ("GPU-", []),  # of four
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(given: str | None, seen: list[int]) -> None:
    assert [gpu.index for gpu in visible_gpus(gpus(4), given)] == seen


OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}  # fmt: skip
SLURM = {
    "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "3", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_TASKS_PER_NODE": "4", "SLURM_JOB_ID": "7",
}  # fmt: skip
MPICH = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "2", "MPI_LOCALNRANKS": "4"}


@pytest.mark.parametrize(
    ("environment", "host_has", "own"),
    [
        (OPEN_MPI, 4, 1),
        (OPEN_MPI | {"CUDA_VISIBLE_DEVICES": "2,3"}, 4, 3),
        (OPEN_MPI, 1, 0),
        (OPEN_MPI, 0, None),
        (SLURM, 4, 3),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "3"}, 4, 3),  # --gpus-per-task=1 without a cgroup
        (SLURM | {"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_PER_TASK": "1"}, 1, 0),  # the same with one
        (SLURM | {"CUDA_VISIBLE_DEVICES": "0,1"}, 4, 1),  # four tasks for two GPUs
        (MPICH, 4, 2),
        ({}, 4, 0),
        ({"CUDA_VISIBLE_DEVICES": ""}, 4, None),
    ],
)
def test_the_local_rank_of_any_launcher_chooses_among_the_visible(
    environment: dict[str, str], host_has: int, own: int | None
) -> None:
    seen = visible_gpus(gpus(host_has), environment.get("CUDA_VISIBLE_DEVICES"))
    index = own_index(len(seen), detect_placement(environment).local_rank)
    assert (None if index is None else seen[index].index) == own


def ranks(*identities: str, host: str = "lab1") -> list[GpuOfRank]:
    return [GpuOfRank(host, identity, "NVIDIA H100" if identity else "") for identity in identities]


def test_a_gpu_for_each_rank_is_joined_by_nccl() -> None:
    two_hosts = [*ranks("a", "b"), *ranks("a", "b", host="lab2")]
    assert choose_carrier(two_hosts, has_nccl=True) == Carrier(False, "NCCL, from GPU to GPU")


def test_ranks_that_share_a_gpu_go_through_memory_and_are_named() -> None:
    carrier = choose_carrier(ranks("a", "b", "a"), has_nccl=True, memory="the memory that the ranks of this host share")
    assert carrier.on_host
    assert carrier.text == (
        "the memory that the ranks of this host share, by way of the hosts' memory: ranks 0, 2 share one GPU (NVIDIA H100 of "
        "lab1), which NCCL refuses. Start as many ranks as there are GPUs"
    )
    several = choose_carrier(ranks("a", "b", "a", "b"), has_nccl=True)
    assert several.text.startswith(
        "MPI, by way of the hosts' memory: ranks 0, 2 share one GPU (NVIDIA H100 of lab1), and so do"
    )


def test_a_rank_without_a_gpu_keeps_all_from_nccl() -> None:
    carrier = choose_carrier([*ranks("a"), *ranks("", host="lab2")], has_nccl=True)
    assert carrier == Carrier(True, "MPI, by way of the hosts' memory: 1 of 2 ranks have no GPU (lab2)")


def test_without_gpus_or_without_nccl() -> None:
    assert choose_carrier(ranks("", ""), has_nccl=True) == Carrier(True, "MPI", has_gpus=False)
    assert choose_carrier(ranks("", ""), has_nccl=False, memory="shared memory").text == "shared memory"
    assert "built without NCCL (make setup GPU=cuda)" in choose_carrier(ranks("a", "b"), has_nccl=False).text


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, {}),
        ({"OMPI_MCA_btl_tcp_if_include": "eth0,ib0"}, {"NCCL_SOCKET_IFNAME": "=eth0,ib0"}),
        ({"OMPI_MCA_btl_tcp_if_include": "10.1.0.0/16"}, {"NCCL_SOCKET_IFNAME": "=ib0"}),
        ({"OMPI_MCA_btl_tcp_if_include": "192.168.7.0/24"}, {}),  # no interface of this host
        ({"OMPI_MCA_btl_tcp_if_include": "10.1.0.0/99"}, {}),
        ({"OMPI_MCA_btl_tcp_if_exclude": "lo,docker0"}, {"NCCL_SOCKET_IFNAME": "^=lo,docker0"}),
        ({"OMPI_MCA_btl_tcp_if_exclude": "127.0.0.0/8,docker0"}, {"NCCL_SOCKET_IFNAME": "^=lo,docker0"}),
        ({"OMPI_MCA_btl_tcp_if_include": "eth0", "NCCL_SOCKET_IFNAME": "ib0"}, {}),  # the user's own
    ],
)
def test_nccl_uses_the_interfaces_that_mpi_was_told(environment: dict[str, str], wanted: dict[str, str]) -> None:
    addresses = {"lo": "127.0.0.1", "eth0": "192.168.1.5", "ib0": "10.1.2.3", "docker0": "172.17.0.1"}
    assert nccl_variables(environment, addresses) == wanted


def test_the_inventory_of_nvml() -> None:
    nvml = FakeNvml(3, nvlinks=((0, 1),), refused=((1, 2),))
    found = read_inventory(nvml)
    assert (found.driver, found.cuda, found.problem) == ("570.86.15", (12, 8), "")
    assert found.gpus == gpus(3)
    assert found.links == {(0, 1): "NVLink", (0, 2): "PCIe", (1, 2): "none"}
    assert nvml.shut == 1


def test_without_a_driver_or_the_package_the_inventory_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_inventory(FakeNvml(driver=""))
    assert found.gpus == ()
    assert found.problem == "NVIDIA's driver does not answer (NVML Shared Library Not Found)"
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert "nvidia-ml-py" in read_inventory().problem
