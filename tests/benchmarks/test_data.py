"""The loaders, on small files of the official formats."""

import gzip
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.budgeted import data

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> Any:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def idx(array: Any) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.tobytes()


def batch(images: Any, classes: Any) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(classes), -1)
    return np.column_stack([classes, planes]).tobytes()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REX_DATA", str(tmp_path))
    return tmp_path


def test_idx() -> None:
    expected = pixels(3, 4, 5)
    np.testing.assert_array_equal(data.idx(idx(expected)), expected)
    with pytest.raises(ValueError, match="idx header of bytes"):
        data.idx(b"\0\0\x0d\x01" + bytes(8))


def test_mnist_from_local_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, x_test, y_test = pixels(6, 28, 28), pixels(6), pixels(2, 28, 28), pixels(2)
    (folder / "mnist").mkdir()
    for name, array in zip(data._MNIST_FILES, (x, y, x_test, y_test), strict=True):
        (folder / "mnist" / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        monkeypatch.setitem(data._MNIST_FILES, name, md5(idx(array)))
    found = data.mnist()
    expected = x.reshape(6, 784), y, x_test.reshape(2, 784), y_test
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pronunciations() -> None:
    text = "a AH0\na(2) EY1\na's EY1 Z\naalborg AO1 L B AO0 R G # place, danish\naalborg(2) AA1 L\n"
    expected = {"a": ("AH",), "aalborg": ("AO", "L", "B", "AO", "R", "G")}
    assert data.pronunciations(text) == expected


def test_cifar10_from_the_binary_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, classes = pixels(6, 2, 32, 32, 3), RNG.integers(0, 10, (6, 2), dtype=np.uint8)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        for name, x, y in zip(names, images, classes, strict=True):
            file = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            file.size = len(batch(x, y))
            archive.addfile(file, io.BytesIO(batch(x, y)))
    name = "cifar-10-binary.tar.gz"
    (folder / name).write_bytes(content.getvalue())
    (folder / "cifar10-jpeg.npz").write_bytes(b"not asked for where the official archive is")
    monkeypatch.setitem(data._DOWNLOADS, name, md5(content.getvalue()))
    x, y, x_test, y_test, about = data.cifar10()
    np.testing.assert_array_equal(x, images[:5].reshape(10, 32, 32, 3))
    np.testing.assert_array_equal(y, classes[:5].ravel())
    np.testing.assert_array_equal(x_test, images[5])
    np.testing.assert_array_equal(y_test, classes[5])
    assert "official" in about


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (data.mnist, "mnist/train-images-idx3-ubyte.gz"),
        (data.shakespeare, "tinyshakespeare/input.txt"),
        (data.cmudict, "cmudict/cmudict.dict"),
        (data.cifar10, "cifar-10-binary.tar.gz"),
        (data.cifar10, "cifar10-jpeg.npz"),
    ],
)
def test_other_files_than_the_official_are_refused(load: Any, file: str, folder: Path) -> None:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match=re.escape(path.name.removesuffix(".gz"))):
        load()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the folder `served`."""
    (tmp_path / "served").mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def test_downloads_are_checked_and_kept(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REX_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(data, "_SHAKESPEARE", f"{server}input.txt")
    file = tmp_path / "served" / "input.txt"
    file.write_text("something else")
    with pytest.raises(ValueError, match=re.escape("input.txt")):
        data.shakespeare()
    monkeypatch.setitem(data._DOWNLOADS, "input.txt", md5(b"the official text"))
    file.write_text("the official text")
    assert data.shakespeare() == "the official text"
    file.unlink()
    assert data.shakespeare() == "the official text"
