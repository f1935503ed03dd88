"""The figures of lab 2.3."""

from __future__ import annotations

import numpy as np

from labkit import run

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444", "#8C6D31"]
TITLES = {"planted": "planted words", "docs": "real words"}


def plot_maps(args, maps: dict, views: dict) -> None:
    """One row per set of vectors, one column per method; grey: words without a label."""
    kinds = list(dict.fromkeys(kind for by_view in views.values() for kind in by_view))
    fig, axes = run.figure(nrows=len(maps), ncols=len(kinds), width=5.6 * len(kinds), height=5 * len(maps))
    for row, (name, (words, _, groups)) in zip(np.atleast_2d(axes), maps.items()):
        for ax, kind in zip(row, kinds):
            points = views[name][kind]
            ax.scatter(*points.T, s=4, color="#d0d7de", linewidths=0)
            for (label, ids), colour in zip(groups.items(), COLOURS):
                ax.scatter(*points[ids].T, s=16, color=colour, label=label)
            label_some(ax, words, points, groups)
            if "countries" in groups:
                both = np.stack([points[groups["countries"]], points[groups["capitals"]]])  # (2, 16, 2)
                ax.plot(*both.transpose(2, 0, 1), color="#57606a", linewidth=0.5, zorder=0)
            ax.set(title=f"{kind}, {TITLES[name]}", xticks=[], yticks=[])
        if groups:
            row[-1].legend(fontsize=8, markerscale=1.4, loc="center left", bbox_to_anchor=(1, 0.5))
    run.save_figure(args, fig, "map.png")


