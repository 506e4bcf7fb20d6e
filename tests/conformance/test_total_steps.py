"""total_steps against the updates that frameworks really make, counted by the optimizer."""

import accelerate
import keras
import lightning
import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from transformers import Trainer, TrainingArguments

from rex_core import total_steps

pytestmark = [
    pytest.mark.long,
    # Lightning 2.6 asks torch in a way that torch 2.13 deprecates.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
    # It advises more workers where the machine has more cores.
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    # Keras reads its variables in a way that NumPy deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

EPOCHS, BATCH = 2, 4
CASES = [
    {"dataset_size": size, "accumulation": accumulation, "drop_last": drop_last}
    for size in (12, 13, 18)
    for accumulation in (1, 2, 3)
    for drop_last in (False, True)
]
every_case = pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "-".join(map(str, case.values()))
)


def rule(case, **others):
    return total_steps(**{"epochs": EPOCHS, "batch_size": BATCH} | case | others)


class Network(lightning.LightningModule):
    """A network and its optimizer, which counts its updates, as each framework wants them."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1)
        self.updates = 0
        self.optimizer.register_step_post_hook(self.count)

    def count(self, *_):
        self.updates += 1

    def forward(self, x, y):
        return {"loss": ((self.layer(x) - y) ** 2).mean()}

    def training_step(self, batch, _):
        return self(*batch)["loss"]

    def configure_optimizers(self):
        return self.optimizer

    def update(self):
        self.optimizer.step()
        self.optimizer.zero_grad()


def dataset(case):
    return TensorDataset(*torch.ones(2, case["dataset_size"], 1))


def loader(case, sampler=None):
    return DataLoader(dataset(case), BATCH, drop_last=case["drop_last"], sampler=sampler)


def with_loop(case, loaders, when):
    """A plain loop; `when` says whether batch i of an epoch, j of the run, is followed by one."""
    network, j = Network(), 0
    for epoch in loaders:
        for i, batch in enumerate(epoch, start=1):
            network(*batch)["loss"].backward()
            j += 1
            if when(i, j, len(epoch)):
                network.update()
    return network.updates


def with_lightning(case):
    network = Network()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=case["accumulation"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(network, loader(case))
    assert trainer.global_step == network.updates
    return network.updates


def with_trainer(case, folder, epochs=EPOCHS):
    network = Network()
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        gradient_accumulation_steps=case["accumulation"],
        dataloader_drop_last=case["drop_last"],
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    rows = [{"x": x, "y": y} for x, y in dataset(case)]
    constant = torch.optim.lr_scheduler.ConstantLR(network.optimizer)
    optimizers = (network.optimizer, constant)
    Trainer(network, arguments, train_dataset=rows, optimizers=optimizers).train()
    return network.updates


def with_accelerate(case):
    network = Network()
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=case["accumulation"])
    layer, optimizer, batches = accelerator.prepare(network, network.optimizer, loader(case))
    for _ in range(EPOCHS):
        for batch in batches:
            with accelerator.accumulate(layer):
                accelerator.backward(layer(*batch)["loss"])
                optimizer.step()
                optimizer.zero_grad()
    return network.updates


def with_keras(case):
    accumulation = case["accumulation"]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(
            0.1, gradient_accumulation_steps=accumulation if accumulation > 1 else None
        ),
        "mse",
    )
    ones = np.ones((case["dataset_size"], 1))
    model.fit(ones, ones, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return int(model.optimizer.iterations)


@every_case
def test_an_accumulation_that_ends_with_the_epoch(case, tmp_path):
    n = case["accumulation"]
    loaders = [loader(case)] * EPOCHS
    assert with_loop(case, loaders, lambda i, j, last: i % n == 0 or i == last) == rule(case)
    assert with_lightning(case) == rule(case)
    assert with_accelerate(case) == rule(case)
    assert with_trainer(case, tmp_path) == rule(case)


@every_case
def test_an_accumulation_that_is_carried_into_the_next_epoch(case):
    n = case["accumulation"]
    updates = rule(case, accumulation=1) // n
    loaders = [loader(case)] * EPOCHS
    assert with_loop(case, loaders, lambda i, j, last: j % n == 0) == updates
    if not case["drop_last"]:  # fit has no such option for arrays.
        assert with_keras(case) == updates


@every_case
def test_an_accumulation_that_is_left_incomplete_at_the_end_of_the_epoch(case):
    n = case["accumulation"]
    updates = EPOCHS * (rule(case, epochs=1, accumulation=1) // n)
    loaders = [loader(case)] * EPOCHS
    assert with_loop(case, loaders, lambda i, j, last: i % n == 0) == updates


def test_the_three_rules_differ():
    case = {"dataset_size": 18, "accumulation": 3, "drop_last": False}
    assert rule(case) == 4
    assert rule(case, accumulation=1) // 3 == 3
    assert EPOCHS * (rule(case, epochs=1, accumulation=1) // 3) == 2


@pytest.mark.parametrize("epochs", [0.25, 0.5, 1, 1.5, 2.75])
def test_epochs_in_fractions(epochs, tmp_path):
    case = {"dataset_size": 39, "accumulation": 3, "drop_last": False}
    assert with_trainer(case, tmp_path, epochs) == rule(case, epochs=epochs)


def test_epochs_are_the_decimal_that_is_written(tmp_path):
    """0.07 of 100 updates are 7; in floats the product is 7.000000000000001, and Trainer runs 8."""
    case = {"dataset_size": 100 * BATCH, "accumulation": 1, "drop_last": False}
    assert rule(case, epochs=0.07) == 7
    assert with_trainer(case, tmp_path, 0.07) == 8


DISTRIBUTED = [
    (size, world, drop_last)
    for size in (12, 13, 15, 16, 23, 24, 25)
    for world in (2, 3)
    for drop_last in (False, True)
]


@pytest.mark.parametrize(("size", "world", "drop_last"), DISTRIBUTED)
def test_several_processes(size, world, drop_last):
    """Each rank's batches, of a sampler that drops as its loader does, and of accelerate's."""
    case = {"dataset_size": size, "drop_last": drop_last}
    for rank in range(world):
        sampler = DistributedSampler(dataset(case), world, rank, drop_last=drop_last)
        batches = prepare_data_loader(
            loader(case), num_processes=world, process_index=rank, put_on_device=False
        )
        for loaders in ([loader(case, sampler)] * EPOCHS, [batches] * EPOCHS):
            updates = with_loop(case, loaders, lambda i, j, last: True)
            if updates == 0:
                with pytest.raises(ValueError, match="a full batch, if drop_last; got "):
                    rule(case, world_size=world)
            else:
                assert updates == rule(case, world_size=world)


@pytest.mark.parametrize(("size", "world", "drop_last"), DISTRIBUTED)
def test_a_padding_sampler_is_counted_by_its_length(size, world, drop_last):
    case = {"dataset_size": size, "drop_last": drop_last}
    for rank in range(world):
        sampler = DistributedSampler(dataset(case), world, rank)
        updates = with_loop(case, [loader(case, sampler)] * EPOCHS, lambda i, j, last: True)
        assert updates == rule(case, dataset_size=len(sampler))


def test_a_stream_of_samples():
    """One epoch of a dataset that does not know its length."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.ones(50, 2, 1))

    for drop_last in (False, True):
        for n in (1, 2, 3):
            batches = list(DataLoader(Stream(), BATCH, drop_last=drop_last))
            network = Network()
            for i, batch in enumerate(batches, start=1):
                network(*batch.unbind(1))["loss"].backward()
                if i % n == 0 or i == len(batches):
                    network.update()
            how = {"batch_size": BATCH, "accumulation": n, "drop_last": drop_last}
            assert network.updates == total_steps(samples=50, **how)
