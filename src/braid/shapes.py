"""Kinds of numbers and shapes in annotations, as jaxtyping writes them: ``Float[np.ndarray, "rows width"]``.

jaxtyping takes a tenth of the time in which a picture is captioned from a cold start: it imports ``unittest.mock``, and reads
every annotation. So it is imported for type checkers, and where it has been already, as by the hook that checks annotations
while tests run. Elsewhere an annotation is its array's class.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool, Float, Float16, Float32, Int, Num, Shaped, UInt8, UInt64
else:

    class _Unchecked:
        def __getitem__(self, annotation: tuple[Any, str]) -> Any:
            array, _ = annotation
            return array

    Bool = Float = Float16 = Float32 = Int = Num = Shaped = UInt8 = UInt64 = _Unchecked()

__all__ = ["Bool", "Float", "Float16", "Float32", "Int", "Num", "Shaped", "UInt8", "UInt64"]
