"""A search result that is made up: one recipe, tried once, with a convolution in float32."""

from export.calibration.judge import Quality
from export.int8.cost import Gain
from export.int8.recipe import Recipe
from export.int8.search import SearchResult, Trial
from export.qdq.placements import QdqPlacement

RECIPE = Recipe(placement=QdqPlacement.ALL, estimator="mse", float_nodes=("node_a",))
QUALITY = Quality(psnr_db=41.0, worst_psnr_db=39.0, lost_db=0.05)
RESULT = SearchResult(
    runtime="onnxruntime",
    recipe=RECIPE,
    passed=True,
    trials=[Trial(recipe=RECIPE, quality=QUALITY, passed=True)],
    milliseconds={"all": 1.0},
    stages={"latent": 40.0, "coarse": 50.0},
    gains=[Gain(names=("node_a",), gain_db=0.03)],
)
