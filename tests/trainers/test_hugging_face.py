"""rex_torch in trainers on top of Hugging Face's: trl, sentence-transformers, diffusers, axolotl.

The data and the models are made here: nothing is loaded from a hub.
"""

import pytest
import torch
from rex_torch import get_rex_schedule_with_warmup, lambda_lr
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from tests.trainers.extra import RATES, SCHEDULE, T, needs, run, sgd, trainers_warn

pytestmark = trainers_warn
WORDS = ["a", "small", "step", "is", "a", "rate", "of", "its", "own", "."]
TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
SETTINGS = {
    "max_steps": T,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", *dict.fromkeys(WORDS)])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>"
    )


def recorder():
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def __init__(self):
            self.rates = []

        def on_pre_optimizer_step(self, *_, optimizer, **__):
            self.rates.append(optimizer.param_groups[0]["lr"])

    return Recorder()


def by_subclass(base):
    class RexTrainer(base):
        def create_scheduler(self, num_training_steps, optimizer=None):
            self.lr_scheduler = lambda_lr(optimizer or self.optimizer, SCHEDULE, num_training_steps)
            return self.lr_scheduler

    return RexTrainer


def by_object(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return optimizer, lambda_lr(optimizer, SCHEDULE, T)


@pytest.mark.parametrize("way", ["optimizers", "subclass"])
def test_trl(way, tmp_path):
    trl, datasets = needs("trl", "datasets")
    from transformers import GPT2Config, GPT2LMHeadModel

    words = tokenizer()
    config = GPT2Config(vocab_size=len(words), n_positions=32, n_embd=8, n_layer=1, n_head=1)
    model = GPT2LMHeadModel(config)
    rates = recorder()
    kind, how = trl.SFTTrainer, {}
    if way == "optimizers":
        how = {"optimizers": by_object(model)}
    else:
        kind = by_subclass(kind)
    trainer = kind(
        model,
        args=trl.SFTConfig(output_dir=str(tmp_path), bf16=False, **SETTINGS),
        train_dataset=datasets.Dataset.from_dict({"text": 2 * TEXTS}),
        processing_class=words,
        callbacks=[rates],
        **how,
    )
    trainer.train()
    assert rates.rates == pytest.approx(RATES)


@pytest.mark.parametrize("way", ["optimizers", "subclass"])
def test_sentence_transformers(way, tmp_path):
    package, datasets = needs("sentence_transformers", "datasets")
    modules, losses = needs(
        "sentence_transformers.sentence_transformer.modules",
        "sentence_transformers.sentence_transformer.losses",
    )
    embedding = modules.StaticEmbedding(tokenizer(), embedding_dim=8)
    model = package.SentenceTransformer(modules=[embedding], device="cpu")
    rates = recorder()
    kind, how = package.SentenceTransformerTrainer, {}
    if way == "optimizers":
        how = {"optimizers": by_object(model)}
    else:
        kind = by_subclass(kind)
    pairs = {"anchor": TEXTS, "positive": TEXTS[1:] + TEXTS[:1]}
    trainer = kind(
        model,
        args=package.SentenceTransformerTrainingArguments(output_dir=str(tmp_path), **SETTINGS),
        train_dataset=datasets.Dataset.from_dict(pairs),
        loss=losses.MultipleNegativesRankingLoss(model),
        callbacks=[rates],
        **how,
    )
    trainer.train()
    assert rates.rates == pytest.approx(RATES)


def test_diffusers():
    """The loop of its training scripts, with the scheduler in the place of get_scheduler's."""
    diffusers, accelerate = needs("diffusers", "accelerate")
    model = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 4),
        norm_num_groups=2,
        add_attention=False,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    noise_scheduler = diffusers.DDPMScheduler(num_train_timesteps=10)
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=2, cpu=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    warmup, updates = 2, T
    lr_scheduler = get_rex_schedule_with_warmup(
        optimizer,
        num_warmup_steps=warmup * accelerator.num_processes,
        num_training_steps=updates * accelerator.num_processes,
        min_lr_ratio=0.1,
    )
    images = DataLoader(torch.rand(2 * T, 1, 8, 8), batch_size=1)
    model, optimizer, images, lr_scheduler = accelerator.prepare(
        model, optimizer, images, lr_scheduler
    )
    rates = []
    for clean in images:
        noise = torch.randn_like(clean)
        steps = torch.randint(0, 10, (len(clean),))
        with accelerator.accumulate(model):
            found = model(noise_scheduler.add_noise(clean, noise, steps), steps).sample
            accelerator.backward((found - noise).square().mean())
            if accelerator.sync_gradients:
                rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
    assert rates == pytest.approx(RATES)


def test_axolotl():
    """Its plugins make a scheduler."""
    base, dictionary = needs("axolotl.integrations.base", "axolotl.utils.dict")
    from transformers import TrainingArguments

    class Rex(base.BasePlugin):
        def create_lr_scheduler(self, cfg, trainer, optimizer, num_training_steps):
            return get_rex_schedule_with_warmup(
                optimizer,
                trainer.args.get_warmup_steps(num_training_steps),
                num_training_steps,
                **cfg.lr_scheduler_kwargs,
            )

    class Trainer:
        args = TrainingArguments(warmup_steps=2, report_to="none", use_cpu=True)

    manager = base.PluginManager.get_instance()
    manager.plugins["rex"] = Rex()
    manager.cfg = dictionary.DictDefault({"lr_scheduler_kwargs": {"min_lr_ratio": "1e-1"}})
    optimizer = sgd()
    scheduler = manager.create_lr_scheduler(
        trainer=Trainer(), optimizer=optimizer, num_training_steps=T
    )
    del manager.plugins["rex"]
    assert run(optimizer, scheduler) == pytest.approx(RATES)


def test_axolotl_restarts():
    """Its jagged restarts set the count of the scheduler that they wrap, and ask for the rates."""
    schedulers = needs("axolotl.utils.schedulers")

    def jagged(make):
        optimizer = sgd()
        return run(optimizer, schedulers.JaggedLRRestartScheduler(optimizer, make(optimizer), 4, 1))

    ours = jagged(lambda optimizer: lambda_lr(optimizer, SCHEDULE, T))
    assert ours == jagged(lambda it: LambdaLR(it, lambda t: SCHEDULE(t, T)))
    assert len(set(ours)) > T / 2
