"""The median filter, against its definition and SciPy's."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from rex_core import median_filter as module
from rex_core.median_filter import median_filter


def medians(values, reach):
    padded = np.pad(values, reach, mode="reflect")
    return np.array([np.median(padded[i : i + 2 * reach + 1]) for i in range(len(values))])


@given(
    st.lists(st.integers(1, 9) | st.floats(0.1, 10), min_size=2, max_size=70),
    st.floats(0, 1),
    st.sampled_from([1, 2, 7, 32, 1000]),
)
def test_the_definition(values, share, block):
    values = np.array(values, float)
    reach = int(share * len(values) / 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = median_filter(values, reach)
    assert np.array_equal(found, medians(values, reach))


@pytest.mark.parametrize("reach", [0, 1, 50, 3000, 50_001])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_long_arrays_as_scipy_has_them(reach, dtype):
    count = 100_003
    values = 1000 * np.cumsum(np.random.default_rng(0).normal(size=count)) / count**0.5
    values = values.astype(dtype)
    found = median_filter(values, reach)
    assert found.dtype == dtype
    expected = ndimage.median_filter(values, size=2 * reach + 1, mode="mirror")
    assert np.array_equal(found, expected)


def test_memory_grows_with_the_length_alone():
    """Of windows as long as all values, the ends take as much again."""
    count = 200_000
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    for reach, bytes_a_value in (10, 33), (count // 20, 35), (count // 2, 46):
        tracemalloc.start()
        median_filter(values, reach)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < bytes_a_value * count
