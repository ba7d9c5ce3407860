"""What the columns of a laboratory study's table mean."""

from typing import Any


def meaning(report: dict[str, Any]) -> str:
    """In one paragraph, of lab.json with figures of activations' or of weights' estimators."""
    places = report["measured"]
    named = {each["matching"] for place in places for each in place["estimators"].values()} - {None}
    words = WEIGHTS if "sharpness" in places[0] else SIGNS
    networks = report["networks"]
    over = ONE if networks == 1 else SEVERAL.format(networks=networks)
    return LEGEND.format(over=over, matching=", ".join(sorted(named)) or "none is measured", **words)


ONE = "Figures are of one network. "
SEVERAL = (
    "Figures are means over {networks} networks with other weights, data and draws, with ± half of the 95% interval of that mean. "
)
LEGEND = """\
{gradient}{over}{place}passes: forward + backward, of one sample{sample}. bias, std, rmse: of the whole gradient, as shares of the
exact one's norm; < means that no bias could be told from none, and how large one would have shown; std is that of one sample, rmse
the error of a mean of 100. cosine 1, 100: mean cosine of one sample, or of a mean of 100, with the exact gradient; the layers'
columns give it for each, with 100. than ST: whether that cosine is better or worse than that of the {straight_through}
({matching}), in the same networks, by a paired t-test at 5%, corrected for the number of estimators; - where there is none to be
held against. gain: what a step {step} lowers the loss, as a share of what the exact gradient's step does{end}"""

SIGNS = {
    "gradient": "",
    "place": "",
    "sample": "",
    "straight_through": "straight-through estimator which the network's noise gives",
    "step": "against the estimate",
    "end": """. -: too few samples.
Annealed estimators (ede, reste, any of your own that takes progress) are as at that share of the last epoch; half-way where nothing
is trained.""",
}
WEIGHTS = {
    "gradient": "The gradient is that with respect to the weights' means 2 P(w = +1) - 1, half of that with respect to P(w = +1). ",
    "place": "sharpness: latent weights are uniform within ± it. ",
    "sample": ", which is one draw of all weights for all data",
    "straight_through": "plain straight-through estimator",
    "step": "of the latent weights against the estimate, which is mirror descent over the means,",
    "end": "; it can be above 1, since that step is not the steepest. -: too few samples.",
}
