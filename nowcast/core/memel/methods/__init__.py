"""What a layer does with its most monosemantic values, and the controls: one module a method."""

from nowcast.core.memel.methods.method import Method
from nowcast.core.memel.methods.penalty import Penalty
from nowcast.core.memel.methods.sham import Sham
from nowcast.core.memel.methods.share import Share
from nowcast.core.memel.methods.top_k import TopK

METHODS: dict[str, Method] = {
    "memel": TopK(),
    "share": Share(),
    "penalty": Penalty(1),
    "opposite": Penalty(-1),
    "sham": Sham(),
}
