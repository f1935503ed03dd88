"""The generated ``requirements.txt`` of a lab, and what of it is missing here."""

from __future__ import annotations

import importlib.util

from labkit.catalogue import Lab

_MODULES = {"scikit-learn": "sklearn", "faiss-cpu": "faiss", "fasttext-wheel": "fasttext", "umap-learn": "umap"}


def requirements(lab: Lab) -> str:
    """The text of requirements.txt: constraints, labkit itself, the lab's packages."""
    lines = ["# Generated from lab.toml by `make skeletons`.", "-c ../../constraints.txt", "-e ../..", *lab.packages]
    return "\n".join(lines) + "\n"


def missing(lab: Lab) -> list[str]:
    """The lab's packages that cannot be imported here."""
    names = {package: _MODULES.get(package, package.replace("-", "_")) for package in lab.packages}
    return [package for package, module in names.items() if importlib.util.find_spec(module) is None]
