from bnn_train.report import lab_mirror

ROWS = [
    {
        "noise": noise,
        "kl": kl,
        "change": change,
        "difference": [0.25, half],
        "largest": 3e-15,
        "matched": matched,
        "excess": [-0.5, half],
    }
    for noise in ("logistic", "normal")
    for kl, half in ((0.0, None), (0.3, 0.125))
    for change, matched in (("none", None), ("latent clipped", 2e-14), ("adam", None))
]
REPORT = {"rows": ROWS, "networks": 10, "config": {"protocol": {"clip_grad": 0.2, "clip": 0.8, "scale": 0.05}}}


def cells(quantity):
    return {column.header: list(column.cells) for column in lab_mirror.columns_of(ROWS, quantity)}


def test_a_table_has_a_row_for_each_noise_and_prior_and_the_changes_that_have_the_figure():
    places = {"noise": ["logistic", "logistic", "normal", "normal"], "kl": ["0", "0.3"] * 2}
    assert cells("equality") == {**places, "none": ["3e-15"] * 4, "latent clipped": ["2e-14"] * 4}
    of_difference = ["0.250", "0.250 ±0.125"] * 2
    assert cells("difference") == {**places, "latent clipped": of_difference, "adam": of_difference}
    assert cells("excess")["adam"] == ["-0.500", "-0.500 ±0.125"] * 2


def test_the_text_says_of_what_the_figures_are():
    words = " ".join(lab_mirror.text(REPORT).split())
    assert "largest figure of 10 networks" in words
    assert "to a norm of 0.2;" in words
    assert "latent clipped: to 0.04," in words
    assert lab_mirror.compared({"seed=0": REPORT, "seed=1": REPORT}).count("seed=") == 2


def test_the_picture_is_the_same_twice(tmp_path):
    (png, svg) = lab_mirror.write_plots(REPORT, tmp_path)
    first = svg.read_bytes()
    assert [file.name for file in (png, svg)] == ["mirror.png", "mirror.svg"]
    assert lab_mirror.write_plots(REPORT, tmp_path)[1].read_bytes() == first
