"""rex_torch under Lightning: a step per update, resumed from its checkpoint."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.adapters.digits_torch import (
    IMAGES,
    LABELS,
    PEAK,
    RATE,
    SCHEDULERS,
    TRAIN,
    accuracy,
    digest,
    network,
)

EPOCHS = 4
UPDATES = EPOCHS * TRAIN // 64  # Of two batches of 32.

pytestmark = [
    # Lightning 2.6 asks torch in a way that torch 2.13 deprecates.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
    # A resumed run does not write where the first one did.
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    # It advises more workers where the machine has more cores.
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
]


class Digits(lightning.LightningModule):
    def __init__(self, name, budget):
        super().__init__()
        self.name, self.budget = name, budget
        self.network = network()
        self.rates = []

    def training_step(self, batch, _):
        images, labels = batch
        return cross_entropy(self.network(images), labels)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=PEAK, momentum=0.9)
        budget = self.budget or self.trainer.estimated_stepping_batches
        scheduler = SCHEDULERS[self.name](optimizer, budget)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(name, folder, checkpoint=None, budget=None):
    model = Digits(name, budget)
    loader = DataLoader(TensorDataset(IMAGES[:TRAIN], LABELS[:TRAIN]), batch_size=32)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=2,
        accelerator="cpu",
        callbacks=[ModelCheckpoint(folder, filename="{step}", every_n_epochs=2, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=True)
    return model


@pytest.mark.parametrize("name", SCHEDULERS)
def test_fit_and_resume(name, tmp_path):
    whole = fit(name, tmp_path / "whole")
    assert whole.rates == pytest.approx([RATE(t, UPDATES) for t in range(UPDATES)])
    assert accuracy(whole.network) > 0.85
    half = UPDATES // 2
    checkpoint = tmp_path / "whole" / f"step={half}.ckpt"
    resumed = fit(name, tmp_path / "resumed", checkpoint)
    assert resumed.rates == whole.rates[half:]
    assert digest(resumed.network) == digest(whole.network)
    longer = fit(name, tmp_path / "longer", checkpoint, budget=2 * UPDATES)
    assert longer.rates == pytest.approx([RATE(t, 2 * UPDATES) for t in range(half, UPDATES)])
