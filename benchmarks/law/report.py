"""The report: a page and two pictures, from the file of results alone."""

from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.law import dependence, figures, tables
from benchmarks.law.results import Results, of_peers, of_stage
from benchmarks.law.run import Key, read


def report(path: Path) -> Path:
    """Write the page and the pictures beside the file of results, with names that begin so."""
    found = read(path)
    coarse, fine, peers = of_stage(found, "coarse"), of_stage(found, "fine"), of_peers(found)
    if not fine:
        raise ValueError(f"results must have some of the fine pass; got {path} with none")
    pictures = {
        path.with_suffix(".png"): figures.differences(fine),
        path.with_name(f"{path.stem}_betas.png"): figures.betas(fine),
    }
    for place, picture in pictures.items():
        picture.savefig(place, dpi=150)
    differences, betas = (place.name for place in pictures)
    text = _TEXT.format(
        networks=_networks(found),
        about=record.about(path),
        coarse=len(coarse),
        fine=len(fine),
        findings="\n".join(_findings(fine, peers)),
        differences=differences,
        betas_picture=betas,
        rivals=tables.markdown(tables.scoreboard(fine)),
        candidates=tables.markdown(tables.candidates(fine)),
        others=tables.markdown(tables.others(fine)),
        peers=tables.markdown(tables.peers(peers, fine)),
        peers_together=tables.markdown(tables.peers_together(peers, fine)),
        leaving_out=tables.markdown(tables.leaving_out(fine)),
        cells=tables.markdown(tables.by_cell(fine)),
        tuned=tables.markdown(dependence.tuned_momentum(fine)),
        demons=tables.markdown(dependence.demons(fine)),
        warmup=tables.markdown(dependence.warmups(fine)),
        lag=tables.markdown(dependence.by_lag(fine)),
        best_betas=tables.markdown(dependence.betas(fine)),
        family=tables.markdown(dependence.families(fine)),
        momenta=tables.markdown(dependence.marginal(coarse, "momentum")),
        betas=tables.markdown(dependence.marginal(coarse, "beta")),
        warmups=tables.markdown(dependence.marginal(coarse, "warmup")),
        peaks=tables.markdown(dependence.peaks(coarse)),
        peak_ratios=tables.markdown(dependence.peak_ratios(fine)),
        peaks_by_budget=tables.markdown(dependence.peaks_by_budget(fine)),
        best=tables.markdown(dependence.best_points(coarse)),
    )
    page = path.with_suffix(".md")
    page.write_text(text, encoding="utf-8")
    print(f"written: {page}, {', '.join(map(str, pictures))}")
    return page


def _findings(fine: Results, peers: Results) -> list[str]:
    """What a reader wants to know first, in numbers of the tables below."""
    (_, *heads), *rows = tables.scoreboard(fine)
    lines = [
        f"- The rule, {kind}, {head}: {text}."
        for kind, *texts in rows
        if kind.startswith("μ")
        for head, text in zip(heads, texts, strict=True)
    ]
    for other, text, *_ in tables.others(fine)[1:]:
        lines += [f"- {other.capitalize()} against linear: {text}."] if text else []
    for peer, linear, rule in tables.peers_together(peers, fine)[1:]:
        lines += [f"- {peer} against linear: {linear}; against the rule: {rule}."] if linear else []
    return lines


def _networks(found: dict[Key, Any]) -> str:
    count = sum(result["seeds"] * len(result["test"]) for result in found.values())
    return f"{count:,}".replace(",", " ")


