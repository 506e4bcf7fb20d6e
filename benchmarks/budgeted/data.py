"""The data sets, from their official files: a local copy, or a download into a cache folder.

A folder of local copies is named by the environment variable ``REX_DATA``; its files must be the
official ones, byte for byte once they are unpacked: ``mnist/train-images-idx3-ubyte.gz`` and the
other three, ``cifar-10-binary.tar.gz``, ``tinyshakespeare/input.txt``, ``cmudict/cmudict.dict``.
The texts and the dictionary of ``words`` have no download. Any others do, with other results.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
_CMUDICT = (
    "https://raw.githubusercontent.com/cmusphinx/cmudict/"
    "74790861f652b15e4ac49015a90074ad62a27690/cmudict.dict"
)

# As published with the files, or for lack of that (Shakespeare, CMUdict) as it is widely known.
_DOWNLOADS = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    "cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530",
    "input.txt": "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "cmudict.dict": "sha256:81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
}

# Of what is in the archives of MNIST: there are copies that somebody has compressed anew.
_MNIST_FILES = {
    "train-images-idx3-ubyte": "md5:6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "md5:a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "md5:2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "md5:27ae3e4e09519cfbb04c329615203637",
}
_JPEG = "sha256:7808b7e0d1dc7649830a992dbc04024c8a4bd54f326a837e3515cc73958be103"


def mnist() -> tuple[Images, NDArray[np.uint8], Images, NDArray[np.uint8]]:
    """MNIST: (train images, labels, test images, labels); images are (n, 784)."""
    parts = []
    for name, known in _MNIST_FILES.items():
        content = gzip.decompress(_path(_MNIST, "mnist", f"{name}.gz").read_bytes())
        check(name, content, known)
        parts.append(idx(content))
    x, y, x_test, y_test = parts
    return x.reshape(len(x), -1), y, x_test.reshape(len(x_test), -1), y_test


def cifar10() -> tuple[Images, NDArray[np.uint8], Images, NDArray[np.uint8], str]:
    """CIFAR-10: (train images, labels, test images, labels, what they are).

    Images are (n, 32, 32, 3). A copy re-encoded as JPEG, ``cifar10-jpeg.npz``, is taken where
    ``REX_DATA`` has one and not the official archive, and is said to be that.
    """
    local = _local("", "cifar10-jpeg.npz")
    if local is not None and _local("", "cifar-10-binary.tar.gz") is None:
        return *_cifar10_from_jpeg(local), "CIFAR-10 re-encoded as lossy JPEG"
    path = _path(_CIFAR10.removesuffix("cifar-10-binary.tar.gz"), "", "cifar-10-binary.tar.gz")
    check(path.name, path.read_bytes(), _DOWNLOADS[path.name])
    with tarfile.open(path) as archive:
        parts = [
            cifar10_binary(_content(archive, f"cifar-10-batches-bin/{name}.bin"))
            for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        ]
    *train, (x_test, y_test) = parts
    x, y = (np.concatenate(column) for column in zip(*train, strict=True))
    return x, y, x_test, y_test, "CIFAR-10, official files"


def shakespeare() -> str:
    """The plays of Shakespeare that character-level language models are usually trained on."""
    return _text(_SHAKESPEARE, "tinyshakespeare")


def cmudict() -> dict[str, tuple[str, ...]]:
    """The CMU Pronouncing Dictionary: the words of a to z, and the phonemes of each."""
    return pronunciations(_text(_CMUDICT, "cmudict"))


def sentences(name: str) -> str:
    """A text of ``words``: ``en-a`` or ``en-b``, halves of an English one, or ``fr``, in French.

    One sentence a line, in lower case, words separated by spaces. The study's are the pages of
    Debian's packages ``manpages``, ``manpages-dev``, ``manpages-fr`` and ``manpages-fr-dev``, each
    sentence once.
    """
    return gzip.decompress(_words(f"{name}.txt.gz").read_bytes()).decode()


def word_pairs() -> list[tuple[str, str]]:
    """English words and their French translations, a pair for each translation of a word.

    The study's are of Debian's package ``dict-freedict-eng-fra``.
    """
    pairs = []
    for line in _words("en-fr.tsv").read_text(encoding="utf-8").splitlines():
        english, tab, french = line.partition("\t")
        if not (english and tab and french):
            raise ValueError(f"en-fr.tsv must have a word, a tab and a word a line; got {line!r}")
        pairs.append((english, french))
    return pairs


def idx(content: bytes) -> NDArray[np.uint8]:
    """The array of unsigned bytes in a file of MNIST's format: magic number, sizes, values."""
    zero, kind, axes = content[:2], content[2], content[3]
    if zero != b"\0\0" or kind != 8:
        raise ValueError(f"content must begin with an idx header of bytes; got {content[:4]!r}")
    shape = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def cifar10_binary(content: bytes) -> tuple[Images, NDArray[np.uint8]]:
    """Images (n, 32, 32, 3) and labels of a batch: per image its label, then its three planes."""
    table = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), table[:, 0]


