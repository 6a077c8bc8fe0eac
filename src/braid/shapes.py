"""Array types and shapes for annotations, in the notation of jaxtyping: ``Float[np.ndarray, "rows width"]``.

Importing jaxtyping takes a tenth of the time of a cold ``braid caption``, because it imports ``unittest.mock`` and parses every
annotation. So it is imported only for type checkers, and if it is already loaded, as by the hook that checks annotations in
tests. Otherwise an annotation is just the class of the array.
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
