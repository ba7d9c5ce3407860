import pytest

from bnn_train.config.notes import notes


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "optimizer=bop",
        "weights=stochastic weights.kl=0.01 optimizer=sgd optimizer.momentum=0",
        "optimizer=bayesbinn eval=ensemble",
        "ste.stochastic=true eval=ensemble",
        "weights=stochastic eval=ensemble",
        "scheduler=multistep scheduler.milestones=[10,19]",
        "scheduler=step scheduler.step_size=19",
        "scheduler=exponential",
        "scheduler=cosine scheduler.final=0.5",
        "scheduler.warmup=1",
        "block=xnor",
        "model=cnn block=real_to_binary",
        "optimizer.weight_decay=0.1 optimizer.decay_norm_and_bias=true",
        "data=image_folder data.image_size=[8,9] data.fit=pad data.grayscale=true data.cache_dir=c data.test_fraction=0.5",
        "data=image_folder data.memory=disk data.crop=random_resized",
        "experiment=imagenet_resnet18",
        "data=mnist data.root=x",
        "data.test_fraction=0.5",
        "trainer.max_steps=200",
        "trainer.checkpoint_every=199",
        "trainer.checkpoint_every=900s",
        "edges.rules=[{layers:linear1,what:l1,strength:0.1}]",
        "weights=stompp",
        "weights=stompp trainer.max_steps=161",
        "trainer.ema=0.9 trainer.result=averaged",
        "trainer.ema=0.9 trainer.recalibrate=true trainer.patience=19 data.val_size=100",
        "trainer.ema=0.9 trainer.recalibrate=true data=image_folder",
        "data.mixup=0.2",
        "distill=logits distill.teacher=t distill.temperature=4 trainer.label_smoothing=0.1",
        "distill=attention distill.teacher=t distill.at=[a] distill.labels=0",
        "experiment=mnist_cnn",
        "experiment=mnist_mlp",
        "experiment=mnist_speedrun",
        "experiment=cifar10_cnn",
    ],
)
def test_nothing_is_said_of_settings_that_do_something(compose, overrides):
    assert notes(compose(*overrides.split()), steps=10) == []
    assert notes(compose(*overrides.split())) == []


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("data.memory=disk", "data.memory=disk: is not for data=digits, which comes as it is"),
        (
            "data.crop=random_resized data.crop_padding=2",
            "data.crop_padding=2: is for data.crop=padded, and the images are cropped by data.crop=random_resized",
        ),
        (
            "weights=stochastic weights.kl=0.01",
            "weights.kl=0.01: is in the units of the loss with optimizer=sgd optimizer.momentum=0 alone; beside other steps the "
            "prior weighs less",
        ),
        (
            "scheduler=multistep",
            "scheduler.milestones=[50,75]: all lie behind the end of the run, 20 epochs: the learning rate stays as it is",
        ),
        (
            "scheduler=multistep scheduler.milestones=[20]",  # epochs are counted from 0: the last begins at 19
            "scheduler.milestones=[20]: all lie behind the end of the run, 20 epochs: the learning rate stays as it is",
        ),
        (
            "scheduler=multistep scheduler.milestones=[10,50,75]",
            "scheduler.milestones=[10,50,75]: 50, 75 lie behind the end of the run, 20 epochs",
        ),
        ("block.gate=true", "block.gate=true: is for convolutions, and model=mlp has none"),
        ("scheduler=multistep scheduler.milestones=[]", "scheduler.milestones=[]: there is none: the learning rate stays as it is"),
        (
            "scheduler=step",
            "scheduler.step_size=40: the first drop lies behind the end of the run, 20 epochs: the learning rate stays as it is",
        ),
        (
            "scheduler=exponential trainer.epochs=1",
            "scheduler=exponential: drops after each epoch, but there is no second one in the run, 1 epoch: "
            "the learning rate stays as it is",
        ),
        ("scheduler=exponential scheduler.gamma=1", "scheduler.gamma=1.0: a factor of 1: the learning rate stays as it is"),
        ("scheduler.final=1", "scheduler.final=1.0: all is left at the end: the learning rate stays as it is"),
        (
            "eval=ensemble",
            "eval=ensemble: nothing is drawn with ste.stochastic=false and weights=sign, so every network of it is the same",
        ),
        (
            "optimizer.decay_norm_and_bias=true",
            "optimizer.decay_norm_and_bias=true: there is no decay, optimizer.weight_decay=0",
        ),
        (
            "optimizer=bop optimizer.weight_decay=0.1",
            "optimizer.weight_decay=0.1: holds for the real weights alone; bop decays none of the binary ones",
        ),
        (
            "model=cnn model.hidden=[] model.dropout=0.5",
            "model.dropout=0.5: follows the last hidden linear layer, of which there is none",
        ),
        ("data.fit=pad", "data.fit=pad: is not for data=digits, which comes as it is"),
        (
            "data=image_folder data.fit=pad",
            "data.fit=pad: does nothing with data.image_size=null, which leaves the images' size as it is",
        ),
        ("data.image_size=32", "data.image_size=32: is not for data=digits, which comes as it is"),
        ("data=cifar10 data.grayscale=true", "data.grayscale=true: is not for data=cifar10, which comes as it is"),
        ("data=mnist data.test_fraction=0.5", "data.test_fraction=0.5: is not for data=mnist, which has a test set of its own"),
        (
            "trainer.ema=0.9",
            "trainer.ema=0.9: is measured alone; to get that network take trainer.result=averaged, or data.val_size=N images that "
            "choose it",
        ),
        (
            "trainer.recalibrate=true",
            "trainer.recalibrate=true: is measured alone; to get that network take trainer.result=recalibrated, or data.val_size=N "
            "images that choose it",
        ),
        ("trainer.patience=20 data.val_size=9", "trainer.patience=20: the run ends before, after trainer.epochs=20"),
        (
            "distill=attention distill.teacher=t distill.logits=0 distill.temperature=2",
            "distill.temperature=2.0: is for the class scores, which distill.logits=0 leaves out",
        ),
        (
            "distill=logits distill.teacher=t distill.at=[conv2]",
            "distill.at=[conv2]: says where attention is matched, and distill.attention=0 leaves it out",
        ),
        (
            "distill=logits distill.teacher=t distill.labels=0 trainer.label_smoothing=0.1",
            "trainer.label_smoothing=0.1: is for the loss of the labels, which distill.labels=0 leaves out",
        ),
        (
            "distill=logits distill.teacher=t distill.labels=0 trainer.class_weights=balanced",
            "trainer.class_weights=balanced: is for the loss of the labels, which distill.labels=0 leaves out",
        ),
        ("data.root=x", "data.root=x: is not for data=digits, which comes as it is"),
        ("edges.rules=[{layers:linear1,what:l1,strength:0}]", "edges.rules.strength=0.0: penalises nothing in linear1"),
    ],
)
def test_a_setting_that_does_nothing_is_told(compose, overrides, line):
    assert notes(compose(*overrides.split())) == [line]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            "weights=stompp trainer.max_steps=160",
            "weights.end=0.8: the windows end at 80% of 200 steps, and the run before: its network will not be binary",
        ),
        ("trainer.max_steps=201", "trainer.max_steps=201: the run ends before, after trainer.epochs=20 of 10 steps each"),
        (
            "trainer.checkpoint_every=200",
            "trainer.checkpoint_every=200: the run has 200 steps in all; it is saved after each epoch, and when it is stopped",
        ),
        ("scheduler.warmup=0.1", "scheduler.warmup=0.1: is not longer than a step; an epoch has 10"),
        (
            "scheduler=multistep scheduler.milestones=[5,15] trainer.max_steps=120",
            "scheduler.milestones=[5,15]: 15 lies behind the end of the run, 12 epochs",
        ),
    ],
)
def test_what_is_counted_in_steps_is_told_where_their_number_is_known(compose, overrides, line):
    assert notes(compose(*overrides.split()), steps=10) == [line]
    assert notes(compose(*overrides.split())) == []