def pronunciations(text: str) -> dict[str, tuple[str, ...]]:
    """The words of a to z in a text of CMUdict's format, with the phonemes of their first line.

    Stress, which is a digit, and comments are left out.

    >>> pronunciations("alt AO1 L T\\nalt(2) AA1 L T\\nalt. AO1 L T\\naalst AA1 L S T # place")
    {'alt': ('AO', 'L', 'T'), 'aalst': ('AA', 'L', 'S', 'T')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        word, *phonemes = line.partition("#")[0].split()
        if re.fullmatch("[a-z]+", word):
            found.setdefault(word, tuple(phoneme.rstrip("012") for phoneme in phonemes))
    return found


def check(name: str, content: bytes, known: str) -> None:
    """Refuse what has not the known sum, "md5:..." or "sha256:..."."""
    algorithm, _, _ = known.partition(":")
    found = f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"
    if found != known:
        raise ValueError(f"{name} must be the known file, {known}; got {found}")


def _text(url: str, folder: str) -> str:
    """The text of the known file at that address."""
    url, _, name = url.rpartition("/")
    path = _path(f"{url}/", folder, name)
    content = path.read_bytes()
    check(name, content, _DOWNLOADS[name])
    return content.decode()


def _path(url: str, folder: str, name: str) -> Path:
    """The file in REX_DATA, or its download."""
    local = _local(folder, name)
    if local is not None:
        return local
    found = pooch.retrieve(
        url + name,
        known_hash=_DOWNLOADS[name],
        fname=name,
        path=pooch.os_cache("rex-schedules") / folder,
        progressbar=True,
    )
    return Path(found)


def _local(folder: str, name: str) -> Path | None:
    root = os.environ.get("REX_DATA")
    path = Path(root, folder, name) if root else None
    return path if path is not None and path.is_file() else None


def _words(name: str) -> Path:
    """The file in the folder ``words`` of REX_DATA."""
    path = _local("words", name)
    if path is None:
        raise FileNotFoundError(
            f"words/{name} must be in the folder that REX_DATA names, for it has no download; got "
            f"REX_DATA={os.environ.get('REX_DATA')!r}. en-a.txt.gz, en-b.txt.gz and fr.txt.gz are "
            "texts, a sentence a line, compressed by gzip; the study has the pages of Debian's "
            "packages manpages, manpages-dev, manpages-fr and manpages-fr-dev. en-fr.tsv has an "
            "English word, a tab and a French word a line; the study has those of "
            "dict-freedict-eng-fra"
        )
    return path


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise ValueError(f"the archive must have a file {name}; got something else of that name")
    return member.read()


def _cifar10_from_jpeg(path: Path) -> tuple[Any, Any, Any, Any]:
    check(path.name, path.read_bytes(), _JPEG)
    columns: list[Any] = []
    with np.load(path) as arrays:
        for part in ("train", "test"):
            ends = np.cumsum(arrays[f"{part}_length"], dtype=np.int64)
            files = np.split(arrays[f"{part}_jpeg"], ends[:-1])
            images = [np.asarray(_image(file).convert("RGB")) for file in files]
            # Labels come in order there, and an official batch is a random sample.
            order = np.random.default_rng(0).permutation(len(images))
            columns += [np.stack(images)[order], arrays[f"{part}_label"][order]]
    x, y, x_test, y_test = columns
    return x, y, x_test, y_test


def _image(file: NDArray[np.uint8]) -> Image.Image:
    return Image.open(io.BytesIO(file.tobytes()))