_TEXT = """# Which schedule, how high, for how many updates: what came out

Made by `python -m benchmarks.law report` from the results of `python -m benchmarks.law run`:
{networks} networks on {about}.

{findings}

"Better" and "worse" count cells, in brackets after correction for their number; the next section
says how. The percents are geometric means.

![Difference to linear against the budget, for each setting and optimizer]({differences})

The picture is cut at ±50 %.

![REX's best β against the budget, for each setting and optimizer]({betas_picture})

## How it was measured

Every number is of test examples. Each point of the space (warmup × fall × momentum) is trained at
peaks in steps of 2 on a few seeds ({coarse} cells). A short list is then trained on other seeds at
five peaks in steps of √2 around the best of each ({fine} cells). Five more lie around a second
minimum, where the few seeds saw one within 10 % of the best. Peaks are chosen by validation
examples. So is a rival's warmup, out of the same pass; the rule's is fixed.

With the same seed all start from the same weights and see the same batches, so differences are
paired: mean ± standard error, in percent of the metric that they are differences to. "Better" and
"worse" mean that the 95 % interval of Student's t leaves out 0. The number in brackets remains so
after Holm's correction for all cells that the entry counts. A setting has one set of data and one
split, and several settings share the digits. So an interval covers the initial weights and the
order of the batches. It covers neither other data nor the choice of the peak. The cells of a mean
are not independent. A warmup is the share of T in brackets; it begins at a tenth of the peak. °
marks a peak at an edge of the five.

**The rule** is the preset `falling_momentum`: momentum falls linearly from μ to 0 over the run, and
the effective rate is REX. For SGD that is `falling_momentum(peak, momentum=μ)`, for Adam
`falling_momentum(peak, averaged=True, warmup_ratio=0.1)`. "Kept" is the factor that keeps SGD's
effective rate where it would fall with the momentum.

## Against the rivals

The mean is geometric, over cells with momentum. The metrics are errors, squared errors and losses.

{rivals}

## The candidates

One point serves all budgets of a family of optimizers. Not all of them have been run in all cells:
compare rows of the same number of cells. The last column has the cells that the rule has too.

{candidates}

## What else people use

Linear to a tenth ends at a tenth of its peak. Warmup-stable-decay is 1 − √ over the last 20 %. No
schedule is a constant rate. Each has its best warmup. All cells that have them count.

{others}

## Peers of schedules

These optimizers claim to need no schedule, or no peak. Schedule-Free has a constant rate after its
warmup, and is measured at its average. Prodigy has a constant rate, linear or cosine, whichever did
best. Each of these curves got as many peaks and warmups as a rival. Bold is here what a 95 %
interval leaves out, without a correction.

{peers_together}

{peers}

## A rule from the other settings

For each setting and family of optimizers the candidate is chosen that did best in the mean of the
other settings, over the cells that have all candidates, and then compared on the one that was left
out.

{leaving_out}

## Each cell

Linear's metric, and differences to it. Bold is what remains in the whole table after Holm's
correction.

{cells}

## Another constant momentum

SGD on each setting and budget with the momentum chosen by validation too, out of those that were
run: linear and REX with their best constant momentum, and the rule with the best μ to fall from,
out of those above 0. Percents are differences to linear.

{tuned}

Demon on REX, from each momentum that was run: `demon(μ)` with `Schedule(bind(rex, beta=μ))`.
Percents are differences to the rule from 0.9.

{demons}

## The best fall for a budget

REX's best β at a constant momentum without warmup, where 0 is linear. In brackets is the range of β
that is as good within a 95 % interval, out of −1.5, 0, 0.5, 0.85 and 0.95. The last row is the β
that theory prefers: the one of least `loss_bound` for gradients of equal norm. The bound knows
neither momentum nor noise nor a limit of stability.

{best_betas}

The same over all of these cells: how often a β is as good as the best, and how it compares with
linear.

{family}

## What the gain depends on

With μ of 0.9 or more, over all settings: percent against linear with the same μ (geometric mean),
and the number of cells.

{lag}

## Warmup

The same schedule without a warmup is what these differ from, each at its own best peak.

{warmup}

## One axis at a time

From the coarse pass: the least validation metric that a value allows with the best of everything
else, in percent above the best of the whole space; geometric mean over the cells with that budget.
A few percent are noise of eight seeds.

{momenta}

{warmups}

β of REX, 0 being linear, where the momentum is constant and where it moves:

{betas}

## Peaks

Medians over the cells of the coarse pass with μ of 0.9 or more: how much the test metric rises
where the peak is half or twice the best.

{peaks}

The rule's best peak of the fine pass, divided by that of linear without warmup (geometric mean, and
the number of cells). SGD's is the preset's `peak_value`, where its rate begins.

{peak_ratios}

The best peak of the fine pass at each budget; SGD's divided by 1 − μ, which is the effective rate:

{peaks_by_budget}

## The best point of each cell

From the coarse pass, with the number of points whose validation metric is within 3 % of it.

{best}
"""
