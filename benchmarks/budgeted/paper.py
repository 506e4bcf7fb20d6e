"""The numbers of the REX paper, arXiv 2107.04197: means of 3 runs, by budget."""

PERCENTS = (1.0, 5.0, 10.0, 25.0, 50.0, 100.0)

Table = dict[str, tuple[float, ...]]

# (setting, optimizer) -> schedule -> test error in %, or test loss, at PERCENTS.
PUBLISHED: dict[tuple[str, str], Table] = {
    ("resnet20_cifar10", "SGDM"): {
        "step": (32.14, 14.94, 11.80, 8.82, 8.43, 7.32),
        "cosine": (28.49, 13.05, 10.62, 8.80, 8.10, 7.78),
        "OneCycle": (40.14, 18.93, 12.74, 10.83, 9.23, 8.42),
        "linear": (28.70, 13.09, 10.85, 9.03, 8.15, 7.62),
        "plateau": (41.98, 25.93, 11.29, 9.05, 8.26, 7.97),
        "exponential": (31.31, 14.85, 11.56, 9.55, 9.20, 7.82),
        "REX": (27.94, 12.86, 10.23, 8.37, 7.52, 7.52),
    },
    ("resnet20_cifar10", "Adam"): {
        "step": (30.72, 15.41, 12.20, 10.47, 8.75, 8.55),
        "cosine": (29.20, 14.31, 11.45, 9.56, 9.15, 8.93),
        "OneCycle": (37.17, 16.16, 14.11, 10.33, 9.87, 9.03),
        "linear": (28.99, 14.08, 10.97, 9.25, 9.20, 8.89),
        "plateau": (43.40, 22.21, 13.46, 9.71, 8.92, 8.80),
        "exponential": (31.87, 15.82, 12.91, 10.48, 9.24, 8.53),
        "REX": (27.64, 13.96, 10.88, 9.44, 8.72, 8.18),
    },
    ("vae_mnist", "SGDM"): {
        "step": (180.30, 152.97, 146.24, 140.28, 137.70, 136.34),
        "cosine": (174.52, 145.99, 141.23, 139.15, 136.69, 135.05),
        "OneCycle": (161.95, 146.25, 143.01, 139.79, 137.20, 135.65),
        "linear": (174.64, 146.15, 143.64, 148.00, 141.72, 137.84),
        "plateau": (167.16, 151.15, 146.82, 140.51, 139.54, 137.33),
        "exponential": (179.60, 160.52, 146.24, 154.31, 145.83, 139.67),
        "REX": (149.85, 139.56, 137.15, 134.41, 135.69, 135.03),
    },
    ("vae_mnist", "Adam"): {
        "step": (153.45, 142.19, 138.32, 136.62, 134.14, 133.34),
        "cosine": (149.82, 140.78, 137.66, 134.73, 133.25, 133.23),
        "OneCycle": (149.07, 139.75, 138.12, 134.67, 133.27, 132.83),
        "linear": (148.93, 139.82, 137.00, 134.71, 134.00, 132.95),
        "plateau": (152.08, 141.54, 139.76, 135.68, 134.10, 134.06),
        "exponential": (149.28, 142.94, 138.82, 135.19, 134.05, 133.88),
        "REX": (148.59, 139.05, 136.62, 134.24, 133.16, 132.52),
        "no schedule": (152.10, 142.54, 140.10, 136.28, 134.64, 134.66),
    },
}

# Table 2, ResNet-20 on CIFAR-10 with SGDM: profile × sampling -> error in % at these budgets.
SAMPLED_PERCENTS = (5.0, 25.0, 100.0)

SAMPLED: Table = {
    "step × 50-75": (14.48, 9.44, 7.32),
    "step × 33-66": (17.89, 9.72, 7.93),
    "step × 25-50-75": (16.52, 9.73, 8.46),
    "step × every 10 %": (17.98, 10.41, 8.67),
    "step × every 5 %": (18.87, 9.79, 8.85),
    "step × every 1 %": (18.53, 10.61, 9.20),
    "step × every iteration": (19.19, 9.97, 9.24),
    "linear × 50-75": (16.96, 12.42, 10.15),
    "linear × 33-66": (25.80, 13.38, 11.90),
    "linear × 25-50-75": (18.77, 12.31, 8.26),
    "linear × every 10 %": (16.35, 9.40, 8.26),
    "linear × every 5 %": (13.83, 8.94, 8.24),
    "linear × every 1 %": (13.91, 8.72, 7.97),
    "linear × every iteration": (13.09, 8.89, 7.62),
    "REX × 50-75": (20.79, 18.05, 12.41),
    "REX × 33-66": (24.45, 15.98, 11.43),
    "REX × 25-50-75": (26.13, 12.59, 12.31),
    "REX × every 10 %": (16.48, 11.17, 8.24),
    "REX × every 5 %": (15.17, 9.22, 8.50),
    "REX × every 1 %": (13.34, 8.60, 7.74),
    "REX × every iteration": (12.86, 8.37, 7.52),
}

# Share of cells in which a schedule is first, and among the first three, in %.
SHARES: dict[str, tuple[int, int]] = {
    "REX": (70, 92),
    "linear": (11, 70),
    "cosine": (6, 64),
    "OneCycle": (13, 45),
    "step": (5, 25),
    "exponential": (5, 11),
    "no schedule": (1, 5),
}


def published(setting: str, optimizer: str, schedule: str, percent: float) -> float | None:
    """The paper's number, or None where it has none.

    >>> published("vae_mnist", "Adam", "REX", 5.0)
    139.05
    """
    values = PUBLISHED.get((setting, optimizer), {}).get(schedule)
    numbers = dict(zip(PERCENTS, values, strict=True)) if values else {}
    if (setting, optimizer) == ("resnet20_cifar10", "SGDM") and schedule in SAMPLED:
        numbers = dict(zip(SAMPLED_PERCENTS, SAMPLED[schedule], strict=True))
    return numbers.get(percent)