def label_some(ax, words: list[str], points: np.ndarray, groups: dict) -> None:
    """Up to two words of every group, none so near an earlier label that they would cover each other."""
    room = np.ptp(points, axis=0) * [0.12, 0.035]
    placed: list[np.ndarray] = []
    for ids in groups.values():
        for word in ids[:: max(1, len(ids) // 2)][:2]:
            if all((np.abs(points[word] - other) > room).any() for other in placed):
                ax.annotate(words[word], points[word], xytext=(4, 4), textcoords="offset points", fontsize=8)
                placed.append(points[word])


def plot_intervals(args, variants: dict, widths: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.4)
    for y, row in enumerate(reversed(variants.values())):
        left.plot([row["low"], row["high"]], [y, y], color="#0072B2", linewidth=4, alpha=0.4, solid_capstyle="butt")
        left.plot(row["spearman"], y, "o", color="#0072B2", ms=6)
    left.set_yticks(range(len(variants)), list(reversed(variants)))
    left.set(title="353 planted pairs", xlabel="Spearman with the judgements, 95 % interval", xlim=(-0.15, 1.03))
    sizes = np.array([int(size) for size in widths["rows"]])
    measured = [row["width"] for row in widths["rows"].values()]
    right.loglog(sizes, measured, "o-", color="#0072B2", label="measured")
    right.loglog(sizes, measured[-1] * np.sqrt(sizes[-1] / sizes), "--", color="#57606a", label="∝ 1/√pairs")
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.set_yticks([0.1, 0.2, 0.4, 0.8], ["0.1", "0.2", "0.4", "0.8"])
    right.minorticks_off()
    right.set(title="Width of the interval around ρ", xlabel="word pairs", ylabel="width of the 95 % interval")
    right.legend()
    run.save_figure(args, fig, "intervals.png")


def plot_anisotropy(args, lab, trained: np.ndarray, sample: np.ndarray, variants: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.2)
    for label, vectors in {
        "as trained": trained,
        "mean removed": lab.all_but_the_top(trained, 0),
        "and top 1": lab.all_but_the_top(trained, 1),
    }.items():
        cosines = lab.pair_cosines(vectors, sample)
        left.hist(cosines, 100, (-1, 1), density=True, histtype="stepfilled", alpha=0.45, label=label)
    left.set(title="Cosines of random pairs", xlabel="cosine", ylabel="density")
    left.legend()
    names = [name for name in variants if name not in ("latent", "noise only", "random")]
    x = np.arange(len(names))
    series = {"Spearman": "spearman", "anisotropy": "anisotropy"}
    for (label, key), style in zip(series.items(), ("o-", "s-")):
        right.plot(x, [variants[name][key] for name in names], style, label=label)
    right.plot(x, [variants[name]["analogies"] / 100 for name in names], "^-", label="share of analogies right")
    right.set_xticks(x, [name.replace("and ", "") for name in names], rotation=30, ha="right")
    right.set(title="What removing directions does", ylim=(-0.08, 1.03))
    right.legend()
    run.save_figure(args, fig, "anisotropy.png")


def plot_bias(args, world, leaning: np.ndarray, removal: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.4)
    left.axhline(0, color="#57606a", linewidth=0.8)
    left.plot(world.bias, leaning, "o", color="#0072B2")
    for word, x, y in zip((world.words[i] for i in world.groups["professions"]), world.bias, leaning):
        left.annotate(word, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=7)
    left.set(title="Planted and found leaning", xlabel="planted", ylabel="cosine with the bias direction")
    measures = {"direct bias": 100, "neighbours": 1}
    for k, (name, row) in enumerate(removal.items()):
        heights = [row[key] * factor for key, factor in measures.items()]
        bars = right.bar(np.arange(2) + 0.38 * (k - 0.5), heights, width=0.36, label=name)
        right.bar_label(bars, fmt="%.0f", fontsize=9)
    right.plot([0.55, 1.45], [11 / 23 * 100] * 2, "--", color="#57606a", label="neighbours by chance")
    right.set_xticks([0, 1], ["direct bias x 100", "% of nearest professions\nthat lean the same way"])
    right.set(title="Removing the direction hides the bias", ylim=(0, 125))
    right.grid(axis="x", visible=False)
    right.legend(loc="upper left", fontsize=9)
    run.save_figure(args, fig, "bias.png")


def plot_published(args, results: dict) -> None:
    fig, (left, right) = run.figure(ncols=2, width=11, height=4.8)
    rows = {int(size): row for size, row in results["vocabulary"].items() if row["low"] is not None}
    sizes = list(rows)
    left.fill_between(sizes, [r["low"] for r in rows.values()], [r["high"] for r in rows.values()], alpha=0.2)
    left.plot(sizes, [r["spearman"] for r in rows.values()], "o-", label="Spearman of the covered pairs, 95 % interval")
    left.plot(sizes, [r["covered"] / r["pairs"] for r in rows.values()], "s--", label="share of the pairs covered")
    left.set(
        xscale="log",
        ylim=(0, 1.25),
        yticks=np.linspace(0, 1, 6),
        xlabel="vocabulary: the most frequent words",
        title="WordSim-353",
    )
    left.set_xticks(sizes, [f"{size:,}" for size in sizes])
    left.minorticks_off()
    left.legend(fontsize=9, loc="upper right")
    sections = {name: row for name, row in results["analogies"].items() if name != "all"}
    y = np.arange(len(sections))[::-1]
    right.barh(y, [100 * (row["accuracy"] or 0) for row in sections.values()], height=0.7)
    for at, row in zip(y, sections.values()):
        text = f"{row['correct']} of {row['covered']:,} covered ({row['questions']:,} asked)"
        right.annotate(text, (100 * (row["accuracy"] or 0), at), xytext=(4, -3), textcoords="offset points", fontsize=8)
    right.set_yticks(y, list(sections), fontsize=8)
    top = max([row["accuracy"] or 0 for row in sections.values()])
    right.set(title="Google's analogies", xlabel="% of the covered questions", xlim=(0, max(10, 100 * top) * 1.8))
    right.grid(axis="y", visible=False)
    run.save_figure(args, fig, "published.png")
