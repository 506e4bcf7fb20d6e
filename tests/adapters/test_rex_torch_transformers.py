"""rex_torch under Hugging Face's Trainer: optimizers=(optimizer, scheduler), and its checkpoint."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments

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

pytestmark = pytest.mark.long

EPOCHS = 4
UPDATES = EPOCHS * TRAIN // 64  # Of two batches of 32.


class Digits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, images, labels):
        logits = self.network(images)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class Rates(TrainerCallback):
    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer, **others):
        self.rates.append(optimizer.param_groups[0]["lr"])


def fit(name, folder, checkpoint=None, budget=UPDATES):
    model, seen = Digits(), Rates()
    optimizer = torch.optim.SGD(model.parameters(), lr=PEAK, momentum=0.9)
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        save_strategy="steps",
        save_steps=40,
        logging_steps=UPDATES,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=[
            {"images": image, "labels": label}
            for image, label in zip(IMAGES[:TRAIN], LABELS[:TRAIN], strict=True)
        ],
        optimizers=(optimizer, SCHEDULERS[name](optimizer, budget)),
        callbacks=[seen],
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    return model, seen.rates, trainer.state.log_history


@pytest.mark.parametrize("name", SCHEDULERS)
def test_train_and_resume(name, tmp_path):
    model, rates, history = fit(name, tmp_path / "whole")
    assert rates == pytest.approx([RATE(t, UPDATES) for t in range(UPDATES)])
    assert accuracy(model.network) > 0.85
    assert history[0]["learning_rate"] == pytest.approx(RATE(UPDATES - 1, UPDATES))
    checkpoint = str(tmp_path / "whole" / "checkpoint-40")
    resumed, resumed_rates, _ = fit(name, tmp_path / "resumed", checkpoint)
    assert resumed_rates == rates[40:]
    assert digest(resumed) == digest(model)
    _, longer, _ = fit(name, tmp_path / "longer", checkpoint, budget=2 * UPDATES)
    assert longer == pytest.approx([RATE(t, 2 * UPDATES) for t in range(40, UPDATES)])
