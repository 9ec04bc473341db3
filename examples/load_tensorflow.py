"""Feed shards to TensorFlow's tf.data: tar members through a generator, decoded and batched by TensorFlow. No torch.

python examples/load_tensorflow.py shards
"""

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from first_batch import manifest, show


def main(shards: str) -> None:
    about = manifest(shards)
    image = about["fields"]["image"]
    tars = sorted(str(path) for path in Path(shards).glob("*.tar"))

    def members(path: bytes) -> Iterator[tuple[bytes, int]]:
        """The file of each picture in a tar, and its label, which comes before it."""
        with tarfile.open(path.decode()) as tar:
            for entry in tar:
                extension = entry.name.partition(".")[2]
                if extension == "cls":
                    label = int(tar.extractfile(entry).read())
                elif extension == image:
                    yield tar.extractfile(entry).read(), label

    def samples(path: tf.Tensor) -> tf.data.Dataset:
        kinds = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int64))
        return tf.data.Dataset.from_generator(members, output_signature=kinds, args=(path,))

    def decoded(data: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if image == "jpg":  # the default is faster, and changes pixels by more than the noise does
            picture = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        else:
            picture = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.transpose(tf.image.convert_image_dtype(picture, tf.float32), (2, 0, 1)), label

    dataset = (
        tf.data.Dataset.from_tensor_slices(tars)
        .shuffle(len(tars), seed=0)
        .interleave(samples, cycle_length=2)
        .shuffle(1000, seed=0)
        .map(decoded, tf.data.AUTOTUNE)
        .batch(16)
        .prefetch(1)
    )
    show(dataset, len(about["classes"]), step)


def step(images: tf.Tensor, labels: tf.Tensor, classes: int) -> float:
    """One step of a linear classifier; returns the loss before it."""
    tf.random.set_seed(0)
    pixels = tf.reshape(images, (len(images), -1))
    weights = tf.Variable(tf.random.normal((pixels.shape[1], classes), stddev=0.01))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, pixels @ weights))
    weights.assign_sub(0.1 * tape.gradient(loss, weights))
    return float(loss)


if __name__ == "__main__":
    main(sys.argv[1])
