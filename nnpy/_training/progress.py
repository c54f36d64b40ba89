"""The progress bar, by tqdm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: int, unit: str, enabled: bool) -> Iterator[Callable[..., object] | None]:
    """Show a progress bar; yield a function ``update(done, **values)``, or None if the bar is not enabled."""
    if not enabled:
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'nnpy[progress]'") from error
    with tqdm(total=total, unit=unit) as bar:

        def update(done: int, **values: float) -> None:
            if values:
                bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
            bar.update(done - bar.n)

        yield update
