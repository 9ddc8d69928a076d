"""Images per second that reach the training loop, compared with plain torchvision in one run.

    python benchmarks/data_loading.py                      # on synthetic JPEGs
    python benchmarks/data_loading.py --folder CLASSES     # on class folders of your own

Every loader gives the same batches: shorter side resized to the resolution, bicubic, centre crop,
pixels in [0, 1]. An epoch is timed from opening the data set to its last batch. In each round every
loader starts from an empty cache, in turn, so that other load on the machine affects all of them.
The table shows medians over the rounds. All files were read once before, so they come from the page
cache if they fit into memory.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.data.shards.write import write_shards
from zsrobust.data.verify import verify


def draw_photographs(folder: Path, n: int, side: int, seed: int = 0) -> None:
    """``n`` JPEGs of 4:3 in ten class folders: smooth colours with noise."""
    random = np.random.default_rng(seed)
    for index in range(n):
        coarse = random.integers(0, 256, (9, 12, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        grain = random.normal(0, 8, (side, side * 4 // 3, 3))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        path = folder / f"class {index % 10}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...


def serve(folder: str, pipe: multiprocessing.connection.Connection) -> None:
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        pipe.send(server.server_address[1])
        server.serve_forever()


def torchvision_batches(folder: Path, order: list[list[int]], options: argparse.Namespace):
    """The usual code without this package."""
    side = options.resolution
    transform = transforms.Compose(
        [
            transforms.Resize(side, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(folder, transform), batch_sampler=order, num_workers=options.workers
    )
    for images, _ in loader:
        yield images


def our_batches(spec: str, names: list[str], order: list[list[int]], options: argparse.Namespace):
    """The same images in the same order from ``spec``."""
    images: ImageSet = verify(open_set(spec, "train"), "stop")[0]
    at = {sample_id: index for index, sample_id in enumerate(images.sample_ids)}
    for batch in load_batches(
        images,
        [[at[names[index]] for index in batch] for batch in order],
        resize="clip",
        resolution=options.resolution,
        workers=options.workers,
    ):
        yield batch.images


def timed(batches: Iterator[Tensor], check: Tensor) -> float:
    """Seconds until the last batch; the first one must equal ``check``."""
    started = time.perf_counter()
    for position, batch in enumerate(batches):
        if position == 0 and not torch.equal(batch, check):
            raise SystemExit(
                "two loaders gave different pixels, so their speeds cannot be compared"
            )
    return time.perf_counter() - started


def measure(folder: Path, work: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    source = open_set(f"imagefolder:{folder}", "train")
    names = list(source.sample_ids)
    shuffled = np.random.default_rng(0).permutation(len(names)).tolist()
    size = options.batch_size
    order = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
    write_shards(source, work / "shards", options.shard_size, lambda done: None)
    pipe, its_end = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(str(work / "shards"), its_end))
    server.start()
    loaders: dict[str, Callable[[], Iterator[Tensor]]] = {
        "torchvision ImageFolder": lambda: torchvision_batches(folder, order, options),
        "zsrobust, files": lambda: our_batches(f"imagefolder:{folder}", names, order, options),
        "zsrobust, shards": lambda: our_batches(
            f"webdataset:{work / 'shards'}", names, order, options
        ),
        "zsrobust, shards over http": functools.partial(
            our_batches, f"webdataset:http://127.0.0.1:{pipe.recv()}", names, order, options
        ),
    }
    seconds: dict[str, list[list[float]]] = {loader: [] for loader in loaders}
    check = next(loaders["torchvision ImageFolder"]())
    # Once per data set, before the first epoch, a run decodes every file.
    verify(source, "stop")
    verified = Path(os.environ["ZSROBUST_CACHE"]) / "verified"
    try:
        for number in range(options.rounds):
            for loader, batches in loaders.items():
                fresh = work / f"cache {number} {loader}"
                fresh.mkdir()
                (fresh / "verified").symlink_to(verified)
                os.environ["ZSROBUST_CACHE"] = str(fresh)
                seconds[loader].append([timed(batches(), check) for _ in range(2)])
    finally:
        server.terminate()
        server.join()
    return [
        {
            "loader": loader,
            "workers": options.workers,
            "images": len(names),
            "first_epoch": len(names) / statistics.median(first for first, _ in found),
            "second_epoch": len(names) / statistics.median(second for _, second in found),
            "seconds": found,
        }
        for loader, found in seconds.items()
    ]


def table(rows: list[dict[str, object]], options: argparse.Namespace) -> Table:
    shown = Table(
        title=f"images per second and worker at {options.resolution} px, median of "
        f"{options.rounds} rounds (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs)"
    )
    for heading in ("loader", "workers", "first epoch", "second epoch", "second / torchvision's"):
        shown.add_column(heading, justify="left" if heading == "loader" else "right")
    base = {row["workers"]: row["second_epoch"] for row in rows if "torchvision" in row["loader"]}
    for row in rows:
        divisor = max(1, row["workers"])
        shown.add_row(
            row["loader"],
            str(row["workers"]),
            f"{row['first_epoch'] / divisor:,.0f}",
            f"{row['second_epoch'] / divisor:,.0f}",
            f"{row['second_epoch'] / base[row['workers']]:.1f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="class folders (default: synthetic JPEGs)")
    parser.add_argument("--images", type=int, default=1000, help="number of synthetic images")
    parser.add_argument("--side", type=int, default=375, help="their shorter side in pixels")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--shard_size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work, rows = Path(temporary), []
        folder = options.folder or work / "photographs"
        if options.folder is None:
            draw_photographs(folder, options.images, options.side)
        for workers in options.workers:
            here = work / f"{workers} workers"
            (here / "cache").mkdir(parents=True)
            os.environ["ZSROBUST_CACHE"] = str(here / "cache")
            rows += measure(
                folder, here, argparse.Namespace(**{**vars(options), "workers": workers})
            )
    Console(width=110).print(table(rows, options))
    if options.json:
        versions = {"torch": torch.__version__, "pillow": PIL.__version__}
        page = {"options": vars(options), "versions": versions, "rows": rows}
        options.json.write_text(json.dumps(page, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
