"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): 70,000 grey images of clothing, ten classes."""

from ratchet.kinds.image import ImageContract
from ratchet.recipe import Classification, Criteria, DataSet, Feed, Range, Recipe

_TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")

recipe = Recipe(
    name="fashion-mnist",
    version=1,
    purpose="Predicts which of ten kinds of clothing a 28x28 grey image shows. For demonstration only.",
    contract=ImageContract(height=28, width=28),
    task=Classification(
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        numbered=True,
    ),
    data=DataSet(
        setting="fashion_mnist_dir",
        folders=("/usr/share/datasets/fashion-mnist",),
        debian="dataset-fashion-mnist",
        url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        files={
            _TRAIN[0]: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            _TRAIN[1]: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            _TEST[0]: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            _TEST[1]: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    batches=(
        Feed(*_TRAIN, start=0, stop=40_000),
        Feed(*_TRAIN, start=40_000, stop=50_000),
        Feed(*_TRAIN, start=50_000, stop=60_000),
    ),
    benchmark=Feed(*_TEST, start=0, stop=10_000),
    # Every training confuses shirts, T-shirts and coats differently: a class may lose up to a fifth.
    criteria=Criteria(
        slices=("class", "brightness"),
        slice_margin=0.2,
        calibration=0.05,
        invariance={"shift": 0.8, "noise": 0.95},
        robustness={"darker": 0.1, "blurred": 0.2},
        near_duplicates=0.02,
        label_errors=0.12,
        membership=0.15,
        latency_ms=5.0,
        size_mb=5.0,
    ),
    show_inputs=True,
    search_space={"learning_rate": Range(0.0003, 0.003, log=True), "filters": (16, 32, 48), "dense": (32, 64, 128)},
)
